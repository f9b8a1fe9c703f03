"""Who waits, however Asks come and go: each is let in or not, and leaves once, in time."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import Kind, Trust
from cocoon_p2p.protocols.messages import Ask, ExchangeId
from cocoon_p2p.proxy.admission import Admission, Waiting
from cocoon_p2p.scheduling import Prospect

WAITING_MAX, PER_CLIENT_MAX, WAIT_MAX_SECONDS = 5, 3, 30.0
A, B, C = (PeerId(name) for name in (b"a", b"b", b"c"))
CLIENTS = st.sampled_from([A, B, C])
MODELS = st.sampled_from(["small", "large"])
SLOTS = {"small": 2, "large": 1}


@dataclass
class Running:
    """An exchange that has a slot."""

    model: str
    waited: Waiting[int] | None
    began: float


class Admissions(RuleBasedStateMachine):
    """Slots of two models, and clients that ask for them, wait, leave and end as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission[int](
            waiting_max=WAITING_MAX, per_client_max=PER_CLIENT_MAX, wait_max_seconds=WAIT_MAX_SECONDS
        )
        self.now = 0.0
        self.asked = 0
        self.waiting: dict[int, Waiting[int]] = {}
        self.running: list[Running] = []
        for model, slots in SLOTS.items():
            for _ in range(slots):
                self.begin(model, None)

    def free(self, model: str) -> int:
        return SLOTS[model] - sum(running.model == model for running in self.running)

    def serve(self) -> None:
        """Give every free slot away, as the proxy does whenever one comes to be free."""
        for model in SLOTS:
            while self.free(model) and (waiting := self.admission.take(model, lambda _: True)) is not None:
                assert self.waiting.pop(waiting.visitor) is waiting, "served once"
                assert waiting.ask.model == model
                assert self.now < waiting.start_by, "served in time"
                self.begin(model, waiting)
            assert not self.free(model) or all(each.ask.model != model for each in self.waiting.values())

    def begin(self, model: str, waited: Waiting[int] | None) -> None:
        self.admission.began(model)
        self.running.append(Running(model, waited, self.now))

    @rule(
        client=CLIENTS,
        model=MODELS,
        seconds=st.sampled_from([1.0, 2.0, 9.0]),
        wait=st.sampled_from([None, 2_000, 9_000, 40_000]),
        deadline=st.sampled_from([1, 5_000, 60_000]),
    )
    def ask(self, client: PeerId, model: str, seconds: float, wait: int | None, deadline: int) -> None:
        if self.free(model):
            return self.begin(model, None)
        ask = Ask(
            ExchangeId(self.asked.to_bytes(16)), model, Kind.CHAT, 1, 1, 1, deadline, Trust.OPEN, (), (), (),
            wait_ms=wait,
        )  # fmt: skip
        before = set(self.waiting)
        expected = self.admission.expected(model, seconds, self.now)
        entry = self.admission.enter(ask, client, Prospect(SLOTS[model], seconds), self.asked, self.now)
        assert entry.wait_seconds >= 0
        if (pushed := entry.pushed_out) is not None:
            del self.waiting[pushed.visitor]
            assert len(before) == WAITING_MAX
            assert self.count(pushed.client) >= self.count(client) + 1, "only who has more gives way"
        if (waiting := entry.waiting) is not None:
            assert wait is not None
            assert entry.wait_seconds <= wait / 1000, "nobody waits who would wait in vain"
            assert self.now + entry.wait_seconds + expected <= self.now + deadline / 1000 + 1e-9
            self.waiting[self.asked] = waiting
        self.asked += 1
        return None

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiting = self.waiting.pop(data.draw(st.sampled_from(sorted(self.waiting))))
        self.admission.leave(waiting)
        self.admission.leave(waiting)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        running = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        held = self.now - running.began
        self.admission.ended(running.model, forecast=5.0, held=held, now=self.now, waited=running.waited)
        self.serve()

    @rule(seconds=st.integers(1, 8))
    def go_by(self, seconds: int) -> None:
        """Time goes by, from one moment that somebody cannot wait any longer to the next."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, max(self.now, self.admission.next_late()))
            for waiting, wait in self.admission.late(self.now):
                assert self.waiting.pop(waiting.visitor) is waiting
                assert wait >= 0
            if self.admission.next_late() <= self.now:
                raise AssertionError("who is late is told so at once")

    def count(self, client: PeerId) -> int:
        return sum(waiting.client == client for waiting in self.waiting.values())

    @invariant()
    def those_who_wait_are_bounded_and_known(self) -> None:
        assert set(self.admission) == set(self.waiting.values())
        assert len(self.admission) <= WAITING_MAX
        for client in {waiting.client for waiting in self.waiting.values()}:
            assert self.count(client) <= PER_CLIENT_MAX
        assert set(self.admission.models) == {each.ask.model for each in self.waiting.values()}
        for waiting in self.waiting.values():
            assert self.now < waiting.start_by <= waiting.since + WAIT_MAX_SECONDS


TestAdmissions = Admissions.TestCase
TestAdmissions.settings = settings(max_examples=40, stateful_step_count=40)


def test_a_line_is_bounded_for_each_client_and_in_all() -> None:
    machine = Admissions()
    for client in (A, A, A, A, B, B, B, C, C):
        machine.ask(client, "small", 1.0, 40_000, 60_000)
        machine.those_who_wait_are_bounded_and_known()

    assert [machine.count(client) for client in (A, B, C)] == [2, 2, 1]
