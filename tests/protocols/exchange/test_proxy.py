from dataclasses import replace
from typing import Any

import pytest

from cocoon_p2p.errors import RecordRejected, RemoteProtocolError
from cocoon_p2p.protocols.exchange.proxy import OPEN_SECONDS
from cocoon_p2p.protocols.exchange.proxy_ends import STOP_SECONDS
from cocoon_p2p.protocols.exchange.proxy_events import (
    Charge,
    ClientLost,
    Cover,
    Hold,
    HoldRefused,
    LeaveClient,
    LeaveWorker,
    OpenWorker,
    Release,
    ToClient,
    ToWorker,
    Woke,
    WorkerLost,
    WorkerUnavailable,
)
from cocoon_p2p.protocols.exchange.proxy_state import STALL_SECONDS, next_wake
from cocoon_p2p.protocols.exchange.pulse import LOST_SECONDS
from cocoon_p2p.protocols.ids import (
    COVER_SECONDS,
    DEADLINE_MAX_SECONDS,
    RESERVATION_SECONDS,
    Outcome,
    Reason,
)
from cocoon_p2p.protocols.messages import (
    Allow,
    Assign,
    Cancel,
    Chunk,
    Heartbeat,
    PromptMetered,
    Quoted,
    Receipted,
    Refused,
    Settled,
    Usage,
)
from tests.protocols.exchange.proxy_line import (
    ACCEPT,
    ASK,
    CANCEL,
    EXCHANGE,
    HELLO,
    METERED,
    OFFER,
    PRICE,
    PROXY,
    REFUSED,
    SETTLEMENT,
    WORKER_CHANNEL,
    Line,
    chunk,
    deal_of,
    line_in,
    part,
    usage,
)

# Ten prompt tokens cost 10, each token of the answer 10; the client pays a twentieth on top.
# The prompt's bound of twenty tokens costs 20 and a window of eight tokens 80.


def reckoning(line: Line) -> Any:
    (charge,) = line.all(Charge)
    return charge.reckoning


def ends(line: Line) -> list[Any]:
    return [message for message in line.to_client if isinstance(message, Refused | Settled)]


# ---------------------------------------------------------------- the way there


def test_an_exchange_runs_from_the_quote_to_the_settlement() -> None:
    line = line_in("ANSWERING")

    line.worker(chunk(1, 5, final=True))
    line.worker(line.receipt())
    line.charge()

    assert [type(message).__name__ for message in line.to_client] == [
        "Quoted", "Accept", "PromptMetered", "Chunk", "Chunk", "Settled"
    ]  # fmt: skip
    assert [type(message).__name__ for message in line.to_worker] == ["Assign", "Hello", "Part"]
    assert reckoning(line).outcome is Outcome.COMPLETED
    assert (reckoning(line).worker_amount, reckoning(line).client_amount) == (60, 63)
    assert ends(line) == [Settled(EXCHANGE, SETTLEMENT)]
    assert line.all(LeaveWorker) == [LeaveWorker(is_stream_clean=True)]
    assert line.all(Release) == []


def test_a_quote_is_answered_at_once() -> None:
    line = Line()

    assert line.to_client == [Quoted(EXCHANGE, line.deal.quote)]


def test_no_worker_hears_of_an_exchange_before_the_prompts_bound_is_covered() -> None:
    line = line_in("COVERING")

    line.cover(20)
    assert line.phase == "COVERING"
    assert not line.all(OpenWorker)

    line.cover(21)
    assert line.phase == "OPENING"
    assert line.all(OpenWorker) == [OpenWorker()]
    assert line.to_worker == []


def test_cover_is_asked_for_the_longest_prompt_and_a_window() -> None:
    line = line_in("COVERING")

    assert line.all(Cover) == [Cover(105)]


def test_cover_is_never_asked_above_the_max_cost() -> None:
    line = line_in("COVERING", deal_of(replace(ASK, max_cost=50)))

    # The worker may earn 47 at most, for which the client pays 49.
    assert line.all(Cover) == [Cover(49)]


def test_what_is_held_at_the_worker_is_what_the_client_covered_less_the_commission() -> None:
    line = line_in("COVERING")
    line.cover(63)

    line.open()

    assert line.all(Hold) == [Hold(60)]
    assert line.effects[0] == Hold(60)


def test_a_later_cover_raises_the_hold() -> None:
    line = line_in("COVERING")
    line.cover(63)
    line.open()

    line.cover(84)

    assert line.all(Hold) == [Hold(60), Hold(80)]


