"""The client's machine: every phase against every event, and what each end leaves behind."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from cocoon_p2p.errors import LocalProtocolError, Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import network_id
from cocoon_p2p.protocols import messages
from cocoon_p2p.protocols.contents import AnswerContent, FinishReason
from cocoon_p2p.protocols.exchange.client import (
    SETTLE_SECONDS,
    Exchange,
    Order,
    Phase,
    begin,
    next_wake,
    step,
)
from cocoon_p2p.protocols.exchange.client_events import (
    CancelWanted,
    Charge,
    ChunkOpened,
    Declined,
    Deliver,
    Disputed,
    Dropped,
    Effect,
    Effects,
    End,
    Event,
    Finish,
    HelloMade,
    Hold,
    HoldRefused,
    Lost,
    OpenSession,
    Paid,
    PeerLost,
    Priced,
    Received,
    Release,
    RequestSealed,
    Reset,
    SealRequest,
    Send,
    Woke,
)
from cocoon_p2p.protocols.exchange.delivery import NOTHING, TOKEN_TEXT_MAX_BYTES
from cocoon_p2p.protocols.exchange.terms import Rules
from cocoon_p2p.protocols.ids import Kind, Outcome, Reason, Trust
from cocoon_p2p.protocols.messages import Ask, ChannelId, Chunk, ExchangeId, Signed, Usage
from cocoon_p2p.protocols.papers import paper_hash
from cocoon_p2p.testing.papers import make_deal, paper_identity, paper_worker
from cocoon_p2p.units import Nano

NETWORK = network_id("test")
DATE = 1_800_000_000.0
PROXY = paper_identity(1)
WORKER = paper_worker(NETWORK, now=DATE)
ID = ExchangeId(b"exchange 16 byte")
ASK = Ask(
    exchange=ID,
    model="scripted",
    kind=Kind.CHAT,
    prompt_tokens_max=100,
    completion_tokens_max=50,
    max_cost=10_000,
    deadline_ms=30_000,
    trust=Trust.OPEN,
    prefer=(),
    exclude=(),
    features=(),
    channel=ChannelId(bytes(32)),
)
DEAL = make_deal(ASK, worker=WORKER, proxy=PROXY, network=NETWORK, now=DATE)
ORDER = Order(ASK, PROXY.peer_id, NETWORK, Rules(), deadline=30.0)
NOW = 0.5
"A steady time at which no heartbeat is due yet."

PROMPT = Usage(prompt=10, cached=0, completion=0, reasoning=0)
PARTS = (messages.Part(ID, bytes(16), 0, 0, True, b"sealed"),)
NO_MONEY = Refused("no credit", code="no-credit")
BROKEN = Unavailable("the stream was reset")
REFUSAL = messages.Refused(ID, Reason.NO_CAPACITY, "no capacity", (), 0)
NOTHING_OWED = DEAL.settle(NOTHING, answer_hash=bytes(32), outcome=Outcome.FAILED, receipt=None)


def received(message: object, now: float = NOW) -> Received:
    return Received(message, now, DATE)


def usage(completion: int) -> Usage:
    return replace(PROMPT, completion=completion)


def chunk(number: int, completion: int, *, final: bool = False, **changes: object) -> Chunk:
    value = Chunk(ID, number, final, usage(completion), b"sealed %d" % number)
    return replace(value, **changes)  # type: ignore[arg-type]


def opened(value: Chunk, text: str = "word", now: float = NOW) -> ChunkOpened:
    return ChunkOpened(value, AnswerContent(text, FinishReason.STOP if value.final else None), now)


def run(exchange: Exchange, *events: Event) -> tuple[Exchange, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        exchange, more = step(exchange, event)
        effects += more
    return exchange, effects


def end_of(effects: list[Effect] | Effects) -> End:
    assert isinstance(effects[-1], Finish)
    assert sum(isinstance(effect, Finish) for effect in effects) == 1
    return effects[-1].end


QUOTED = received(messages.Quoted(ID, DEAL.quote))
METERED = received(messages.PromptMetered(ID, PROMPT))
SEALED = RequestSealed(PARTS, NOW)
TO_SEALING = (QUOTED,)
TO_GREETED = (*TO_SEALING, HelloMade(b"hello", NOW))
TO_SENT = (*TO_SEALING, SEALED)
TO_METERED = (*TO_SENT, METERED)
TO_ANSWERING = (*TO_METERED, opened(chunk(0, 1)))
TO_ANSWERED = (*TO_ANSWERING, opened(chunk(1, 2, final=True)))

WAYS: dict[Phase, tuple[Event, ...]] = {
    Phase.ASKED: (),
    Phase.SEALING: TO_SEALING,
    Phase.GREETED: TO_GREETED,
    Phase.SENT: TO_SENT,
    Phase.METERED: TO_METERED,
    Phase.ANSWERING: TO_ANSWERING,
    Phase.ANSWERED: TO_ANSWERED,
    Phase.CANCELLING: (*TO_METERED, CancelWanted(NOW)),
    Phase.ENDED: (received(REFUSAL),),
}


def at(phase: Phase) -> Exchange:
    exchange, _ = run(begin(ORDER, 0.0)[0], *WAYS[phase])
    assert exchange.phase is phase
    return exchange


EVENTS: dict[str, Callable[[Exchange], Event]] = {
    "quote": lambda _: QUOTED,
    "refuse": lambda _: received(REFUSAL),
    "accept": lambda _: received(messages.Accept(ID, b"accept", bytes(64))),
    "meter": lambda _: METERED,
    "chunk": lambda at: opened(chunk(at.delivery.chunks, at.delivery.usage.completion + 1)),
    "last": lambda at: opened(chunk(at.delivery.chunks, at.delivery.usage.completion + 1, final=True)),
    "bill": lambda _: received(messages.Settled(ID, NOTHING_OWED)),
    "beat": lambda _: received(messages.Heartbeat(ID, 1)),
    "other": lambda _: received(messages.Receipted(ID, NOTHING_OWED)),
    "hello": lambda _: HelloMade(b"hello", NOW),
    "sealed": lambda _: SEALED,
    "debt": lambda _: HoldRefused(NO_MONEY, NOW),
    "cancel": lambda _: CancelWanted(NOW),
    "lost": lambda _: PeerLost(BROKEN),
    "late": lambda _: Woke(30.0, is_listening=False),
    "silent": lambda _: Woke(NOW + 3.0),
    "tick": lambda _: Woke(NOW),
}

# A phase's initials, or `!` for the peer's fault, `?` for ours; CA is CANCELLING, E is ENDED.
GRID = """
           quote refuse accept meter chunk last bill beat other hello sealed debt cancel lost late silent tick
