"""Who may serve an Ask, who may not and why, and what a client is told where nobody may."""

from dataclasses import replace

import pytest
from hypothesis import given

from cocoon_p2p.protocols.ids import PEERS_MAX, QUOTE_LIFETIME_SECONDS, Kind, Reason, Trust
from cocoon_p2p.protocols.messages import Ask, Refused
from cocoon_p2p.protocols.schema import decode_message, encode_message
from cocoon_p2p.scheduling import LADDER, STALE_SECONDS, Choice, WorkerStanding, refuse
from tests.scheduling.crowd import (
    ASK,
    DATE,
    NOW,
    OFFER,
    PEERS,
    PRICE,
    asks,
    chosen,
    crowds,
    explained,
    pick,
    priced,
    worker,
)


def refusal(*workers: WorkerStanding, ask: Ask = ASK) -> Refused:
    choice = pick(*workers, ask=ask)
    assert choice.worker is None
    return refuse(ask, choice.left_out, choice.left_out_more)


def test_a_worker_that_fits_is_chosen_with_its_offer() -> None:
    assert pick(worker()) == Choice(worker(), OFFER)


@pytest.mark.parametrize(
    ("reason", "misfit", "ask"),
    [
        (Reason.UNKNOWN_MODEL, worker(offers=()), ASK),
        (Reason.UNKNOWN_MODEL, worker(), replace(ASK, model="other")),
        (Reason.OTHER_WEIGHTS, worker(), replace(ASK, weights_hash=b"x" * 32)),
        (Reason.UNSUPPORTED_KIND, worker(), replace(ASK, kind=Kind.EMBEDDING)),
        (Reason.UNSUPPORTED_KIND, worker(offer=replace(OFFER, kind=Kind.COMPLETION)), ASK),
        (Reason.UNKNOWN_FEATURE, worker(), replace(ASK, features=("seed", "grammar"))),
        (Reason.TOO_LARGE, worker(offer=replace(OFFER, context_tokens=2)), ASK),
        (Reason.EXCLUDED, worker(), replace(ASK, exclude=(PEERS[0],))),
        (Reason.TRUST_BELOW_REQUEST, worker(), replace(ASK, trust=Trust.TDX)),
        (Reason.TRUST_BELOW_REQUEST, worker(), replace(ASK, trust=Trust.SIM)),
        (Reason.TRUST_BELOW_REQUEST, worker(trust=Trust.SIM), replace(ASK, trust=Trust.TDX)),
        (Reason.TRUST_BELOW_REQUEST, worker(trust=Trust.TDX), replace(ASK, trust=Trust.SIM)),
        (Reason.TRUST_BELOW_REQUEST, worker(trust=Trust.TDX), replace(ASK, trust=Trust.TDX_GPU)),
        (Reason.PRICE_ABOVE_LIMIT, worker(), replace(ASK, max_cost=29)),
        (Reason.DRAINING, worker(is_draining=True), ASK),
        (
            Reason.TRUST_BELOW_REQUEST,
            worker(trust=Trust.TDX, trust_until=DATE),
            replace(ASK, trust=Trust.TDX),
        ),
        (Reason.STALE, worker(heard=NOW - STALE_SECONDS - 0.1), ASK),
        (Reason.STALE, worker(expires=int(DATE) + QUOTE_LIFETIME_SECONDS), ASK),
        (Reason.WORKER_LOST, worker(rests_until=NOW + 1), ASK),
        (Reason.NO_CAPACITY, worker(slots_free=0), ASK),
        (Reason.NO_CAPACITY, worker(slots_free=-1), ASK),
    ],
)
def test_who_misses_a_rung_is_left_out_for_it(reason: Reason, misfit: WorkerStanding, ask: Ask) -> None:
    choice = pick(misfit, ask=ask)

    assert choice.worker is None
    assert [candidate.reason for candidate in choice.left_out] == [reason]
    assert refuse(ask, choice.left_out, choice.left_out_more).reason is reason


