"""However two peers, the accounts and the clock behave, the proxy's exchange keeps its promises."""

import contextlib
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.payments.pricing import worker_amount
from cocoon_p2p.protocols.exchange.proxy_events import (
    Charge,
    ClientLost,
    ClientSaid,
    Cover,
    Covered,
    Effect,
    Event,
    Hold,
    HoldRefused,
    LeaveWorker,
    OpenWorker,
    Release,
    ToClient,
    ToWorker,
    Woke,
    WorkerLost,
    WorkerSaid,
    WorkerUnavailable,
)
from cocoon_p2p.protocols.exchange.proxy_state import Phase
from cocoon_p2p.protocols.ids import Outcome, Reason
from cocoon_p2p.protocols.messages import (
    Allow,
    Assign,
    Cancel,
    Chunk,
    Heartbeat,
    Load,
    Price,
    PromptMetered,
    Refused,
    Settled,
    Usage,
)
from cocoon_p2p.units import Nano
from tests.protocols.exchange.proxy_line import (
    ACCEPT,
    ASK,
    EXCHANGE,
    HELLO,
    OFFER,
    OTHER,
    PHASES,
    REFUSED,
    Line,
    bring_to,
    deal_of,
    part,
)

counts = st.integers(0, 12)
UPLOADS = ("QUOTED", "COVERING", "OPENING", "UPLOADING")
STRANGE = (HELLO, ACCEPT, REFUSED, Heartbeat(EXCHANGE, 5), Heartbeat(OTHER, 0), Load(1, 1, 0))
FAULTS = (
    "client lost",
    "client talks nonsense",
    "client skips a part",
    "client claims a reason",
    "worker lost",
    "worker talks nonsense",
    "worker counts wrong",
    "worker forges a meter",
    "worker signs early",
    "worker signs falsely",
    "worker unavailable",
    "channel used up",
    "silence",
)
prices = st.builds(Price, *[st.sampled_from([0, 999, 1_000, 20_000])] * 4)