ASKED      SE    E      !      !     !     !    !    AS   !     ?     ?      E    E      E    E    E      AS
SEALING    !     E      !      !     !     !    !    SE   !     GR    SN     E    E      E    E    E      SE
GREETED    !     E      SE     !     !     !    E    GR   !     ?     ?      E    E      E    E    E      GR
SENT       !     E      !      ME    !     !    E    SN   !     ?     ?      CA   CA     E    CA   E      SN
METERED    !     E      !      !     AG    AD   E    ME   !     ?     ?      CA   CA     E    CA   E      ME
ANSWERING  !     !      !      !     AG    AD   E    AG   !     ?     ?      CA   CA     E    CA   E      AG
ANSWERED   !     !      !      !     !     !    E    AD   !     ?     ?      AD   AD     E    E    E      AD
CANCELLING !     E      !      !     CA    CA   E    CA   !     ?     ?      CA   CA     E    E    E      CA
ENDED      !     !      !      !     !     !    !    !    !     E     E      E    E      E    E    E      E
"""
SHORT = {
    "AS": Phase.ASKED,
    "SE": Phase.SEALING,
    "GR": Phase.GREETED,
    "SN": Phase.SENT,
    "ME": Phase.METERED,
    "AG": Phase.ANSWERING,
    "AD": Phase.ANSWERED,
    "CA": Phase.CANCELLING,
    "E": Phase.ENDED,
}


def cells() -> list[tuple[Phase, str, str]]:
    head, *rows = (line.split() for line in GRID.strip().splitlines())
    assert head == list(EVENTS)
    assert [row[0] for row in rows] == [phase.name for phase in Phase]
    return [(Phase[row[0]], name, cell) for row in rows for name, cell in zip(EVENTS, row[1:], strict=True)]


@pytest.mark.parametrize(("phase", "name", "cell"), cells())
def test_every_phase_takes_every_event_as_the_grid_says(phase: Phase, name: str, cell: str) -> None:
    before = at(phase)
    event = EVENTS[name](before)

    if cell in "!?":
        with pytest.raises(RemoteProtocolError if cell == "!" else LocalProtocolError):
            step(before, event)
        return
    after, effects = step(before, event)

    assert after.phase is SHORT[cell]
    assert (Phase.ENDED in (before.phase, after.phase)) == (next_wake(after) is None)
    if before.phase is Phase.ENDED:
        assert effects == ()
    elif after.phase is Phase.ENDED:
        end_of(effects)
    else:
        assert not any(isinstance(effect, Finish) for effect in effects)


def test_a_whole_exchange_is_asked_sealed_held_delivered_and_paid() -> None:
    exchange, asked = begin(ORDER, 0.0)
    digest = hashlib.sha256(b"sealed 0sealed 1sealed 2").digest()
    settlement = DEAL.settle(usage(36), answer_hash=digest)

    exchange, effects = run(
        exchange,
        *TO_METERED,
        opened(chunk(0, 30), "one "),
        opened(chunk(1, 35), "two "),
        opened(chunk(2, 36, final=True), "three"),
        received(messages.Settled(ID, settlement)),
    )

    assert asked == (Send((ASK,)),)
    shapes = [type(effect).__name__ for effect in effects]
    assert " ".join(shapes) == "Hold SealRequest Send Deliver Hold Deliver Deliver Charge Finish"
    # The prompt's bound is 100 x 4, later the prompt is 10 x 4; 16 tokens of 20 are covered ahead.
    assert [effect.amount for effect in effects if isinstance(effect, Hold)] == [756, 1008]
    paid = end_of(effects)
    assert isinstance(paid, Paid)
    assert paid.bill.amount == 798
    assert effects[-2] == Charge(paid.bill)


def test_a_price_question_ends_with_its_quote_and_leaves_the_stream_in_use() -> None:
    ask = replace(ASK, channel=None)
    quote = make_deal(ask, worker=WORKER, proxy=PROXY, network=NETWORK, now=DATE).quote

    _, effects = step(begin(replace(ORDER, ask=ask), 0.0)[0], received(messages.Quoted(ID, quote)))

    assert isinstance(end_of(effects), Priced)
    assert len(effects) == 1


def test_a_quote_that_is_too_dear_frees_the_slot_and_owes_nothing() -> None:
    rules = Rules(commission_basis_points_max=100)

    _, effects = step(begin(replace(ORDER, rules=rules), 0.0)[0], QUOTED)

    assert effects[0] == Reset()
    end = end_of(effects)
    assert isinstance(end, Dropped)
    assert isinstance(end.error, Refused)


def test_an_accept_has_the_session_opened_and_then_the_request_sent() -> None:
    exchange, _ = run(begin(ORDER, 0.0)[0], *TO_GREETED)

    exchange, effects = step(exchange, received(messages.Accept(ID, b"accept", bytes(64))))
    assert exchange.terms is not None
    assert effects == (OpenSession(exchange.terms, b"accept", bytes(64)),)

    _, effects = step(exchange, SEALED)
    assert effects == (Send(PARTS),)


@pytest.mark.parametrize(
    "message",
    [
        messages.Heartbeat(ExchangeId(bytes(16)), 0),
        messages.Quoted(ExchangeId(bytes(16)), DEAL.quote),
        messages.Load(1, 1, 0),
    ],
)
def test_a_message_of_another_exchange_is_the_peer_s_fault(message: object) -> None:
    with pytest.raises(RemoteProtocolError, match="another exchange"):
        step(at(Phase.ASKED), received(message))


@pytest.mark.parametrize(
    ("value", "content", "says"),
    [
        (chunk(2, 2), AnswerContent("x"), r"out of order \(expected=1 got=2\)"),
        (chunk(0, 2), AnswerContent("x"), r"out of order \(expected=1 got=0\)"),
        (chunk(1, 0), AnswerContent("x"), "usage falls"),
        (chunk(1, 51), AnswerContent("x"), r"more tokens than were asked for \(limit=50 got=51\)"),
        (chunk(1, 2, usage=replace(usage(2), prompt=11)), AnswerContent("x"), "another prompt"),
        (chunk(1, 2, usage=replace(usage(2), cached=1)), AnswerContent("x"), "another prompt"),
        (chunk(1, 2, final=True), AnswerContent("x"), "disagree"),
        (chunk(1, 2), AnswerContent("x", FinishReason.STOP), "disagree"),
        (chunk(1, 2), AnswerContent("x" * (TOKEN_TEXT_MAX_BYTES * 50)), "more text"),
        (chunk(1, 2, meter_signature=bytes(64)), AnswerContent("x"), "meter: the signature"),
    ],
)
def test_a_chunk_that_cannot_be_the_next_is_the_peer_s_fault(
    value: Chunk, content: AnswerContent, says: str
) -> None:
    before = at(Phase.ANSWERING)

    with pytest.raises(RemoteProtocolError, match=says):
        step(before, ChunkOpened(value, content, NOW))


@pytest.mark.parametrize(
    ("metered", "says"),
    [
        (Usage(prompt=90, cached=11, completion=0, reasoning=0), r"limit=100 got=101"),
        (Usage(prompt=1, cached=0, completion=1, reasoning=0), "tokens of an answer"),
    ],
)
def test_a_prompt_that_cannot_have_been_counted_so_is_the_peer_s_fault(metered: Usage, says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        step(at(Phase.SENT), received(messages.PromptMetered(ID, metered)))


def test_the_newest_signed_meter_is_kept_for_the_end() -> None:
    first, second = DEAL.meter(usage(1)), DEAL.meter(usage(3))

    _, effects = run(
        at(Phase.METERED),
        opened(chunk(0, 1, meter_signature=first.signature)),
        opened(chunk(1, 2)),
        opened(chunk(2, 3, meter_signature=second.signature)),
        opened(chunk(3, 4)),
        PeerLost(BROKEN),
    )

    end = end_of(effects)
    assert isinstance(end, Lost)
    assert end.meter == second


def test_half_a_window_stays_covered_ahead_of_every_chunk() -> None:
    exchange, holds = at(Phase.METERED), 0
    terms = exchange.terms
    assert terms is not None

    for number in range(48):
        exchange, effects = step(exchange, opened(chunk(number, number + 1)))
        holds += sum(isinstance(effect, Hold) for effect in effects)
        assert exchange.held >= terms.amount(usage(number + 1 + 8))

    assert holds == 3


def test_what_is_held_never_passes_the_max_cost() -> None:
    ask = replace(ASK, max_cost=500)
    deal = make_deal(ask, worker=WORKER, proxy=PROXY, network=NETWORK, now=DATE)

    _, effects = run(begin(replace(ORDER, ask=ask), 0.0)[0], received(messages.Quoted(ID, deal.quote)))

    assert effects[0] == Hold(Nano(500))


def test_the_smaller_of_two_windows_is_covered() -> None:
    _, effects = step(begin(replace(ORDER, rules=Rules(window_tokens_max=2)), 0.0)[0], QUOTED)

    assert effects[0] == Hold(Nano(462))


@pytest.mark.parametrize("phase", [Phase.SEALING, Phase.GREETED])
def test_before_anything_is_sealed_giving_up_costs_nothing(phase: Phase) -> None:
    for event in (CancelWanted(NOW), HoldRefused(NO_MONEY, NOW), PeerLost(BROKEN)):
        _, effects = step(at(phase), event)

        assert effects[:2] == (Release(), Reset())
        assert isinstance(end_of(effects), Dropped | Lost)


def test_a_bill_after_a_cancel_is_accepted_up_to_what_the_proxy_had_credit_for() -> None:
    digest = hashlib.sha256(b"sealed 0sealed 1").digest()
    settlement = DEAL.settle(usage(50), answer_hash=digest, outcome=Outcome.CANCELLED)
    settled = messages.Settled(ID, settlement, Reason.CANCELLED)
    left, _ = run(at(Phase.ANSWERING), CancelWanted(NOW), opened(chunk(1, 50)))
    assert left.terms is not None
    amount = left.terms.amount(usage(50))
    assert left.held < amount < ASK.max_cost

    for credit in (amount, None):
        _, effects = step(left, Received(settled, NOW, DATE, credit))
        assert isinstance(end_of(effects), Paid)
    _, effects = step(left, Received(settled, NOW, DATE, Nano(amount - 1)))
    assert isinstance(end_of(effects), Disputed)


def test_a_cancel_is_sent_once_and_what_was_under_way_is_still_delivered() -> None:
    digest = hashlib.sha256(b"sealed 0sealed 1").digest()
    settlement = DEAL.settle(usage(2), answer_hash=digest, outcome=Outcome.CANCELLED)

    _, effects = run(
        at(Phase.ANSWERING),
        CancelWanted(NOW),
        CancelWanted(NOW),
        opened(chunk(1, 2)),
        received(messages.Settled(ID, settlement, Reason.CANCELLED)),
    )

    assert [effect for effect in effects if isinstance(effect, Send)] == [
        Send((messages.Cancel(ID, Reason.CANCELLED),))
    ]
    assert any(isinstance(effect, Deliver) for effect in effects)
    paid = end_of(effects)
    assert isinstance(paid, Paid)
    assert (paid.bill.amount, paid.cancelled) == (84, Reason.CANCELLED)


def test_a_prompt_metered_that_crossed_our_cancel_is_no_error() -> None:
    exchange, _ = run(at(Phase.SENT), CancelWanted(NOW), METERED)

    assert exchange.phase is Phase.CANCELLING
    with pytest.raises(RemoteProtocolError):
        step(exchange, METERED)


def test_a_cancel_that_is_refused_owes_nothing() -> None:
    _, effects = run(at(Phase.CANCELLING), received(replace(REFUSAL, reason=Reason.CANCELLED)))

    assert effects[0] == Release()
    assert isinstance(end_of(effects), Declined)


def test_nobody_may_refuse_what_has_been_delivered_in_part() -> None:
    exchange, _ = step(at(Phase.ANSWERING), CancelWanted(NOW))

    with pytest.raises(RemoteProtocolError):
        step(exchange, received(REFUSAL))


def test_a_charge_that_does_not_hold_is_disputed_and_nothing_is_booked() -> None:
    settlement = DEAL.settle(usage(3), answer_hash=hashlib.sha256(b"sealed 0sealed 1").digest())

    _, effects = step(at(Phase.ANSWERED), received(messages.Settled(ID, settlement)))

    assert effects[:2] == (Release(), Reset())
    end = end_of(effects)
    assert isinstance(end, Disputed)
    assert end.settlement == settlement
    assert end.terms.signed == DEAL.quote


def test_a_lost_proxy_may_still_claim_what_was_held_and_it_stays_held() -> None:
    _, effects = step(at(Phase.ANSWERING), PeerLost(BROKEN))

    end = end_of(effects)
    assert isinstance(end, Lost)
    assert end.owed_max == 756
    assert Release() not in effects


def test_a_peer_that_broke_the_rules_may_claim_no_more_than_one_that_vanished() -> None:
    for phase in (Phase.SENT, Phase.METERED, Phase.ANSWERING):
        ends = [
            end_of(step(at(phase), PeerLost(error))[1]) for error in (BROKEN, RemoteProtocolError("a lie"))
        ]

        assert [end.owed_max for end in ends if isinstance(end, Lost)] == [756, 756]


def test_the_client_says_that_it_lives_when_it_has_said_nothing_for_a_heartbeat() -> None:
    exchange = at(Phase.METERED)
    assert next_wake(exchange) == NOW + 1.0

    exchange, effects = step(exchange, Woke(NOW + 1.0))

    assert effects == (Send((messages.Heartbeat(ID, 0),)),)
    assert next_wake(exchange) == NOW + 2.0


def test_a_proxy_that_sends_heartbeats_is_not_lost() -> None:
    exchange = at(Phase.METERED)

    for second in range(1, 10):
        exchange, _ = run(
            exchange, received(messages.Heartbeat(ID, second), NOW + second), Woke(NOW + second + 0.9)
        )

    assert exchange.phase is Phase.METERED


def test_silence_means_nothing_while_we_do_not_listen() -> None:
    exchange, _ = step(at(Phase.ANSWERING), Woke(NOW + 3.0, is_listening=False))

    assert exchange.phase is Phase.ANSWERING
    exchange, _ = step(exchange, Woke(NOW + 6.0))
    assert exchange.phase is Phase.ENDED


def test_a_deadline_cancels_and_the_prompt_is_then_owed() -> None:
    settlement = DEAL.settle(PROMPT, answer_hash=hashlib.sha256().digest(), outcome=Outcome.CANCELLED)

    _, effects = run(
        at(Phase.METERED),
        received(messages.Heartbeat(ID, 1), 29.9),
        Woke(30.0),
        received(messages.Settled(ID, settlement, Reason.DEADLINE), 30.1),
    )

    assert Send((messages.Cancel(ID, Reason.DEADLINE),)) in effects
    paid = end_of(effects)
    assert isinstance(paid, Paid)
    assert (paid.bill.amount, paid.cancelled) == (42, Reason.DEADLINE)


@pytest.mark.parametrize(("now", "is_believed"), [(29.999, True), (29.1, True), (28.9, False)])
def test_a_proxy_whose_clock_strikes_a_little_earlier_is_no_cheat(now: float, is_believed: bool) -> None:
    settlement = DEAL.settle(PROMPT, answer_hash=hashlib.sha256().digest(), outcome=Outcome.CANCELLED)

    _, effects = run(
        at(Phase.METERED),
        received(messages.Heartbeat(ID, 1), 28.8),
        received(messages.Settled(ID, settlement, Reason.DEADLINE), now),
    )

    assert isinstance(end_of(effects), Paid if is_believed else Disputed)


@pytest.mark.parametrize("phase", [Phase.ANSWERED, Phase.CANCELLING])
def test_a_settlement_is_not_waited_for_for_ever(phase: Phase) -> None:
    exchange = at(phase)
    exchange, _ = step(exchange, received(messages.Heartbeat(ID, 1), NOW + SETTLE_SECONDS - 0.1))

    _, effects = step(exchange, Woke(NOW + SETTLE_SECONDS))

    assert isinstance(end_of(effects), Lost)


def test_a_deadline_does_not_cancel_an_answer_that_is_complete() -> None:
    exchange, _ = run(
        at(Phase.METERED),
        received(messages.Heartbeat(ID, 1), 29.8),
        opened(chunk(0, 1, final=True), now=29.9),
        Woke(30.1),
    )

    assert exchange.phase is Phase.ANSWERED


def test_a_settlement_names_the_exchange_it_is_for() -> None:
    other = make_deal(
        replace(ASK, exchange=ExchangeId(bytes(16))), worker=WORKER, proxy=PROXY, network=NETWORK, now=DATE
    )
    settlement: Signed = other.settle(NOTHING, answer_hash=bytes(32), outcome=Outcome.FAILED, receipt=None)

    _, effects = step(at(Phase.ANSWERING), received(messages.Settled(ID, settlement)))

    assert isinstance(end_of(effects), Disputed)
    assert paper_hash(DEAL.quote) != paper_hash(other.quote)


def test_the_request_is_sealed_only_after_the_money_is_held() -> None:
    _, effects = step(at(Phase.ASKED), QUOTED)

    assert [type(effect) for effect in effects] == [Hold, SealRequest]