def test_a_worker_never_waits_for_the_nano_that_rounding_takes() -> None:
    # With 1 % the client pays 50 for 50; 50 x 10_000 // 10_100 would hold only 49 for it.
    deal = deal_of(replace(ASK, prompt_tokens_max=50), commission=100, window=0)
    line = line_in("COVERING", deal)

    line.cover()
    line.open()

    assert line.last(Cover) == Cover(50)
    assert line.last(Hold) == Hold(50)


def test_the_assignment_says_what_the_ask_said_and_what_time_is_left() -> None:
    line = line_in("OPENING")
    line.now += 2.5

    line.open()

    assign = line.to_worker[0]
    assert assign == Assign(
        exchange=EXCHANGE,
        quote=line.deal.quote,
        channel=WORKER_CHANNEL,
        deadline_ms=57_500,
        amount_max=952,
        model=ASK.model,
        kind=ASK.kind,
        completion_tokens_max=ASK.completion_tokens_max,
        max_cost=ASK.max_cost,
        trust=ASK.trust,
        prompt_tokens_max=ASK.prompt_tokens_max,
        allowed=100,
    )


def test_what_the_client_sent_early_follows_the_assignment_in_order() -> None:
    line = Line()
    line.client(part(0))
    line.cover()
    line.client(part(1, final=True))

    line.open()

    assert line.to_worker[1:] == [part(0), part(1, final=True)]
    assert line.phase == "METERING"


def test_a_client_that_uploads_early_is_not_read_until_the_worker_is_there() -> None:
    line = Line()

    line.client(part(0))
    assert not line.exchange.listens_to_client

    line.cover()
    line.open()
    assert line.exchange.listens_to_client


def test_a_client_that_greets_early_is_still_listened_to() -> None:
    assert line_in("COVERING").exchange.listens_to_client


def test_a_far_deadline_counts_as_the_longest_one() -> None:
    line = Line(deal_of(replace(ASK, deadline_ms=2**62)))

    assert line.exchange.deadline == line.now + DEADLINE_MAX_SECONDS


# ---------------------------------------------------------------- covering the answer


def test_cover_is_asked_for_again_when_half_a_window_is_used() -> None:
    line = line_in("ANSWERING")
    asked = len(line.all(Cover))

    # 100 were asked for; with 6 tokens 70 are spent, and a window from there reaches 150.
    line.worker(chunk(1, 4))
    assert len(line.all(Cover)) == asked
    line.worker(chunk(2, 6))

    assert [cover.amount for cover in line.all(Cover)[asked:]] == [157]


def test_a_waiting_workers_heartbeat_asks_for_the_whole_window() -> None:
    line = line_in("ANSWERING")

    line.worker(Heartbeat(EXCHANGE, 1))

    assert line.last(Cover) == Cover(115)


def test_a_worker_is_allowed_what_the_client_has_covered_and_no_more() -> None:
    line = line_in("COVERING")
    line.cover(63)
    line.open()
    assert line.to_worker[0].allowed == 60

    line.cover(84)
    assert line.to_worker[-1] == Allow(EXCHANGE, 80)

    line.cover(84)
    assert [type(message) for message in line.to_worker].count(Allow) == 1


def test_a_worker_that_takes_more_than_it_was_allowed_is_found_out() -> None:
    line = line_in("ANSWERING")

    # 100 are allowed: nine tokens and the prompt.
    line.worker(chunk(1, 9))
    with pytest.raises(RemoteProtocolError, match="more work than was allowed"):
        line.worker(chunk(2, 10))


def test_a_stopped_worker_is_allowed_no_more() -> None:
    line = line_in("STOPPING")

    assert line.cover(1_000) == ()
    with pytest.raises(RemoteProtocolError, match="more work than was allowed"):
        line.worker(chunk(1, 10))


def test_a_client_that_covers_nothing_is_refused_with_what_it_needs() -> None:
    line = line_in("COVERING")
    line.cover(3)

    line.pass_time(COVER_SECONDS)

    (refused,) = ends(line)
    assert (refused.reason, refused.need) == (Reason.NO_CREDIT, 21)
    assert "need=21 got=3 nanoTON" in refused.detail
    assert line.last(Release) == Release()
    assert line.to_worker == []


