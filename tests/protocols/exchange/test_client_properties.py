"""Whatever a proxy sends, in whatever order, a client pays for what it got and ends once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import network_id
from cocoon_p2p.payments.pricing import client_amount, worker_amount
from cocoon_p2p.protocols import messages
from cocoon_p2p.protocols.contents import AnswerContent, FinishReason
from cocoon_p2p.protocols.exchange.client import Exchange, Order, Phase, begin, next_wake, step
from cocoon_p2p.protocols.exchange.client_events import (
    CancelWanted,
    Charge,
    ChunkOpened,
    Deliver,
    Disputed,
    Effect,
    Event,
    Finish,
    HelloMade,
    Hold,
    HoldRefused,
    Lost,
    OpenSession,
    PeerLost,
    Received,
    RequestSealed,
    SealRequest,
    Woke,
)
from cocoon_p2p.protocols.exchange.delivery import NOTHING
from cocoon_p2p.protocols.exchange.terms import Rules
from cocoon_p2p.protocols.ids import Kind, Outcome, Reason, Trust
from cocoon_p2p.protocols.messages import Ask, ChannelId, Chunk, ExchangeId, Price, Usage
from cocoon_p2p.testing.papers import make_deal, paper_identity, paper_worker

NETWORK = network_id("test")
DATE = 1_800_000_000.0
PROXY = paper_identity(1)
# So dear that six tokens of the answer pass the max cost, and so that the prompt hides no token.
PRICE = Price(prompt=1_000, cached=1_000, completion=500_000, reasoning=700_000)
WORKER = paper_worker(NETWORK, now=DATE, price=PRICE)
ID = ExchangeId(b"exchange 16 byte")
ASK = Ask(
    exchange=ID,
    model="scripted",
    kind=Kind.CHAT,
    prompt_tokens_max=20,
    completion_tokens_max=8,
    max_cost=3_000,
    deadline_ms=30_000,
    trust=Trust.OPEN,
    prefer=(),
    exclude=(),
    features=(),
    channel=ChannelId(bytes(32)),
)
DEAL = make_deal(ASK, worker=WORKER, proxy=PROXY, network=NETWORK, now=DATE, window_tokens=3)
ORDER = Order(ASK, PROXY.peer_id, NETWORK, Rules(), deadline=30.0)
PARTS = (messages.Part(ID, bytes(16), 0, 0, True, b"sealed"),)
REFUSAL = messages.Refused(ID, Reason.NO_CAPACITY, "no capacity", (), 0)

Make = Callable[[Exchange, float], Event]


def _counts() -> st.SearchStrategy[int]:
    return st.sampled_from([0, 0, 0, 1, 2, 30])


@st.composite
def chunks(draw: st.DrawFn) -> Make:
    number, prompt, completion, reasoning = (
        draw(st.sampled_from([0, 0, 0, 0, 1])),
        *(draw(_counts()) for _ in "pcr"),
    )
    final, honest = draw(st.booleans()), draw(st.sampled_from([True, True, True, False]))

    def make(exchange: Exchange, now: float) -> Event:
        before = exchange.delivery.usage
        usage = Usage(
            before.prompt + (0 if honest else prompt),
            before.cached,
            before.completion + completion,
            before.reasoning + reasoning,
        )
        chunk = Chunk(ID, exchange.delivery.chunks + number, final, usage, b"sealed")
        return ChunkOpened(chunk, AnswerContent("x", FinishReason.STOP if final is honest else None), now)

    return make


def _fitting(exchange: Exchange) -> Outcome:
    if exchange.delivery.is_complete:
        return Outcome.COMPLETED
    return Outcome.CANCELLED if exchange.cancelled else Outcome.FAILED


@st.composite
def settlements(draw: st.DrawFn) -> Make:
    outcome = draw(st.sampled_from([None, None, None, *Outcome]))
    more = draw(st.sampled_from([0, 0, 0, 1, 2]))
    paper = draw(st.sampled_from(["receipt", "receipt", "receipt", "meter", "none"]))
    lies: list[dict[str, Any]] = [{"worker_amount": 7_000}, {"commission": 0}, {"quote_hash": bytes(32)}]
    lie = draw(st.sampled_from([{}, {}, {}, {}, *lies]))

    def make(exchange: Exchange, now: float) -> Event:
        usage = exchange.delivery.usage
        usage = replace(usage, completion=usage.completion + more)
        changes = dict(lie)
        if paper != "receipt":
            changes["receipt"] = None
        if paper == "meter":
            changes["meter"] = DEAL.meter(usage)
        signed = DEAL.settle(
            usage if paper != "none" else NOTHING,
            answer_hash=exchange.delivery.answer_hash,
            outcome=outcome or _fitting(exchange),
            **changes,
        )
        return Received(messages.Settled(ID, signed), now, DATE)

    return make


def _message(message: object) -> Make:
    return lambda exchange, now: Received(message, now, DATE)


STEPS: st.SearchStrategy[Make] = st.one_of(
    chunks(),
    chunks(),
    chunks(),
    settlements(),
    st.builds(lambda p, c: _message(messages.PromptMetered(ID, Usage(p, c, 0, 0))), _counts(), _counts()),
    st.sampled_from(
        [
            _message(messages.Quoted(ID, DEAL.quote)),
            _message(REFUSAL),
            _message(messages.Accept(ID, b"accept", bytes(64))),
            _message(messages.Heartbeat(ID, 1)),
            _message(messages.Heartbeat(ExchangeId(bytes(16)), 1)),
            lambda exchange, now: CancelWanted(now),
            lambda exchange, now: HoldRefused(Refused("no credit", code="no-credit"), now),
            lambda exchange, now: PeerLost(Unavailable("reset")),
            lambda exchange, now: Woke(now),
        ]
    ),
)


class Run:
    """Drives one exchange as the shell does, and keeps what it was told."""

    def __init__(self, greets: bool) -> None:
        self.exchange, effects = begin(ORDER, 0.0)
        self.greets = greets
        self.effects: list[Effect] = list(effects)
        self.now = 0.0

    def feed(self, event: Event) -> None:
        try:
            self.exchange, effects = step(self.exchange, event)
        except RemoteProtocolError as error:
            self.exchange, effects = step(self.exchange, PeerLost(error))
        self.effects += effects
        for effect in effects:
            if isinstance(effect, SealRequest):
                self.feed(HelloMade(b"hello", self.now) if self.greets else RequestSealed(PARTS, self.now))
            elif isinstance(effect, OpenSession):
                self.feed(RequestSealed(PARTS, self.now))


def _honest_chunk(exchange: Exchange, now: float) -> Event:
    usage = exchange.delivery.usage
    chunk = Chunk(ID, exchange.delivery.chunks, False, replace(usage, completion=usage.completion + 1), b"1")
    return ChunkOpened(chunk, AnswerContent("x"), now)


def _honest_greeting(exchange: Exchange, now: float) -> Event:
    greeted = exchange.phase is Phase.GREETED
    message = messages.Accept(ID, b"accept", bytes(64)) if greeted else messages.Heartbeat(ID, 1)
    return Received(message, now, DATE)


def honest_beginnings() -> st.SearchStrategy[list[Make]]:
    """The first steps of an honest proxy, so that most runs get to see the later phases."""
    steps = [
        _message(messages.Quoted(ID, DEAL.quote)),
        _honest_greeting,
        _message(messages.PromptMetered(ID, Usage(10, 5, 0, 0))),
        *[_honest_chunk] * 6,
    ]
    return st.integers(0, len(steps)).map(lambda count: steps[:count])


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.booleans(),
    honest_beginnings(),
    st.lists(st.tuples(STEPS, st.floats(0, 1.5)), max_size=4),
    settlements(),
)
def test_only_peers_err_it_ends_once_and_never_pays_for_more_than_it_got(
    greets: bool, beginning: list[Make], steps: list[tuple[Make, float]], settle: Make
) -> None:
    run = Run(greets)

    for make, passed in [*((make, 0.0) for make in beginning), *steps, (settle, 0.0)]:
        run.now += passed
        run.feed(make(run.exchange, run.now))
    while (wake := next_wake(run.exchange)) is not None:
        run.now = max(run.now, wake)
        run.feed(Woke(run.now))

    effects, got = run.effects, run.exchange.delivery.usage
    value = client_amount(worker_amount(got, PRICE), DEAL.commission_basis_points)
    assert run.exchange.phase is Phase.ENDED
    assert [type(effect) for effect in effects].count(Finish) == 1
    assert isinstance(effects[-1], Finish)
    charges = [effect.bill.amount for effect in effects if isinstance(effect, Charge)]
    assert sum(charges) <= min(value, ASK.max_cost)
    assert len(charges) <= 1
    assert all(effect.amount <= ASK.max_cost for effect in effects if isinstance(effect, Hold))
    end = effects[-1].end
    event(type(end).__name__)
    event(f"charged={bool(charges)}")
    if isinstance(end, Lost | Disputed):
        assert not charges
    if isinstance(end, Lost):
        assert end.owed_max <= ASK.max_cost
    assert len([effect for effect in effects if isinstance(effect, Deliver)]) == run.exchange.delivery.chunks
