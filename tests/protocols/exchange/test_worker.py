"""The worker's machine: what follows from what, what is owed, and how long it waits."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cocoon_p2p.errors import LocalProtocolError, RecordRejected, RemoteProtocolError
from cocoon_p2p.identity import network_id
from cocoon_p2p.payments.pricing import worker_amount
from cocoon_p2p.protocols.contents import AnswerContent, FinishReason
from cocoon_p2p.protocols.exchange.assignment import Standing
from cocoon_p2p.protocols.exchange.pulse import LOST_SECONDS
from cocoon_p2p.protocols.exchange.worker import LATE_MAX
from cocoon_p2p.protocols.exchange.worker_events import (
    AssignReceived,
    ChunkTaken,
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
    Counting,
    Covering,
    Ending,
    Gone,
    Idle,
    Opening,
    next_wake,
    wants_step,
)
from cocoon_p2p.protocols.ids import (
    ANSWER_TEXT_MAX_BYTES,
    CHUNK_SECONDS,
    CHUNK_TOKENS,
    COVER_SECONDS,
    DEADLINE_MAX_SECONDS,
    ENGINE_STALL_SECONDS,
    HEARTBEAT_SECONDS,
    METER_SECONDS,
    METER_TOKENS,
    PART_SECONDS,
    Kind,
    Outcome,
    Reason,
)
from cocoon_p2p.protocols.messages import (
    Accept,
    Allow,
    Assign,
    Cancel,
    Heartbeat,
    Hello,
    Price,
    PromptMetered,
    Receipted,
    Refused,
    Usage,
    Voucher,
)
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.units import Nano
from tests.protocols.exchange.worker_line import (
    ASSIGN,
    CHANNEL,
    EXCHANGE,
    METERED,
    NETWORK,
    NEWER,
    OTHER,
    PAPER,
    PRICE,
    PROXY,
    RECORD,
    RICH,
    STANDING,
    UNSIGNED_QUOTE,
    WORKER,
    Line,
    answering,
    complete,
    counting,
    covering,
    ending,
    idle,
    opening,
    part,
    parting,
    piece,
    quoted,
    said,
    saves,
    waiting,
    writing,
)

# ---------------------------------------------------------------- the table

LATER = 1.0
"One heartbeat on: nothing else is due then, in any phase."

EVENTS: dict[str, Event] = {
    "assign": AssignReceived(quoted(OTHER), STANDING, LATER),
    "hello": MessageReceived(Hello(EXCHANGE, b"hello"), LATER),
    "part": MessageReceived(part(), LATER),
    "heartbeat": MessageReceived(Heartbeat(EXCHANGE, 0), LATER),
    "allow": MessageReceived(Allow(EXCHANGE, 50), LATER),
    "cancel": MessageReceived(Cancel(EXCHANGE, Reason.CANCELLED), LATER),
    "of-another": MessageReceived(Heartbeat(OTHER, 0), LATER),
    "voucher": MessageReceived(Voucher(CHANNEL, 0, 5, bytes(64)), LATER),
    "lost": PeerLost(LATER),
    "accepted": SessionAccepted(Accept(EXCHANGE, b"", bytes(64)), LATER),
    "opened": RequestOpened(Kind.CHAT, "m", 5, LATER),
    "rejected": RequestRejected(Reason.SEAL_BROKEN, "seal broken", LATER),
    "counted": PromptCounted(10, 2, LATER),
    "covered": Covered(RICH, LATER),
    "generated": piece(2, now=LATER),
    "failed": EngineFailed(LATER),
    "taken": ChunkTaken(LATER),
    "saved": ReceiptSaved(PAPER, LATER),
    "time": TimePassed(LATER),
}

PHASES: dict[str, Callable[[], Line]] = {
    "new": Line,
    "idle": idle,
    "opening": opening,
    "complete": complete,
    "counting": counting,
    "covering": covering,
    "answering": answering,
    "waiting": waiting,
    "writing": writing,
    "ending": ending,
    "parting": parting,
    "gone": lambda: Line(Gone()),
}

# R: RemoteProtocolError; L: LocalProtocolError; else the phase that follows:
# I idle, O opening, C counting, V covering, A answering, E ending, G gone.
TABLES = """
            assign hello part heartbeat allow cancel of-another voucher lost time
