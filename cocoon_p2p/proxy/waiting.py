"""The shell around those who wait for a slot: it tells them that we live, and serves them in their turn.

    Ask, no free slot --> enter --let in--> waits, with Heartbeats --a slot--> begin
                             \\--> Refused       \\--too late, draining--> Refused

Who waits, and whose turn it is: `admission`, `scheduling.fair_queue`. Spec: protocols/exchange.md
(Waiting in line).
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Generic, Protocol, TypeVar

import trio

from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.payments.pricing import amount_max_for_worker
from cocoon_p2p.protocols.exchange.pulse import LOST_SECONDS
from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS, Reason
from cocoon_p2p.protocols.messages import Ask, ExchangeId, Heartbeat, Refused, shorten
from cocoon_p2p.proxy.admission import Admission, Waiting
from cocoon_p2p.proxy.agency import Agency
from cocoon_p2p.proxy.link import Link
from cocoon_p2p.scheduling import RETRY_SECONDS, Choice, may_serve, prospect
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

RETRY_MIN_SECONDS = 0.1
"However soon a slot is expected: a refusal and the next Ask take some of that."

RETRY_MAX_SECONDS = 600.0
"No forecast is good for longer."


class Visitor(Protocol):
    """The stream of a client that waits."""

    @property
    def link(self) -> Link:
        """To the client."""
        ...

    @property
    def heard(self) -> float:
        """When it last said anything."""
        ...

    def waits(self, is_waiting: bool, /) -> None:
        """Learn that it waits, or does not any more."""
        ...


V = TypeVar("V", bound=Visitor)


class WaitingRoom(Generic[V]):
    """Asks that wait for a slot.

    Args:
        agency: The proxy.
        choose: Finds a worker for one that waits, if it may have one now.
        begin: Begins its exchange with that worker.
    """

    def __init__(
        self,
        agency: Agency,
        choose: Callable[[Waiting[V]], Choice | None],
        begin: Callable[[Waiting[V], Choice], None],
    ) -> None:
        policy = agency.policy
        self.admission = Admission[V](
            waiting_max=policy.waiting_max,
            per_client_max=policy.waiting_per_client_max,
            wait_max_seconds=policy.wait_max_seconds,
        )
        self._agency = agency
        self._choose = choose
        self._begin = begin
        self._waiting: dict[ExchangeId, Waiting[V]] = {}
        self._woken = trio.Event()
        self._may_have_room = False
        self._passed_over: set[ExchangeId] = set()
        "Whom nobody with room suited, when they were all looked at last."

        self._opened: set[PeerId] = set()
        "Workers that have come to have room since."

        agency.workers.tell_room(self._note_room)

    def __len__(self) -> int:
        return len(self.admission)

    def __contains__(self, exchange: object) -> bool:
        return exchange in self._waiting

    # ------------------------------------------------------------ in and out

    def enter(self, ask: Ask, visitor: V, refusal: Refused) -> Refused | None:
        """Let an Ask wait for which there is no free slot, or say how long that would take.

        Returns:
            What to answer: the refusal, with what is to be expected. None if it waits.
        """
        agency, now = self._agency, trio.current_time()
        hope = prospect(
            ask,
            agency.workers.roster,
            commission_basis_points=agency.policy.commission_basis_points,
            now=now,
            date=agency.now(),
        )
        if hope is None:
            return refusal
        entry = self.admission.enter(ask, visitor.link.peer, hope, visitor, now)
        if entry.pushed_out is not None:
            why = "the line is full, and others have fewer in it"
            self._refuse(entry.pushed_out, Reason.NO_CAPACITY, why, entry.wait_seconds)
        if entry.waiting is None:
            refusal = replace(refusal, retry_after_ms=_milliseconds(entry.wait_seconds))
            return replace(refusal, wait_ms=_milliseconds(entry.wait_seconds)) if entry.may_wait else refusal
        self._waiting[ask.exchange] = entry.waiting
        visitor.waits(True)
        visitor.link.send(Heartbeat(ask.exchange, 0))
        self._woken.set()
        return None

    def leave(self, exchange: ExchangeId) -> None:
        """Let go of a client that has left, or said so. It must wait."""
        waiting = self._waiting[exchange]
        self.admission.leave(waiting)
        self._let_go(waiting)

    def drain(self) -> None:
        """Send everybody elsewhere."""
        for waiting in self.admission:
            self.admission.leave(waiting)
            self._refuse(waiting, Reason.DRAINING, "this proxy takes nothing new: ask another", None)

    def _let_go(self, waiting: Waiting[V]) -> None:
        del self._waiting[waiting.ask.exchange]
        self._passed_over.discard(waiting.ask.exchange)
        waiting.visitor.waits(False)

    def _refuse(self, waiting: Waiting[V], reason: Reason, detail: str, retry_seconds: float | None) -> None:
        self._let_go(waiting)
        text = shorten(f"{reason.code.replace('-', ' ')}: {detail}")
        retry = None if retry_seconds is None else _milliseconds(retry_seconds)
        waiting.visitor.link.send(Refused(waiting.ask.exchange, reason, text, (), 0, retry_after_ms=retry))
        log.debug("waited in vain", extra={"client": peer_id_text(waiting.client), "reason": reason.code})

    # ------------------------------------------------------------ whose turn it is

    def look_again(self, client: PeerId) -> None:
        """Look soon whether a client can be served that may have quotes again."""
        self._passed_over -= {one.ask.exchange for one in self.admission if one.client == client}
        self._look_soon()

    def _note_room(self, worker: PeerId) -> None:
        self._opened.add(worker)
        self._look_soon()

    def _look_soon(self) -> None:
        self._may_have_room = True
        self._woken.set()

    def serve(self) -> None:
        """Give every slot that has come to be free to whoever waits for one, in their turn."""
        if not self._may_have_room:
            return
        self._may_have_room = False
        for model in self.admission.models:
            if any(shelf.open for shelf in self._agency.workers.roster.shelves(model)):
                self._serve(model)
        self._opened.clear()

    def _serve(self, model: str) -> None:
        chosen: Choice | None = None
        misfits: set[Waiting[V]] = set()

        def fits(waiting: Waiting[V]) -> bool:
            nonlocal chosen
            if waiting in misfits or not self._may_suit(waiting.ask):
                return False
            chosen = self._choose(waiting)
            if chosen is None:
                # Nobody comes to be free in this round.
                misfits.add(waiting)
            return chosen is not None

        while (waiting := self.admission.take(model, fits)) is not None:
            assert chosen is not None
            self._let_go(waiting)
            self._begin(waiting, chosen)
        self._passed_over.update(waiting.ask.exchange for waiting in misfits)

    def _may_suit(self, ask: Ask) -> bool:
        """Say whether there is anybody with room who was not looked at for it yet.

        A thousand who wait for the one worker that suits them cost the others nothing like a look at
        every worker each time that a slot comes to be free.
        """
        if ask.exchange not in self._passed_over:
            return True
        agency, now = self._agency, trio.current_time()
        amount_max = amount_max_for_worker(Nano(ask.max_cost), agency.policy.commission_basis_points)
        roster = agency.workers.roster
        opened = (roster[peer] for peer in self._opened if peer in roster)
        return any(may_serve(ask, worker, amount_max, now, agency.now()) for worker in opened)

    # ------------------------------------------------------------ time

    async def run(self) -> None:
        """Serve whoever waits, until cancelled: then they are left without an answer."""
        beat_at = trio.current_time()
        while True:
            due = min(beat_at, self.admission.next_late()) if len(self) else float("inf")
            with trio.move_on_at(due):
                await self._woken.wait()
            self._woken = trio.Event()
            now = trio.current_time()
            if now >= beat_at:
                # Workers that rested may work again, or have become cheaper.
                self._may_have_room = True
                self._passed_over.clear()
            self.serve()
            for waiting, seconds in self.admission.late(now):
                self._refuse(waiting, Reason.NO_CAPACITY, "no slot comes in time", seconds)
            if now >= beat_at:
                self._give_up()
                # A process that was held up hears first what has come meanwhile.
                self._beat(now, may_lose=now < beat_at + HEARTBEAT_SECONDS / 4)
                beat_at = now + HEARTBEAT_SECONDS

    def _give_up(self) -> None:
        """Tell those who wait for a model that nobody will serve it."""
        roster = self._agency.workers.roster
        stands = {
            model: any(
                not row.worker.is_draining
                for shelf in roster.shelves(model)
                for row in chain(shelf.open.values(), shelf.shut.values())
            )
            for model in self.admission.models
        }
        for waiting in self.admission:
            if not stands[waiting.ask.model]:
                self.admission.leave(waiting)
                self._refuse(
                    waiting, Reason.WORKER_LOST, "all workers with the model have left", RETRY_SECONDS
                )

    def _beat(self, now: float, *, may_lose: bool) -> None:
        """Tell them that we live, and end whoever does not."""
        for waiting in self.admission:
            link = waiting.visitor.link
            if may_lose and link.is_reading and now >= waiting.visitor.heard + LOST_SECONDS:
                link.end("silent")
            else:
                link.send(Heartbeat(waiting.ask.exchange, 0))


def _milliseconds(seconds: float) -> int:
    return int(1000 * min(max(seconds, RETRY_MIN_SECONDS), RETRY_MAX_SECONDS))