class ProxyExchange(RuleBasedStateMachine):
    """Money is conserved, the client hears one end, and the worker never gets ahead of the client."""

    @initialize(
        price=prices,
        max_cost=st.sampled_from([0, 60, 999, 2_000]),
        commission=st.sampled_from([0, 1, 100, 2_500, 10_000]),
        window=st.sampled_from([0, 3, 8]),
        phase=st.sampled_from(PHASES[:-2]),
    )
    def begin(self, price: Price, max_cost: int, commission: int, window: int, phase: str) -> None:
        ask = replace(ASK, max_cost=max_cost, prompt_tokens_max=12, completion_tokens_max=60)
        deal = deal_of(ask, offer=replace(OFFER, price=price), commission=commission, window=window)
        self.line = Line(deal)
        # Some exchanges begin further on, as far as these prices let an honest one come.
        with contextlib.suppress(RemoteProtocolError, StopIteration):
            bring_to(phase, self.line)
        self.is_opening = self.line.phase == "OPENING"
        self.credit = int(self.line.exchange.covered)

    # ------------------------------------------------------------ the shell

    def feed(self, event: Event) -> None:
        effects = self.line.feed(event)
        self.note(effects)
        for effect in effects:
            if isinstance(effect, ToClient) and isinstance(effect.message, Chunk):
                owed = self.owed(effect.message.usage)
                assert owed <= self.line.exchange.covered, "an answer that nobody has covered"

    def note(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Cover():
                    self.answer_cover()
                case OpenWorker():
                    self.is_opening = True
                case Hold(amount) | ToWorker(Allow(amount=amount)):
                    assert self.line.deal.for_client(Nano(amount)) <= self.line.exchange.covered
                case _:
                    pass

    def answer_cover(self) -> None:
        asked = self.line.last(Cover).amount
        self.feed(Covered(Nano(min(asked, self.credit)), self.line.now))

    def owed(self, usage: Usage) -> int:
        return self.line.deal.for_client(worker_amount(usage, self.line.deal.offer.price))

    def say(self, kind: type[ClientSaid | WorkerSaid], message: object) -> None:
        before = self.line.exchange
        try:
            self.feed(kind(message, self.line.now))
        except RemoteProtocolError:
            assert self.line.exchange is before
            lost = ClientLost(self.line.now)
            self.feed(lost if kind is ClientSaid else WorkerLost("broke the rules", self.line.now))

    @property
    def has_worker(self) -> bool:
        return bool(self.line.to_worker) and not self.line.all(LeaveWorker)

    @property
    def has_client(self) -> bool:
        return self.line.exchange.is_client_here

    # ------------------------------------------------------------ what honest peers do

    @precondition(lambda self: self.has_client and self.line.phase in UPLOADS)
    @rule(final=st.booleans())
    def client_uploads(self, final: bool) -> None:
        exchange = self.line.exchange
        if not exchange.is_greeting and not exchange.is_uploaded:
            self.say(ClientSaid, part(exchange.parts, final=final))

    @precondition(lambda self: self.has_worker and self.line.phase in ("UPLOADING", "METERING"))
    @rule(prompt=counts)
    def worker_takes_the_request(self, prompt: int) -> None:
        if self.line.exchange.is_greeting:
            self.say(WorkerSaid, ACCEPT)
        elif self.line.phase == "METERING":
            self.say(WorkerSaid, PromptMetered(EXCHANGE, Usage(prompt, 12 - prompt, 0, 0)))

    @precondition(lambda self: self.has_worker and self.line.exchange.passed.metered is not None)
    @rule(
        completion=counts,
        reasoning=st.sampled_from([0, 0, 0, 1]),
        final=st.sampled_from([False, False, False, True]),
        is_signed=st.booleans(),
    )
    def worker_answers(self, completion: int, reasoning: int, final: bool, is_signed: bool) -> None:
        passed = self.line.exchange.passed
        usage = replace(
            passed.usage,
            completion=passed.usage.completion + completion,
            reasoning=passed.usage.reasoning + reasoning,
        )
        is_within = worker_amount(usage, self.line.deal.offer.price) <= self.line.exchange.held
        if not passed.is_complete and is_within and usage.completion + usage.reasoning <= 60:
            signature = self.line.meter_of(usage) if is_signed else None
            number = passed.chunks
            self.say(WorkerSaid, Chunk(EXCHANGE, number, final, usage, b"%d" % number, signature))

    @precondition(lambda self: self.has_worker and self.line.phase in ("ANSWERING", "STOPPING"))
    @rule(hurry=st.integers(0, 3))
    def worker_signs(self, hurry: int) -> None:
        exchange = self.line.exchange
        if exchange.passed.is_complete:
            self.say(WorkerSaid, self.line.receipt(Outcome.COMPLETED))
        elif exchange.phase is Phase.STOPPING and not hurry:
            outcome = Outcome.FAILED if exchange.reason is Reason.PROXY_LOST else Outcome.CANCELLED
            self.say(WorkerSaid, self.line.receipt(outcome))

    @precondition(lambda self: self.line.all(Cover))
    @rule(more=st.integers(1, 100))
    def credit_rises(self, more: int) -> None:
        self.credit += more
        self.answer_cover()

    @precondition(lambda self: self.is_opening and self.line.phase == "OPENING")
    @rule()
    def worker_opens(self) -> None:
        self.is_opening = False
        self.note(self.line.open())

    @precondition(lambda self: self.line.phase == "SETTLING")
    @rule()
    def charge(self) -> None:
        self.note(self.line.charge())

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.3, 1.0]), client=st.booleans(), worker=st.booleans())
    def time_passes(self, seconds: float, client: bool, worker: bool) -> None:
        self.line.now += seconds
        self.feed(Woke(self.line.now, is_client_read=client, is_worker_read=worker))

    @precondition(lambda self: self.has_client and self.line.phase not in ("SETTLING", "ENDED"))
    @rule(regret=st.integers(0, 20))
    def client_cancels(self, regret: int) -> None:
        if not regret:
            self.say(ClientSaid, Cancel(EXCHANGE, Reason.CANCELLED))

    # ------------------------------------------------------------ what goes wrong

    @rule(what=st.sampled_from(("nothing",) * 40 + FAULTS), number=st.integers(0, 12))
    def something_goes_wrong(self, what: str, number: int) -> None:
        line = self.line
        passed = line.exchange.passed
        match what:
            case "client lost" if self.has_client:
                self.feed(ClientLost(line.now))
            case "client talks nonsense" if self.has_client:
                self.say(ClientSaid, STRANGE[number % len(STRANGE)])
            case "client skips a part" if self.has_client:
                self.say(ClientSaid, part(line.exchange.parts + number))
            case "client claims a reason" if self.has_client:
                self.say(ClientSaid, Cancel(EXCHANGE, list(Reason)[number]))
            case "worker lost" if self.has_worker:
                self.feed(WorkerLost("gone", line.now))
            case "worker talks nonsense" if self.has_worker:
                self.say(WorkerSaid, STRANGE[number % len(STRANGE)])
            case "worker counts wrong" if self.has_worker:
                usage = replace(passed.usage, completion=number * 10)
                self.say(WorkerSaid, Chunk(EXCHANGE, passed.chunks, False, usage, b"", None))
            case "worker forges a meter" if self.has_worker:
                self.say(WorkerSaid, Chunk(EXCHANGE, passed.chunks, False, passed.usage, b"", bytes(64)))
            case "worker signs early" if self.has_worker:
                self.say(WorkerSaid, line.receipt(list(Outcome)[number % 3]))
            case "worker signs falsely" if self.has_worker:
                self.say(WorkerSaid, line.receipt(amount=number))
            case "worker unavailable" if self.is_opening and line.phase == "OPENING":
                self.is_opening = False
                self.feed(WorkerUnavailable("gone", line.now))
            case "channel used up" if line.all(Hold):
                self.feed(HoldRefused(line.now))
            case "silence":
                line.now += number
                self.feed(Woke(line.now))
            case _:
                pass

    # ------------------------------------------------------------ promises

    @invariant()
    def the_client_hears_one_end(self) -> None:
        told = [message for message in self.line.to_client if isinstance(message, Refused | Settled)]
        assert len(told) <= 1
        if self.line.phase == "ENDED" and self.has_client:
            assert len(told) == 1
            assert self.line.to_client[-1] is told[0]

    @invariant()
    def the_worker_is_left_once(self) -> None:
        left = len(self.line.all(LeaveWorker))
        assert left <= 1
        assert left <= len([message for message in self.line.to_worker if isinstance(message, Assign)])
        if self.line.phase in ("SETTLING", "ENDED") and self.line.to_worker:
            assert left == 1

    @invariant()
    def the_accounts_are_settled_once(self) -> None:
        charged, released = len(self.line.all(Charge)), len(self.line.all(Release))
        assert charged + released <= 1
        if self.line.phase == "ENDED":
            assert charged + released == 1

    @invariant()
    def money_is_conserved(self) -> None:
        ask, deal = self.line.deal.ask, self.line.deal
        for cover in self.line.all(Cover):
            assert cover.amount <= ask.max_cost
        for charge in self.line.all(Charge):
            reckoning = charge.reckoning
            assert 0 <= reckoning.worker_amount <= deal.amount_max
            assert reckoning.worker_amount <= reckoning.client_amount <= ask.max_cost
            assert reckoning.client_amount == deal.for_client(reckoning.worker_amount)
            assert reckoning.client_amount <= self.line.exchange.covered
        exchange = self.line.exchange
        assert deal.for_client(exchange.held) <= exchange.covered <= max(self.credit, 0)

    @invariant()
    def chunks_are_passed_on_in_order_and_once(self) -> None:
        numbers = [message.number for message in self.line.to_client if isinstance(message, Chunk)]
        assert numbers == list(range(len(numbers)))

    def teardown(self) -> None:
        if not hasattr(self, "line"):
            return
        for _ in range(200):
            if self.line.phase == "SETTLING":
                self.note(self.line.charge())
            if self.line.phase == "ENDED":
                break
            self.note(self.line.wake())
        assert self.line.phase == "ENDED", "silence does not end it"
        self.the_client_hears_one_end()
        self.the_worker_is_left_once()
        self.the_accounts_are_settled_once()
        self.money_is_conserved()


TestProxyExchange = ProxyExchange.TestCase
TestProxyExchange.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