new         O      R     R    R         R     R      R          R       G    I
idle        O      I     I    I         I     I      R          R       G    I
opening     R      O     O    O         O     I      R          R       G    O
complete    R      R     R    O         O     I      R          R       G    O
counting    R      R     R    C         C     I      R          R       G    C
covering    R      R     R    V         V     I      R          R       G    V
answering   R      R     R    A         A     E      R          R       E    A
waiting     R      R     R    A         A     E      R          R       E    A
writing     R      R     R    A         A     E      R          R       E    A
ending      R      R     R    E         E     E      R          R       E    E
parting     R      R     R    E         E     E      R          R       E    E
gone        G      G     G    G         G     G      G          G       G    G

            accepted opened rejected counted covered generated failed taken saved
new         I        I      I        I       I       I         I      I     L
idle        I        I      I        I       I       I         I      I     L
opening     L        L      I        L       L       L         L      L     L
complete    L        C      I        L       L       L         L      L     L
counting    L        L      I        V       L       L         L      L     L
covering    L        L      L        L       A       L         L      L     L
answering   L        L      L        L       L       A         E      L     L
waiting     L        L      L        L       A       A         E      L     L
writing     L        L      L        L       L       A         E      A     L
ending      E        E      E        E       E       E         E      E     I
parting     E        E      E        E       E       E         E      E     G
gone        G        G      G        G       G       G         G      G     L
"""


def _cells() -> list[tuple[str, str, str]]:
    cells = []
    for table in TABLES.strip().split("\n\n"):
        head, *rows = (line.split() for line in table.splitlines())
        assert [row[0] for row in rows] == list(PHASES)
        cells += [(row[0], name, cell) for row in rows for name, cell in zip(head, row[1:], strict=True)]
    assert sorted({name for _, name, _ in cells}) == sorted(EVENTS)
    return cells


@pytest.mark.parametrize(("phase", "event", "follows"), _cells())
def test_every_event_in_every_phase_leads_where_the_table_says(phase: str, event: str, follows: str) -> None:
    line = PHASES[phase]()
    before = line.state

    if follows in "RL":
        with pytest.raises(RemoteProtocolError if follows == "R" else LocalProtocolError):
            line.feed(EVENTS[event])

        assert line.state == before
    else:
        line.feed(EVENTS[event])

        names = {
            "I": Idle,
            "O": Opening,
            "C": Counting,
            "V": Covering,
            "A": Answering,
            "E": Ending,
            "G": Gone,
        }
        assert type(line.state) is names[follows]


# ---------------------------------------------------------------- assignments


def refused(line: Line) -> Refused:
    (message,) = said(line.effects)
    assert isinstance(message, Refused)
    return message


@pytest.mark.parametrize(
    ("standing", "assign", "reason"),
    [
        (replace(STANDING, is_draining=True), ASSIGN, Reason.DRAINING),
        (replace(STANDING, is_running=True), ASSIGN, Reason.ALREADY_RUNNING),
        (replace(STANDING, is_channel_known=False), ASSIGN, Reason.CHANNEL_UNKNOWN),
        (replace(STANDING, slots_free=0), ASSIGN, Reason.NO_CAPACITY),
        (replace(STANDING, records=(NEWER,)), ASSIGN, Reason.STALE),
        (STANDING, replace(ASSIGN, deadline_ms=0), Reason.DEADLINE),
        (STANDING, replace(ASSIGN, model="other"), Reason.UNKNOWN_MODEL),
        (STANDING, replace(ASSIGN, kind=Kind.EMBEDDING), Reason.UNSUPPORTED_KIND),
        (STANDING, replace(ASSIGN, model="bare"), Reason.UNSUPPORTED_KIND),
        (STANDING, replace(ASSIGN, model="embed"), Reason.UNSUPPORTED_KIND),
    ],
)
def test_an_honest_assignment_at_the_wrong_moment_is_refused_by_name(
    standing: Standing, assign: Assign, reason: Reason
) -> None:
    line = Line()

    line.feed(AssignReceived(assign, standing, 0))

    assert refused(line).reason is reason
    assert line.state == Idle(EXCHANGE)


def test_a_stale_record_is_answered_with_the_newest() -> None:
    line = Line()

    line.feed(AssignReceived(ASSIGN, replace(STANDING, records=(NEWER,)), 0))

    assert refused(line).newest_record == NEWER


def test_every_unexpired_record_is_honoured() -> None:
    line = Line()

    line.feed(AssignReceived(ASSIGN, replace(STANDING, records=(RECORD, NEWER)), 0))

    assert isinstance(line.state, Opening)
    assert line.state.job.offer.price == PRICE


@pytest.mark.parametrize(
    "assign",
    [
        replace(ASSIGN, quote=sign(WORKER, NETWORK, UNSIGNED_QUOTE)),
        replace(ASSIGN, quote=sign(PROXY, network_id("other"), UNSIGNED_QUOTE)),
        replace(ASSIGN, exchange=OTHER),
        quoted(price=Price(1, 1, 1, 1)),
    ],
)
def test_a_quote_that_is_not_what_it_claims_ends_the_stream(assign: Assign) -> None:
    line = Line()

    with pytest.raises(RecordRejected):
        line.feed(AssignReceived(assign, STANDING, 0))


def test_an_exchange_that_has_ended_is_answered_with_its_receipt_even_while_draining() -> None:
    line = Line()

    line.feed(AssignReceived(ASSIGN, replace(STANDING, receipt=PAPER, is_draining=True), 0))

    assert said(line.effects) == [Receipted(EXCHANGE, PAPER)]
    assert line.state == Idle(EXCHANGE)


def test_a_chat_model_also_completes() -> None:
    line = Line()

    line.feed(AssignReceived(replace(ASSIGN, kind=Kind.COMPLETION), STANDING, 0))

    assert isinstance(line.state, Opening)


def test_the_amount_is_bound_by_max_cost_whatever_the_proxy_allows() -> None:
    line = Line()

    line.feed(AssignReceived(replace(quoted(commission_basis_points=10_000), max_cost=1000), STANDING, 0))

    assert isinstance(line.state, Opening)
    assert line.state.job.amount_max == 500


def test_no_deadline_is_longer_than_the_longest() -> None:
    line = opening(deadline_ms=2**62)

    assert isinstance(line.state, Opening)
    assert line.state.job.deadline == DEADLINE_MAX_SECONDS


# ---------------------------------------------------------------- the request


def test_a_hello_is_answered_once() -> None:
    line = opening()
    hello, accept = Hello(EXCHANGE, b"hello"), Accept(EXCHANGE, b"accept", bytes(64))

    assert line.hear(hello) == [Greet(hello)]
    assert said(line.feed(SessionAccepted(accept, 0))) == [accept]
    with pytest.raises(RemoteProtocolError, match="at most one"):
        line.hear(hello)


def test_parts_are_opened_in_their_order_only() -> None:
    line = opening()
    first, second = part(0, final=False), part(1)

    with pytest.raises(RemoteProtocolError, match="got=1 expected=0"):
        line.hear(second)
    assert line.hear(first) == [OpenPart(first)]
    with pytest.raises(RemoteProtocolError, match="got=0 expected=1"):
        line.hear(first)
    with pytest.raises(RemoteProtocolError, match="another request"):
        line.hear(part(1, request=1))
    assert line.hear(second) == [OpenPart(second)]
    with pytest.raises(RemoteProtocolError, match="complete"):
        line.hear(part(2))


def test_parts_that_cross_a_refusal_are_dropped_but_not_for_ever() -> None:
    line = opening()
    line.hear(part(0, final=False))
    line.feed(RequestRejected(Reason.SESSION_UNKNOWN, "session unknown", 0))

    for number in range(LATE_MAX):
        assert line.hear(part(number)) == []
    with pytest.raises(RemoteProtocolError, match="no exchange runs"):
        line.hear(part())


@pytest.mark.parametrize(
    ("opened", "reason"),
    [
        (RequestOpened(Kind.CHAT, "other", 5, 0), Reason.MALFORMED),
        (RequestOpened(Kind.COMPLETION, "m", 5, 0), Reason.MALFORMED),
        (RequestOpened(Kind.CHAT, "m", 0, 0), Reason.MALFORMED),
    ],
)
def test_what_is_sealed_must_be_what_was_assigned(opened: RequestOpened, reason: Reason) -> None:
    line = complete()

    line.feed(opened)

    assert line.effects[0] == StopWork()
    (message,) = said(line.effects)
    assert isinstance(message, Refused)
    assert line.effects[-1] == Dismiss(message.reason)
    assert message.reason is reason


def test_of_two_limits_on_the_completion_the_lower_holds() -> None:
    line = counting(limit=7)
    line.feed(PromptCounted(10, 2, 0))
    assert line.feed(Covered(RICH, 0)) == [StartEngine(7)]

    line = counting(limit=200)
    line.feed(PromptCounted(10, 2, 0))
    assert line.feed(Covered(RICH, 0)) == [StartEngine(100)]


def test_a_prompt_is_metered_before_it_is_computed() -> None:
    line = counting()

    line.feed(PromptCounted(10, 2, 0))

    assert line.effects == [Send(PromptMetered(EXCHANGE, METERED)), Cover((worker_amount(METERED, PRICE),))]


def test_a_prompt_above_the_asks_bound_is_refused() -> None:
    line = counting(prompt_tokens_max=9)

    line.feed(PromptCounted(10, 2, 0))

    assert said(line.effects)[0].reason is Reason.TOO_LARGE  # type: ignore[attr-defined]


def test_a_prompt_that_leaves_no_money_for_a_token_is_refused_with_what_it_needs() -> None:
    line = counting(amount_max=17)

    line.feed(PromptCounted(10, 2, 0))

    (message,) = said(line.effects)
    assert isinstance(message, Refused)
    assert (message.reason, message.need) == (Reason.PRICE_ABOVE_LIMIT, 18)


def test_the_engine_is_asked_for_no_more_than_can_be_paid() -> None:
    line = counting(amount_max=50)
    line.feed(PromptCounted(10, 2, 0))

    assert line.feed(Covered(RICH, 0)) == [StartEngine(4)]


# ---------------------------------------------------------------- the answer


def chunks(effects: list[Effect]) -> list[SendChunk]:
    return [effect for effect in effects if isinstance(effect, SendChunk)]


def test_a_chunk_holds_as_many_pieces_as_are_covered_and_the_rest_waits() -> None:
    line = writing()
    line.feed(piece(2, "b"), piece(3, "c"), piece(5, "de"), ChunkTaken(1))
    assert line.effects == [Cover((Nano(28), Nano(38), Nano(58)))]

    line.feed(Covered(Nano(38), 1))
    line.feed(ChunkTaken(2))

    assert [chunk.draft.content.text for chunk in chunks(line.all)][-1] == "bc"
    # Of the two tokens that are left one can go before their text.
    assert line.effects == [Cover((Nano(48), Nano(58)))]


def test_no_finish_is_told_before_the_last_piece_is_covered() -> None:
    line = writing()
    line.feed(piece(2, "b"), piece(3, "c", finish=FinishReason.STOP), ChunkTaken(0), Covered(Nano(28), 0))
    assert chunks(line.effects)[0].draft.content.finish is None

    line.feed(ChunkTaken(0), Covered(Nano(38), 0))

    assert chunks(line.effects)[0].draft.content.finish is FinishReason.STOP
    assert saves(line.effects)[0].outcome is Outcome.COMPLETED


def test_the_first_token_does_not_wait() -> None:
    line = answering()

    assert line.feed(piece(1, "Hi")) == [Cover((Nano(18),))]
    (chunk,) = chunks(line.feed(Covered(RICH, 0)))

    assert (chunk.draft.number, chunk.draft.content.text, chunk.draft.usage.completion) == (0, "Hi", 1)


def test_a_chunk_leaves_only_once_it_is_covered() -> None:
    line = answering()

    line.feed(piece(1), piece(2), piece(3))

    assert chunks(line.effects) == []


def test_tokens_that_come_while_a_chunk_is_written_travel_together() -> None:
    line = writing()
    line.feed(piece(2, "b"), piece(3, "c"))
    assert line.effects == []

    line.feed(ChunkTaken(CHUNK_SECONDS), Covered(RICH, CHUNK_SECONDS))

    (chunk,) = chunks(line.effects)
    assert (chunk.draft.content.text, chunk.draft.usage.completion) == ("bc", 3)


def test_a_token_waits_for_its_company_ten_milliseconds_at_most() -> None:
    line = writing()
    line.feed(ChunkTaken(0.001), piece(2, now=0.002))

    assert line.effects == []
    assert next_wake(line.state) == CHUNK_SECONDS
    assert line.feed(TimePassed(CHUNK_SECONDS)) == [Cover((Nano(28),))]


def test_a_handful_of_tokens_does_not_wait_and_holds_the_engine_back() -> None:
    line = writing()
    for made in range(2, CHUNK_TOKENS + 1):
        line.feed(piece(made))
    assert wants_step(line.state)

    line.feed(piece(CHUNK_TOKENS + 1))
    assert not wants_step(line.state)
    line.feed(ChunkTaken(0.001))

    assert line.effects == [Cover(tuple(Nano(8 + 10 * made) for made in range(2, CHUNK_TOKENS + 2)))]
    line.feed(Covered(RICH, 0.001))
    assert wants_step(line.state)


def test_text_that_costs_nothing_holds_the_engine_back_as_well() -> None:
    line = writing()

    line.feed(*(piece(1) for _ in range(CHUNK_TOKENS)))

    assert not wants_step(line.state)


def test_the_meter_is_signed_with_the_first_chunk_then_by_tokens_or_time() -> None:
    line = answering()
    signed = []
    for made, now in [
        (1, 0.0),
        (METER_TOKENS, 0.125),
        (METER_TOKENS + 1, 0.25),
        (METER_TOKENS + 2, 0.25 + METER_SECONDS),
    ]:
        line.feed(piece(made, now=now), Covered(RICH, now), ChunkTaken(now))
        signed += [chunk.draft.is_signed for chunk in chunks(line.effects)]

    assert signed == [True, False, True, True]


def test_an_answer_that_ends_is_receipted_with_all_that_was_done() -> None:
    line = writing()
    line.feed(
        ChunkTaken(1),
        piece(2, now=1),
        Covered(RICH, 1),
        ChunkTaken(1),
        piece(2, "", now=2, finish=FinishReason.STOP),
    )

    line.feed(Covered(RICH, 2))
    usage = replace(METERED, completion=2)
    chunk, stop, save = line.effects
    assert isinstance(chunk, SendChunk)
    assert (chunk.draft.content.finish, chunk.draft.usage) == (FinishReason.STOP, usage)
    assert (stop, save) == (StopWork(), SaveReceipt(usage, worker_amount(usage, PRICE), Outcome.COMPLETED))

    assert line.feed(ReceiptSaved(PAPER, 2)) == [Send(Receipted(EXCHANGE, PAPER)), Dismiss()]
    assert line.state == Idle(EXCHANGE)


def test_an_engine_that_makes_more_than_can_be_paid_ends_with_length() -> None:
    line = answering(amount_max=25)

    line.feed(piece(1, "one"), piece(2, "two"), Covered(RICH, 0))

    drafts = [chunk.draft for chunk in chunks(line.effects)]
    assert [(draft.content.text, draft.content.finish) for draft in drafts] == [("one", FinishReason.LENGTH)]
    assert saves(line.effects)[0].amount == 18


def test_a_piece_too_long_for_a_chunk_is_cut_between_characters_and_counted_at_its_end() -> None:
    text = "é" * ANSWER_TEXT_MAX_BYTES
    line = answering()

    line.feed(piece(1, text, finish=FinishReason.STOP))
    while not isinstance(line.state, Ending):
        line.feed(Covered(RICH, 0))
        if isinstance(line.state, Answering):
            line.feed(ChunkTaken(0))

    drafts = [chunk.draft for chunk in chunks(line.all)]
    assert "".join(draft.content.text for draft in drafts) == text
    assert max(len(draft.content.text.encode()) for draft in drafts) <= ANSWER_TEXT_MAX_BYTES
    assert [draft.usage.completion for draft in drafts] == [0, 1]
    assert [draft.content.finish for draft in drafts] == [None, FinishReason.STOP]


def test_what_the_engine_says_of_its_cache_later_does_not_change_the_bill() -> None:
    line = answering()

    line.feed(Generated(AnswerContent("x", FinishReason.STOP), 1, 500, 0), Covered(RICH, 0))

    assert saves(line.effects)[0].usage == replace(METERED, completion=1)


# ---------------------------------------------------------------- ends, and what is owed


@pytest.mark.parametrize("line", [opening, complete, counting, covering])
def test_cancelled_before_anything_was_computed_nothing_is_owed(line: Callable[[], Line]) -> None:
    stream = line()

    stream.hear(Cancel(EXCHANGE, Reason.CLIENT_LOST))

    assert stream.effects[0] == StopWork()
    assert refused_reason(stream) is Reason.CLIENT_LOST
    assert stream.effects[-1] == Dismiss(Reason.CLIENT_LOST)


def refused_reason(line: Line) -> Reason:
    return refused(line).reason


def test_cancelled_in_prefill_as_much_of_the_prompt_is_owed_as_was_computed() -> None:
    line = answering()
    line.feed(Generated(AnswerContent(""), 0, 5, 0))

    line.hear(Cancel(EXCHANGE, Reason.CANCELLED))

    assert line.effects == [StopWork(), SaveReceipt(Usage(3, 2, 0, 0), Nano(3), Outcome.CANCELLED)]


def test_cancelled_while_a_chunk_waits_for_credit_its_tokens_are_not_owed() -> None:
    line = writing()
    line.feed(ChunkTaken(1), piece(2, now=1))

    line.hear(Cancel(EXCHANGE, Reason.CANCELLED), now=1)

    assert saves(line.effects) == [SaveReceipt(replace(METERED, completion=1), Nano(18), Outcome.CANCELLED)]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (EngineFailed(0), Reason.ENGINE_FAILED),
        (MessageReceived(Cancel(EXCHANGE, Reason.PROXY_LOST), 0), Reason.PROXY_LOST),
    ],
)
def test_when_worker_or_proxy_fails_the_prompt_is_not_owed(event: Event, reason: Reason) -> None:
    line = writing()

    line.feed(event)

    assert saves(line.effects) == [SaveReceipt(Usage(0, 0, 1, 0), Nano(10), Outcome.FAILED)]
    assert said(line.feed(ReceiptSaved(PAPER, 0))) == [Receipted(EXCHANGE, PAPER, reason)]


def test_a_lost_proxy_gets_no_message_but_the_receipt_is_saved() -> None:
    line = writing()

    line.feed(PeerLost(0))
    assert line.effects == [StopWork(), SaveReceipt(Usage(0, 0, 1, 0), Nano(10), Outcome.FAILED), Reset()]

    assert line.feed(ReceiptSaved(PAPER, 0)) == [Dismiss(Reason.PROXY_LOST)]
    assert line.state == Gone()


def test_a_proxy_lost_before_anything_was_computed_owes_nothing() -> None:
    assert covering().feed(PeerLost(0)) == [StopWork(), Dismiss(Reason.PROXY_LOST), Reset()]


def test_an_engine_that_stumbles_after_its_last_word_has_not_failed() -> None:
    line = answering()
    line.feed(piece(1, finish=FinishReason.STOP))

    assert line.feed(EngineFailed(0)) == []
    assert saves(line.feed(Covered(RICH, 0)))[0].outcome is Outcome.COMPLETED


# ---------------------------------------------------------------- time


def wake(line: Line, *, alive: bool = True) -> float:
    """Let time pass until the exchange ends, the proxy being heard all the while."""
    now = 0.0
    while (due := next_wake(line.state)) is not None and not isinstance(line.state, Ending):
        assert due > now or now == 0
        now = due
        if alive and isinstance(line.state, Opening | Counting | Covering | Answering):
            line.hear(Heartbeat(EXCHANGE, 0), now=now)
        line.feed(TimePassed(now))
    return now


@pytest.mark.parametrize(
    ("line", "reason", "after"),
    [
        (opening, Reason.DEADLINE, PART_SECONDS),
        (counting, Reason.ENGINE_FAILED, ENGINE_STALL_SECONDS),
        (covering, Reason.NO_CREDIT, COVER_SECONDS),
    ],
)
def test_every_wait_before_the_answer_has_a_bound(
    line: Callable[[], Line], reason: Reason, after: float
) -> None:
    stream = line()

    assert wake(stream) == after
    refusals = [message for message in said(stream.effects) if isinstance(message, Refused)]
    assert [message.reason for message in refusals] == [reason]


def test_a_refusal_for_credit_says_how_much_is_needed() -> None:
    line = covering()

    wake(line)

    assert [message.need for message in said(line.effects) if isinstance(message, Refused)] == [8]


def test_a_chunk_that_is_not_covered_in_time_ends_the_exchange_as_cancelled() -> None:
    line = waiting()

    assert wake(line) == COVER_SECONDS
    assert saves(line.effects) == [SaveReceipt(METERED, Nano(8), Outcome.CANCELLED)]
    assert said(line.feed(ReceiptSaved(PAPER, 11))) == [Receipted(EXCHANGE, PAPER, Reason.NO_CREDIT)]


def test_an_engine_without_a_step_has_failed() -> None:
    line = answering()

    assert wake(line) == ENGINE_STALL_SECONDS
    assert saves(line.effects)[0].outcome is Outcome.FAILED


def test_an_engine_that_is_held_back_has_not_stalled() -> None:
    line = writing()
    line.feed(piece(1 + CHUNK_TOKENS))

    assert wake(line) == ASSIGN.deadline_ms / 1000
    assert saves(line.effects)[0].outcome is Outcome.CANCELLED


def test_an_engine_that_was_held_back_has_its_full_time_again() -> None:
    line = writing()
    line.feed(piece(1 + CHUNK_TOKENS), ChunkTaken(25), Covered(RICH, 25), ChunkTaken(25))
    line.hear(Heartbeat(EXCHANGE, 0), now=ENGINE_STALL_SECONDS)

    line.feed(TimePassed(ENGINE_STALL_SECONDS))

    assert isinstance(line.state, Answering)
    assert line.state.stalled_at == 25 + ENGINE_STALL_SECONDS


@pytest.mark.parametrize(("line", "deadline_ms"), [(opening, 2000), (counting, 2000), (covering, 2000)])
def test_a_deadline_before_the_answer_costs_nothing(line: Callable[..., Line], deadline_ms: int) -> None:
    stream = line(deadline_ms=deadline_ms)

    assert wake(stream) == 2
    assert [message.reason for message in said(stream.effects) if isinstance(message, Refused)] == [
        Reason.DEADLINE
    ]


def test_a_deadline_in_the_answer_counts_as_cancelled() -> None:
    line = answering(deadline_ms=2500)

    assert wake(line) == 2.5
    assert saves(line.effects)[0].outcome is Outcome.CANCELLED


def test_a_silent_proxy_is_lost() -> None:
    line = writing()

    assert wake(line, alive=False) == LOST_SECONDS
    assert saves(line.effects)[0].outcome is Outcome.FAILED
    assert line.effects[-1] == Reset()


def test_a_heartbeat_goes_out_when_nothing_else_did() -> None:
    line = answering()
    line.feed(Generated(AnswerContent(""), 0, 5, 0.5))

    assert next_wake(line.state) == HEARTBEAT_SECONDS
    assert line.feed(TimePassed(HEARTBEAT_SECONDS)) == [Send(Heartbeat(EXCHANGE, 1))]
    assert line.feed(TimePassed(HEARTBEAT_SECONDS)) == []


def test_no_heartbeat_queues_behind_a_chunk_that_nobody_reads() -> None:
    assert wake(writing(), alive=False) == LOST_SECONDS
    line = writing()
    line.feed(TimePassed(HEARTBEAT_SECONDS))
    assert line.effects == []


def test_an_idle_stream_needs_no_waking() -> None:
    assert next_wake(Line().state) is None
    assert next_wake(idle().state) is None
    assert next_wake(parting().state) is None