@pytest.mark.parametrize(
    ("standing", "ask"),
    [
        (worker(), replace(ASK, weights_hash=OFFER.weights_hash)),
        (worker(), replace(ASK, kind=Kind.COMPLETION)),
        (worker(), replace(ASK, features=("stop",))),
        (worker(offer=replace(OFFER, context_tokens=3)), ASK),
        (worker(trust=Trust.TDX, trust_until=DATE + 1), replace(ASK, trust=Trust.TDX)),
        (worker(), replace(ASK, max_cost=30)),
        (worker(), replace(ASK, max_cost=20, completion_tokens_max=0)),
        (worker(trust=Trust.SIM), replace(ASK, trust=Trust.SIM)),
        (worker(trust=Trust.SIM), ASK),
        (worker(trust=Trust.TDX_GPU), replace(ASK, trust=Trust.TDX)),
        (worker(heard=NOW - STALE_SECONDS), ASK),
        (worker(rests_until=NOW), ASK),
    ],
)
def test_who_just_reaches_the_top_is_chosen(standing: WorkerStanding, ask: Ask) -> None:
    assert chosen(standing, ask=ask) == standing.peer


def test_the_commission_counts_in_the_price() -> None:
    ask = replace(ASK, max_cost=32)

    assert pick(worker(), ask=ask, commission=500).worker is not None
    choice = pick(worker(), ask=ask, commission=1_000)

    (candidate,) = choice.left_out
    assert (candidate.asked, candidate.offered) == (32, 33)


def test_a_cached_token_that_is_dearer_than_a_computed_one_counts_as_such() -> None:
    dear = replace(OFFER, price=replace(PRICE, cached=60_000))

    assert pick(worker(offer=dear)).worker is None


def test_the_nearest_miss_names_the_refusal_and_comes_first() -> None:
    refused = refusal(
        worker(0, offers=()),
        worker(1, slots_free=0),
        worker(2, offer=priced(10**9)),
        worker(3, is_draining=True),
    )

    assert refused.reason is Reason.NO_CAPACITY
    assert [candidate.worker for candidate in refused.candidates] == [PEERS[1], PEERS[3], PEERS[2], PEERS[0]]
    assert refused.retry_after_ms == 1_000


def test_a_price_refusal_names_the_cheapest() -> None:
    ask = replace(ASK, max_cost=25)

    refused = refusal(worker(0, offer=priced(50_000)), worker(1), ask=ask)

    assert refused.detail == "price above limit: asked 25, cheapest 30 nanoTON for the prompt and one token"
    assert refused.retry_after_ms is None


def test_a_refusal_names_no_more_candidates_than_a_message_holds_and_counts_the_rest() -> None:
    peers = [bytes([number]) * len(PEERS[0]) for number in range(PEERS_MAX + 7)]
    for changes in ({"slots_free": 0}, {"is_draining": True}):
        refused = refusal(*(worker(peer=peer, **changes) for peer in peers))

        assert len(refused.candidates) == PEERS_MAX
        assert refused.candidates_more == 7


def test_nobody_at_all_is_an_unknown_model() -> None:
    refused = refusal()

    assert (refused.reason, refused.candidates) == (Reason.UNKNOWN_MODEL, ())


@given(crowds, asks)
def test_everybody_is_fit_or_out_for_a_reason_whoever_else_is_there(
    workers: list[WorkerStanding], ask: Ask
) -> None:
    decision = explained(*workers, ask=ask)

    alone = {each.peer: pick(each, ask=ask).worker is not None for each in workers}
    assert {each.peer: each.reason is None for each in decision.considered} == alone
    assert {each.reason for each in decision.considered} <= {None, *LADDER}
    assert (decision.chosen is not None) is any(alone.values())


@given(crowds, asks)
def test_a_refusal_can_always_be_sent_and_leaves_out_nobody(workers: list[WorkerStanding], ask: Ask) -> None:
    choice = pick(*workers, ask=ask)

    if choice.worker is None:
        refused = refuse(ask, choice.left_out, choice.left_out_more)
        assert decode_message(encode_message(refused)) == refused
        assert len(refused.candidates) + refused.candidates_more == len(workers)
        ranks = [LADDER.index(candidate.reason) for candidate in refused.candidates]
        assert ranks == sorted(ranks, reverse=True)
