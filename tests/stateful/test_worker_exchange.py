"""Whatever comes to the worker's machine, in whatever order: what must hold all the same."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.payments.pricing import worker_amount
from cocoon_p2p.protocols.contents import AnswerContent, FinishReason
from cocoon_p2p.protocols.exchange.worker import step
from cocoon_p2p.protocols.exchange.worker_events import (
    Admit,
    AssignReceived,
    ChunkTaken,
    CountPrompt,
    Cover,
    Covered,
    Dismiss,
    Effect,
    EngineFailed,
    Event,
    Generated,
    Greet,
    MessageReceived,
    OpenPart,
    PeerLost,
    PromptCounted,
    ReceiptSaved,
    RequestOpened,
    RequestRejected,
    Reset,
    SaveReceipt,
    Send,
    SendChunk,
    SessionAccepted,
    StartEngine,
    StopWork,
    TimePassed,
)
from cocoon_p2p.protocols.exchange.worker_phases import (
    Answering,
    Covering,
    Ending,
    Gone,
    Idle,
    Opening,
    State,
    next_wake,
    wants_step,
)
from cocoon_p2p.protocols.ids import (
    CHUNK_SECONDS,
    HEARTBEAT_SECONDS,
    Kind,
    Outcome,
    Reason,
)
from cocoon_p2p.protocols.messages import (
    Accept,
    Cancel,
    ExchangeId,
    Heartbeat,
    Hello,
    Receipted,
    Refused,
    Signed,
    Voucher,
)
from cocoon_p2p.units import Nano
from tests.protocols.exchange.worker_line import (
    ASSIGN,
    CHANNEL,
    EXCHANGE,
    OTHER,
    PAPER,
    PRICE,
    STANDING,
    part,
    quoted,
)


@settings(max_examples=200, stateful_step_count=40, deadline=None)
class WorkerStream(RuleBasedStateMachine):
    """However a proxy and our own side behave, each exchange ends once and is charged what it owes, once.

    The model is a shell that reports only on what it was ordered to do, but in any order, at any
    time, and late after it was told to stop.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: State = Idle()
        self.now = 0.0
        self.admitted = 0
        self.dismissed = 0
        self.begin_exchange()

    def begin_exchange(self) -> None:
        self.orders: list[Effect] = []
        self.stopped = False
        self.saves: list[SaveReceipt] = []
        self.is_saved = False
        self.is_computing = False
        self.covered = Nano(0)
        self.drafts: list[SendChunk] = []
        self.made = 0
        self.prefilled = 0
        self.is_receipted = False

    # ------------------------------------------------------------ carrying out

    def feed(self, event: Event) -> None:
        is_peers = isinstance(event, AssignReceived | MessageReceived)
        try:
            state, effects = step(self.state, event)
        except RemoteProtocolError:
            assert is_peers
            self.feed(PeerLost(self.now))
            return
        for effect in effects:
            self.carry_out(effect)
        self.state = state

    def carry_out(self, effect: Effect) -> None:
        assert not isinstance(self.state, Gone) or isinstance(effect, Reset)
        match effect:
            case Admit():
                assert self.admitted == self.dismissed
                self.begin_exchange()
                self.admitted += 1
            case Dismiss():
                self.dismissed += 1
                assert self.admitted == self.dismissed
                assert not self.saves or self.is_saved
            case Greet() | OpenPart() | CountPrompt():
                self.orders.append(effect)
            case Cover(amounts):
                assert list(amounts) == sorted(amounts)
                assert self.covered <= amounts[0]
                assert amounts[-1] <= ASSIGN.amount_max
                self.orders.append(effect)
            case StartEngine(completion_tokens_max):
                assert completion_tokens_max > 0
                self.is_computing = True
                self.orders.append(effect)
            case StopWork():
                self.stopped = True
            case SendChunk():
                self.check_chunk(effect)
                self.drafts.append(effect)
                self.orders.append(effect)
            case SaveReceipt():
                assert not self.saves
                self.saves.append(effect)
                self.check_owed(effect)
            case Send(Receipted()) if self.admitted > self.dismissed:
                assert self.is_saved
                assert not self.is_receipted
                self.is_receipted = True
            case Send(Refused()) if self.admitted > self.dismissed:
                assert not self.is_computing
                assert not self.saves
            case _:
                pass

    def check_chunk(self, chunk: SendChunk) -> None:
        assert not self.saves
        assert chunk.draft.number == len(self.drafts)
        assert worker_amount(chunk.draft.usage, PRICE) <= self.covered
        if self.drafts:
            last = self.drafts[-1].draft
            assert last.content.finish is None
            assert chunk.draft.usage.completion >= last.usage.completion
            assert replace(chunk.draft.usage, completion=0) == replace(last.usage, completion=0)

    def check_owed(self, save: SaveReceipt) -> None:
        assert self.is_computing
        assert save.amount == worker_amount(save.usage, PRICE)
        assert save.amount <= self.covered
        sent = self.drafts[-1].draft.usage.completion if self.drafts else 0
        assert save.usage.completion == sent
        is_final = bool(self.drafts) and self.drafts[-1].draft.content.finish is not None
        assert (save.outcome is Outcome.COMPLETED) == is_final
        match save.outcome:
            case Outcome.COMPLETED:
                assert save.usage == self.drafts[-1].draft.usage
            case Outcome.CANCELLED:
                assert save.usage.prompt + save.usage.cached == self.prefilled
            case Outcome.FAILED:
                assert save.usage.prompt == save.usage.cached == 0

    # ------------------------------------------------------------ the proxy

    @rule(
        exchange=st.sampled_from((EXCHANGE, OTHER)),
        slots=st.sampled_from((1, 1, 1, 0)),
        amount_max=st.sampled_from((1_000_000, 30)),
        receipt=st.sampled_from((None, None, None, PAPER)),
    )
    def assign(self, exchange: ExchangeId, slots: int, amount_max: int, receipt: Signed | None) -> None:
        assign = replace(quoted(exchange), amount_max=amount_max)
        self.feed(AssignReceived(assign, replace(STANDING, slots_free=slots, receipt=receipt), self.now))

    def exchange(self) -> ExchangeId:
        if isinstance(self.state, Idle):
            return self.state.last or EXCHANGE
        return EXCHANGE if isinstance(self.state, Gone) else self.state.job.exchange

    @rule(final=st.booleans())
    def send_part(self, final: bool) -> None:
        number = self.state.parts if isinstance(self.state, Opening) else 0
        self.feed(MessageReceived(part(number, final=final, exchange=self.exchange()), self.now))

    @rule()
    def send_heartbeat(self) -> None:
        self.feed(MessageReceived(Heartbeat(self.exchange(), 0), self.now))

    @rule(
        message=st.sampled_from(
            (
                Hello(EXCHANGE, b"hello"),
                part(1),
                part(0, request=9),
                Heartbeat(OTHER, 0),
                Cancel(OTHER, Reason.DEADLINE),
                Receipted(EXCHANGE, PAPER),
                Voucher(CHANNEL, 0, 5, bytes(64)),
            )
        )
    )
    def send_message(self, message: object) -> None:
        self.feed(MessageReceived(message, self.now))

    @rule(reason=st.sampled_from((Reason.CANCELLED, Reason.CLIENT_LOST, Reason.DEADLINE, Reason.PROXY_LOST)))
    def cancel(self, reason: Reason) -> None:
        self.feed(MessageReceived(Cancel(self.exchange(), reason), self.now))

    @rule(really=st.integers(0, 4))
    def lose(self, really: int) -> None:
        if really == 4:
            self.feed(PeerLost(self.now))

    @rule()
    def connect(self) -> None:
        if isinstance(self.state, Gone):
            self.state = Idle()

    @rule(
        seconds=st.sampled_from((0.001, CHUNK_SECONDS, 0.5, HEARTBEAT_SECONDS, 5.0, 70.0)),
        is_alive=st.booleans(),
    )
    def wait(self, seconds: float, is_alive: bool) -> None:
        """Pass time, waking the machine when it asked for it; a shell never sleeps through a wake."""
        until, wakes = self.now + seconds, 0
        while (due := next_wake(self.state)) is not None and due <= until:
            # Two things may be due at once, but no machine may ask for the same wake for ever.
            wakes = wakes + 1 if due <= self.now else 0
            assert wakes <= 2
            self.now = max(self.now, due)
            if is_alive:
                self.send_heartbeat()
            self.feed(TimePassed(self.now))
        self.now = until

    # ------------------------------------------------------------ our own side

    @rule(steps=st.integers(1, 20), data=st.data())
    def go_on(self, steps: int, data: st.DataObject) -> None:
        """Let everybody do what is expected of them, so that exchanges come far."""
        self.connect()
        for _ in range(steps):
            if isinstance(self.state, Idle):
                self.assign(EXCHANGE, 1, 1_000_000, None)
            elif isinstance(self.state, Opening) and not self.state.is_complete:
                self.send_part(final=True)
            elif self.saves and not self.is_saved:
                self.save()
            elif self.orders:
                # A slow engine: whatever else is to do comes first.
                order = next((one for one in self.orders if not isinstance(one, StartEngine)), self.orders[0])
                if not isinstance(order, StartEngine):
                    self.orders.remove(order)
                if not self.stopped:
                    self.report_on(order, True, data)

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.orders))
        is_fine = data.draw(st.booleans())
        if not isinstance(order, StartEngine):
            self.orders.remove(order)
        if self.stopped and not isinstance(self.state, Ending | Idle | Gone):
            return
        self.report_on(order, is_fine, data)

    def report_on(self, order: Effect, is_fine: bool, data: st.DataObject) -> None:
        rejected = RequestRejected(Reason.SEAL_BROKEN, "seal broken", self.now)
        match order:
            case Greet(hello):
                accepted = SessionAccepted(Accept(hello.exchange, b"", bytes(64)), self.now)
                self.feed(accepted if is_fine else rejected)
            case OpenPart(opened):
                if not is_fine and not self.is_computing and not isinstance(self.state, Covering):
                    self.feed(rejected)
                elif opened.final:
                    self.feed(RequestOpened(Kind.CHAT, "m", 20, self.now))
            case CountPrompt():
                self.feed(PromptCounted(10, 2, self.now) if is_fine else rejected)
            case Cover(amounts):
                self.covered = data.draw(st.sampled_from(amounts))
                self.feed(Covered(self.covered, self.now))
            case StartEngine():
                self.generate(data)
            case SendChunk():
                self.feed(ChunkTaken(self.now))
            case _:
                raise AssertionError(order)

    def generate(self, data: st.DataObject) -> None:
        if not isinstance(self.state, Ending | Idle | Gone) and not wants_step(self.state):
            return
        if data.draw(st.integers(0, 29)) == 29:
            self.feed(EngineFailed(self.now))
            return
        is_counting = isinstance(self.state, Answering) and self.state.answer.finish is None
        made = self.made + data.draw(st.integers(0, 3))
        prefilled = 10 if made else data.draw(st.integers(0, 10))
        finish = FinishReason.STOP if data.draw(st.integers(0, 9)) == 9 else None
        if is_counting:
            self.made = made
            self.prefilled = max(self.prefilled, 10 if finish else prefilled)
        self.feed(Generated(AnswerContent("x", finish), made, prefilled, self.now))

    @precondition(lambda self: self.saves and not self.is_saved)
    @rule()
    def save(self) -> None:
        self.is_saved = True
        self.feed(ReceiptSaved(PAPER, self.now))

    @invariant()
    def an_exchange_runs_or_was_dismissed(self) -> None:
        runs = not isinstance(self.state, Idle | Gone)
        assert self.admitted - self.dismissed == int(runs)


TestWorkerStream = WorkerStream.TestCase