def test_a_channel_that_is_used_up_ends_the_exchange_as_the_proxys_fault() -> None:
    line = line_in("ANSWERING")

    line.feed(HoldRefused(line.now))
    assert line.to_worker[-1] == Cancel(EXCHANGE, Reason.PROXY_LOST)

    with pytest.raises(RecordRejected, match="cancelled, but not by us"):
        line.worker(line.receipt(Outcome.CANCELLED))
    line.worker(line.receipt(Outcome.FAILED))
    assert reckoning(line).worker_amount == 20


# ---------------------------------------------------------------- what the worker says


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (chunk(0, 4), "out of order"),
        (chunk(2, 4), "out of order"),
        (chunk(1, 1), "usage falls"),
        (chunk(1, 101), "more tokens than were asked for"),
        (replace(chunk(1, 4), usage=usage(4, prompt=11)), "another prompt"),
        (replace(chunk(1, 4), usage=usage(4, prompt=9)), "another prompt"),
        (replace(chunk(1, 4), usage=usage(2, reasoning=99)), "more tokens than were asked for"),
    ],
)
def test_a_chunk_that_no_honest_worker_sends_is_found_out(message: Chunk, fault: str) -> None:
    line = line_in("ANSWERING")

    with pytest.raises(RemoteProtocolError, match=fault):
        line.worker(message)


def test_a_chunk_above_the_agreed_amount_is_found_out() -> None:
    line = line_in("ANSWERING", deal_of(replace(ASK, max_cost=60)))

    with pytest.raises(RemoteProtocolError, match="above the most that was agreed"):
        line.worker(chunk(1, 5))


def test_nothing_follows_the_final_chunk() -> None:
    line = line_in("ANSWERING")
    line.worker(chunk(1, 3, final=True))

    with pytest.raises(RemoteProtocolError, match="after the final one"):
        line.worker(chunk(2, 4))


@pytest.mark.parametrize(
    "metered", [usage(1), usage(0, prompt=21), usage(0, reasoning=1), Usage(11, 10, 0, 0)]
)
def test_a_prompt_that_no_honest_worker_takes_is_found_out(metered: Usage) -> None:
    line = line_in("METERING")

    with pytest.raises(RemoteProtocolError):
        line.worker(PromptMetered(EXCHANGE, metered))


def test_a_meter_with_a_false_signature_is_found_out() -> None:
    line = line_in("ANSWERING")

    with pytest.raises(RecordRejected, match="signature"):
        line.worker(chunk(1, 4, meter=line.meter(3)))
    with pytest.raises(RecordRejected, match="signature"):
        line.worker(chunk(1, 4, meter=line.meter(4, by=PROXY)))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"amount": 61}, "wrong amount"),
        ({"amount": 59}, "wrong amount"),
        ({"usage": usage(6)}, "another usage"),
        ({"usage": usage(4)}, "another usage"),
        ({"usage": usage(5, prompt=11)}, "another usage"),
        ({"answer_hash": bytes(32)}, "another answer"),
        ({"quote_hash": bytes(32)}, "another exchange"),
        ({"exchange": b"o" * 16}, "another exchange"),
        ({"model": "n"}, "another model"),
        ({"weights_hash": bytes(32)}, "another model"),
        ({"continues": b"o" * 16}, "continues another exchange"),
        ({"outcome": Outcome.CANCELLED}, "not by us"),
        ({"outcome": Outcome.FAILED, "usage": usage(5)}, "the prompt is charged"),
        ({"by": PROXY}, "signature"),
    ],
)
def test_a_receipt_that_does_not_hold_is_found_out(changes: dict[str, Any], fault: str) -> None:
    line = line_in("ANSWERING")
    line.worker(chunk(1, 5, final=True))

    with pytest.raises(RemoteProtocolError, match=fault):
        line.worker(line.receipt(**changes))


def test_an_answer_without_its_end_is_not_completed() -> None:
    line = line_in("ANSWERING")

    with pytest.raises(RecordRejected, match="the final chunk never came"):
        line.worker(line.receipt())


def test_a_cancelled_receipt_is_not_for_more_than_was_delivered() -> None:
    line = line_in("STOPPING")

    with pytest.raises(RecordRejected, match="more than was delivered"):
        line.worker(line.receipt(Outcome.CANCELLED, usage=usage(3)))


