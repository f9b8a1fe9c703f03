"""Slots are given away once, whatever workers say of theirs, and however late it comes."""

from collections import deque
from typing import Any, cast

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cocoon_p2p.protocols.messages import ExchangeId, Load, Record, Register
from cocoon_p2p.proxy.session import WorkerSession
from cocoon_p2p.scheduling import Roster, choose
from tests.scheduling.crowd import ASK, DATE, NOW, worker


class HonestWorker:
    """A worker that computes for us and for others, and tells truly what it has, but late."""

    def __init__(self, number: int, slots: int, roster: Roster) -> None:
        self.slots = slots
        self.others = 0
        self.reserved: set[ExchangeId] = set()
        self.assigned: set[ExchangeId] = set()
        "Of those, what it was sent."

        self.heard: set[ExchangeId] = set()
        "And what has come there, and not ended there yet."

        self.loads = deque([Load(slots, slots, 0)])
        self.is_known = False
        "Whether we have heard all of it, and nothing of ours was on its way."

        self.session = trio.run(self._open, number, roster)

    async def _open(self, number: int, roster: Roster) -> WorkerSession:
        nobody = cast("Any", None)
        standing = worker(number, slots_free=0, slots_total=0)
        register, record = cast("Register", _Paper()), cast("Record", _Paper())
        return WorkerSession(
            nobody, register, standing, record, lambda session: roster.put(session.standing, NOW)
        )

    def tell(self) -> None:
        self.loads.append(Load(self.slots - self.others - len(self.heard), self.slots, 0))

    def hear_loads(self) -> None:
        """Let all that was told arrive."""
        while self.loads:
            self.hear_load()

    def hear_load(self) -> None:
        is_newest = len(self.loads) == 1
        self.session.take_load(self.loads.popleft(), NOW)
        self.is_known = is_newest and self.heard == self.assigned


class _Paper:
    """Stands for papers that nobody looks at here."""

    record = statement = None
    sequence = 0


class Reservations(RuleBasedStateMachine):
    """A proxy that gives slots of two workers away, one of which works for others too."""

    @initialize(slots=st.integers(1, 4), more=st.integers(1, 4))
    def begin(self, slots: int, more: int) -> None:
        self.roster = Roster()
        self.workers = [
            HonestWorker(number, count, self.roster) for number, count in enumerate((slots, more))
        ]
        self.asked = 0
        for each in self.workers:
            each.hear_loads()

    def pick(self, data: st.DataObject, name: str) -> tuple[HonestWorker, ExchangeId] | None:
        """Draw one of the exchanges that are in a set of their worker's."""
        found = [(each, one) for each in self.workers for one in sorted(getattr(each, name))]
        return data.draw(st.sampled_from(found)) if found else None

    @rule(count=st.integers(1, 5), luck=st.integers(0, 2**64 - 1))
    def reserve(self, count: int, luck: int) -> None:
        for _ in range(count):
            self.reserve_one(luck)

    def reserve_one(self, luck: int) -> None:
        choice = choose(ASK, self.roster, commission_basis_points=0, now=NOW, date=DATE, luck=luck)
        if choice.worker is None:
            return
        (chosen,) = (each for each in self.workers if each.session.peer == choice.worker.peer)
        exchange = ExchangeId(self.asked.to_bytes(16))
        self.asked += 1
        chosen.session.reserve(exchange)
        chosen.reserved.add(exchange)
        if chosen.is_known:
            assert len(chosen.reserved) + chosen.others <= chosen.slots

    @rule(data=st.data())
    def assign(self, data: st.DataObject) -> None:
        if (picked := self.pick(data, "reserved")) is not None:
            chosen, exchange = picked
            chosen.session.assign(exchange)
            if exchange not in chosen.assigned:
                chosen.is_known = False
            chosen.assigned.add(exchange)

    @rule(data=st.data())
    def come_there(self, data: st.DataObject) -> None:
        if (picked := self.pick(data, "assigned")) is not None:
            chosen, exchange = picked
            chosen.heard.add(exchange)
            chosen.tell()

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """End an exchange, also one that nobody has used, or twice."""
        if (picked := self.pick(data, "reserved")) is not None:
            chosen, exchange = picked
            chosen.session.leave(exchange)
            chosen.session.leave(exchange)
            for held in (chosen.reserved, chosen.assigned, chosen.heard):
                held.discard(exchange)
            chosen.tell()

    @rule(data=st.data(), is_quick=st.booleans())
    def others_come_and_go(self, data: st.DataObject, is_quick: bool) -> None:
        chosen = self.workers[0]
        chosen.others = data.draw(st.integers(0, chosen.slots - len(chosen.heard)))
        chosen.is_known = False
        chosen.tell()
        if is_quick:
            chosen.hear_loads()

    @precondition(lambda self: any(each.loads for each in self.workers))
    @rule(data=st.data())
    def a_load_comes(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([each for each in self.workers if each.loads])).hear_load()

    @precondition(lambda self: self.asked >= 8)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.workers)).session.drain()

    @invariant()
    def no_slot_of_ours_is_given_away_again(self) -> None:
        for each in self.workers:
            standing = each.session.standing
            assert len(each.reserved) <= each.slots
            assert max(standing.slots_free, 0) <= each.slots - len(each.reserved)
            assert not (standing.is_draining and standing.has_room)


TestReservations = Reservations.TestCase
TestReservations.settings = settings(max_examples=20, stateful_step_count=30)