def test_a_failed_engine_is_paid_for_the_tokens_and_not_for_the_prompt() -> None:
    line = line_in("ANSWERING")

    line.worker(line.receipt(Outcome.FAILED))
    line.charge()

    assert (reckoning(line).worker_amount, reckoning(line).client_amount) == (20, 21)
    assert ends(line) == [Settled(EXCHANGE, SETTLEMENT, reason=Reason.ENGINE_FAILED)]


def test_a_workers_own_reason_is_passed_on() -> None:
    line = line_in("ANSWERING")

    line.worker(replace(line.receipt(Outcome.FAILED), reason=Reason.DRAINING))
    line.charge()

    assert ends(line)[0].reason is Reason.DRAINING


def test_a_worker_may_cancel_when_the_hold_covers_no_other_token() -> None:
    line = line_in("COVERING")
    # 39 covers the bound of the prompt; of the answer the worker can send two tokens.
    line.cover(39)
    line.open()
    line.worker(ACCEPT)
    line.client(part(0, final=True))
    line.worker(METERED)
    line.worker(chunk(0, 2))

    line.worker(replace(line.receipt(Outcome.CANCELLED), reason=Reason.NO_CREDIT))

    assert reckoning(line).outcome is Outcome.CANCELLED
    assert line.exchange.reason is Reason.NO_CREDIT


def test_a_worker_may_cancel_when_its_deadline_has_come() -> None:
    line = line_in("ANSWERING")
    line.pass_time(59.5, is_working=True)

    line.worker(replace(line.receipt(Outcome.CANCELLED), reason=Reason.DEADLINE))

    assert line.phase == "SETTLING"


def test_a_workers_refusal_is_passed_on_in_the_clients_money() -> None:
    line = line_in("METERING")

    line.worker(replace(REFUSED, reason=Reason.NO_CREDIT, need=100, candidates_more=7))

    assert ends(line) == [replace(REFUSED, reason=Reason.NO_CREDIT, need=105)]
    assert line.effects[1:] == (LeaveWorker(is_stream_clean=True), Release())


def test_a_refusal_after_a_cancel_repeats_the_cancels_reason() -> None:
    line = line_in("METERING")
    line.client(CANCEL)

    line.worker(replace(REFUSED, reason=Reason.NO_CAPACITY))

    assert ends(line)[0].reason is Reason.CANCELLED


# ---------------------------------------------------------------- cancel


def test_a_cancel_is_passed_on_and_the_worker_kept_until_it_has_signed() -> None:
    line = line_in("ANSWERING")

    line.client(CANCEL)
    assert line.to_worker[-1] == CANCEL
    assert not line.all(LeaveWorker)

    under_way = chunk(1, 3)
    line.worker(under_way)
    assert line.to_client[-1] == under_way
    line.worker(line.receipt(Outcome.CANCELLED))
    line.charge()
    assert reckoning(line).worker_amount == 40
    assert ends(line)[0].reason is Reason.CANCELLED


def test_a_cancel_that_crosses_the_end_changes_nothing() -> None:
    line = line_in("ANSWERING")
    line.worker(chunk(1, 3, final=True))
    line.client(CANCEL)

    line.worker(line.receipt())
    line.charge()

    assert reckoning(line).outcome is Outcome.COMPLETED
    assert ends(line) == [Settled(EXCHANGE, SETTLEMENT)]


def test_parts_that_cross_the_proxys_own_cancel_are_dropped() -> None:
    line = line_in("UPLOADING", deal_of(replace(ASK, deadline_ms=1_000)))
    line.pass_time(1)
    assert line.phase == "STOPPING"

    assert line.client(part(0)) == ()
    assert line.client(part(1, final=True)) == ()


def test_a_client_cannot_choose_a_reason_that_others_pay_for() -> None:
    line = line_in("ANSWERING")

    line.client(Cancel(EXCHANGE, Reason.PROXY_LOST))

    assert line.to_worker[-1] == CANCEL


@pytest.mark.parametrize("phase", ["QUOTED", "COVERING", "OPENING"])
def test_a_cancel_before_the_assignment_costs_nothing(phase: str) -> None:
    line = line_in(phase)

    line.client(CANCEL)

    assert [refused.reason for refused in ends(line)] == [Reason.CANCELLED]
    assert line.last(Release) == Release()
    assert line.to_worker == []


def test_a_worker_that_does_not_answer_a_cancel_is_lost() -> None:
    line = line_in("STOPPING")

    line.pass_time(STOP_SECONDS)

    assert line.all(LeaveWorker) == [LeaveWorker(is_stream_clean=False)]
    assert reckoning(line).outcome is Outcome.FAILED


# ---------------------------------------------------------------- loss


def test_a_lost_client_is_charged_and_not_spoken_to() -> None:
    line = line_in("ANSWERING")
    heard = len(line.to_client)

    line.feed(ClientLost(line.now))
    assert line.to_worker[-1] == Cancel(EXCHANGE, Reason.CLIENT_LOST)
    line.worker(chunk(1, 3))
    line.worker(line.receipt(Outcome.CANCELLED))
    line.charge()

    assert line.phase == "ENDED"
    assert reckoning(line).worker_amount == 40
    assert len(line.to_client) == heard


def test_a_lost_worker_is_settled_with_by_its_newest_meter() -> None:
    line = line_in("ANSWERING")
    signed = line.exchange.passed.meter
    line.worker(chunk(1, 9))

    line.feed(WorkerLost("connection lost", line.now))
    line.charge()

    # Two tokens were signed for; the prompt of what failed is not owed.
    assert reckoning(line).meter == signed
    assert reckoning(line).receipt is None
    assert (reckoning(line).worker_amount, reckoning(line).client_amount) == (20, 21)
    (settled,) = ends(line)
    assert settled.reason is Reason.WORKER_LOST
    assert settled.detail == "worker lost: connection lost"


def test_a_lost_worker_that_signed_nothing_earns_nothing() -> None:
    line = line_in("METERING")
    line.worker(METERED)
    line.worker(chunk(0, 2))

    line.feed(WorkerLost("gone", line.now))

    assert (reckoning(line).worker_amount, reckoning(line).client_amount) == (0, 0)
    assert reckoning(line).meter is None


def test_a_worker_lost_before_the_first_token_ends_in_a_refusal() -> None:
    line = line_in("METERING")
    line.worker(METERED)

    line.feed(WorkerLost("gone", line.now))

    assert [refused.reason for refused in ends(line)] == [Reason.WORKER_LOST]
    assert line.effects[0] == LeaveWorker(is_stream_clean=False)
    assert line.effects[-1] == Release()


def test_a_worker_lost_in_settling_changes_nothing() -> None:
    line = line_in("SETTLING")

    assert line.feed(WorkerLost("gone", line.now)) == ()


def test_a_worker_that_cannot_be_had_ends_in_a_refusal() -> None:
    line = line_in("OPENING")

    line.feed(WorkerUnavailable("not connected", line.now))

    (refused,) = ends(line)
    assert (refused.reason, refused.detail) == (Reason.WORKER_LOST, "worker lost: not connected")


def test_a_long_detail_is_cut_to_what_a_message_may_hold() -> None:
    line = line_in("OPENING")

    line.feed(WorkerUnavailable("é" * 600, line.now))

    assert len(ends(line)[0].detail.encode()) <= 512


# ---------------------------------------------------------------- time


def test_a_reservation_that_nobody_uses_is_given_up() -> None:
    line = Line()

    line.pass_time(RESERVATION_SECONDS)

    (refused,) = ends(line)
    assert refused.reason is Reason.STALE
    assert line.last(Release) == Release()


def test_a_client_may_be_silent_while_it_makes_up_its_mind() -> None:
    line = Line()

    line.feed(Woke(line.now + LOST_SECONDS))

    assert line.phase == "QUOTED"


def test_both_hops_hear_a_heartbeat_a_second() -> None:
    line = line_in("ANSWERING")
    line.worker(Heartbeat(EXCHANGE, 41))

    effects = line.pass_time(3)

    assert effects.count(ToClient(Heartbeat(EXCHANGE, 41))) == 3
    assert effects.count(ToWorker(Heartbeat(EXCHANGE, 0))) == 3


def test_a_hop_that_has_just_been_spoken_on_needs_no_heartbeat() -> None:
    line = line_in("ANSWERING")
    line.now += 0.9
    line.worker(chunk(1, 4))

    line.now += 0.2
    effects = line.feed(Woke(line.now))

    assert effects == (ToWorker(Heartbeat(EXCHANGE, 0)),)


@pytest.mark.parametrize("phase", ["COVERING", "OPENING", "UPLOADING", "METERING", "ANSWERING", "STOPPING"])
def test_a_silent_client_is_lost(phase: str) -> None:
    line = line_in(phase)

    line.feed(Woke(line.now + LOST_SECONDS))

    assert line.effects[0] == LeaveClient()
    assert not line.exchange.is_client_here


@pytest.mark.parametrize("phase", ["UPLOADING", "METERING", "ANSWERING", "STOPPING"])
def test_a_silent_worker_is_lost(phase: str) -> None:
    line = line_in(phase)
    line.now += LOST_SECONDS
    line.client(Heartbeat(EXCHANGE, 0))

    line.feed(Woke(line.now))

    assert LeaveWorker(is_stream_clean=False) in line.effects


def test_the_silence_of_a_peer_that_is_not_listened_to_means_nothing() -> None:
    line = line_in("ANSWERING")

    line.feed(Woke(line.now + LOST_SECONDS, is_client_read=False, is_worker_read=False))
    line.feed(Woke(line.now + 2 * LOST_SECONDS - 0.1))

    assert line.phase == "ANSWERING"
    assert line.exchange.is_client_here


def test_an_engine_that_stands_still_has_failed() -> None:
    line = line_in("ANSWERING", deal_of(replace(ASK, deadline_ms=600_000)))
    line.cover(1_000)

    line.pass_time(STALL_SECONDS)

    assert line.exchange.reason is Reason.ENGINE_FAILED
    assert reckoning(line).worker_amount == 20


def test_an_engine_that_gets_on_has_not_failed() -> None:
    line = line_in("ANSWERING", deal_of(replace(ASK, deadline_ms=600_000)))
    line.cover(1_000)

    for steps in range(1, 60):
        line.pass_time(1)
        line.worker(Heartbeat(EXCHANGE, steps))

    assert line.phase == "ANSWERING"


def test_an_engine_that_is_held_back_for_credit_has_not_failed() -> None:
    line = line_in("COVERING", deal_of(replace(ASK, deadline_ms=600_000)))
    line.cover(30)
    line.open()
    line.worker(ACCEPT)
    line.client(part(0, final=True))
    line.worker(METERED)
    line.worker(chunk(0, 1))
    assert line.exchange.held < 30

    line.pass_time(STALL_SECONDS + 1)

    assert line.phase == "ANSWERING"


def test_a_worker_that_cannot_be_opened_in_time_is_lost() -> None:
    line = line_in("OPENING")

    line.pass_time(OPEN_SECONDS)

    assert [refused.reason for refused in ends(line)] == [Reason.WORKER_LOST]


@pytest.mark.parametrize(
    ("phase", "ending"), [("COVERING", "ENDED"), ("METERING", "STOPPING"), ("ANSWERING", "STOPPING")]
)
def test_a_deadline_that_passes_ends_the_exchange(phase: str, ending: str) -> None:
    line = line_in(phase, deal_of(replace(ASK, deadline_ms=4_000)))

    line.pass_time(4)

    assert line.phase == ending
    if ending == "STOPPING":
        assert line.to_worker[-1] == Cancel(EXCHANGE, Reason.DEADLINE)
    else:
        assert ends(line)[0].reason is Reason.DEADLINE


def test_a_deadline_does_not_cut_short_the_settling() -> None:
    line = line_in("SETTLING")

    line.pass_time(600)

    assert line.phase == "SETTLING"


def test_nothing_is_due_after_the_end() -> None:
    assert next_wake(line_in("ENDED").exchange) == float("inf")


# ---------------------------------------------------------------- prices


def test_a_free_model_needs_no_credit() -> None:
    free = replace(OFFER, price=replace(PRICE, prompt=0, cached=0, completion=0, reasoning=0))
    line = line_in("COVERING", deal_of(replace(ASK, max_cost=0), offer=free))

    line.cover(0)

    assert line.phase == "OPENING"


def test_dear_cached_tokens_are_covered_as_such() -> None:
    dear = replace(OFFER, price=replace(PRICE, cached=5_000))
    line = line_in("COVERING", deal_of(offer=dear))

    line.cover(104)
    assert line.phase == "COVERING"
    line.cover(105)
    assert line.phase == "OPENING"


def test_dear_reasoning_tokens_count_in_the_window() -> None:
    dear = replace(OFFER, price=replace(PRICE, reasoning=20_000))
    line = line_in("COVERING", deal_of(offer=dear))

    assert line.all(Cover) == [Cover(189)]


def test_a_receipt_of_the_other_stream_is_not_taken() -> None:
    line = line_in("ANSWERING")

    with pytest.raises(RemoteProtocolError, match="another exchange"):
        line.worker(Receipted(HELLO.exchange[:-1] + b"x", SETTLEMENT))
