from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.protocols.ids import PEERS_MAX, QUOTE_LIFETIME_SECONDS, Kind, Reason, Trust
from cocoon_p2p.protocols.messages import Ask, ExchangeId, ModelOffer, Price
from cocoon_p2p.protocols.schema import decode_message, encode_message
from cocoon_p2p.scheduling import LADDER, STALE_SECONDS, Choice, WorkerStanding, choose, refuse

NOW, DATE = 50.0, 1_000_000.0
PRICE = Price(prompt=1_000, cached=100, completion=10_000, reasoning=10_000)
OFFER = ModelOffer("m", b"w" * 32, b"t" * 32, Kind.CHAT, 4096, ("seed", "stop"), PRICE, demo=True)
PEERS = tuple(Identity.from_seed(bytes([number]) * 32).peer_id for number in range(1, 6))
ASK = Ask(
    exchange=ExchangeId(b"e" * 16),
    model="m",
    kind=Kind.CHAT,
    prompt_tokens_max=20,
    completion_tokens_max=100,
    max_cost=1_000,
    deadline_ms=60_000,
    trust=Trust.OPEN,
    prefer=(),
    exclude=(),
    features=(),
)


def worker(number: int = 0, *, offer: ModelOffer = OFFER, **changes: Any) -> WorkerStanding:
    standing = WorkerStanding(
        peer=PEERS[number],
        offers=(replace(OFFER, name="another"), offer),
        trust=Trust.OPEN,
        slots_free=2,
        is_draining=False,
        heard=NOW,
        expires=int(DATE) + 600,
    )
    return replace(standing, **changes)


def priced(completion: int, prompt: int = 1_000) -> ModelOffer:
    return replace(OFFER, price=replace(PRICE, completion=completion, prompt=prompt))


def pick(*workers: WorkerStanding, ask: Ask = ASK, commission: int = 0) -> Choice:
    return choose(ask, workers, commission_basis_points=commission, now=NOW, date=DATE)


def chosen(*workers: WorkerStanding, ask: Ask = ASK) -> PeerId:
    choice = pick(*workers, ask=ask)
    assert choice.worker is not None
    return choice.worker.peer


def test_a_worker_that_fits_is_chosen_with_its_offer() -> None:
    choice = pick(worker())

    assert choice == Choice(worker(), OFFER, ())


@pytest.mark.parametrize(
    ("reason", "misfit", "ask"),
    [
        (Reason.UNKNOWN_MODEL, worker(offers=()), ASK),
        (Reason.UNKNOWN_MODEL, worker(), replace(ASK, model="other")),
        (Reason.OTHER_WEIGHTS, worker(), replace(ASK, weights_hash=b"x" * 32)),
        (Reason.UNSUPPORTED_KIND, worker(), replace(ASK, kind=Kind.EMBEDDING)),
        (Reason.UNSUPPORTED_KIND, worker(offer=replace(OFFER, kind=Kind.COMPLETION)), ASK),
        (Reason.UNKNOWN_FEATURE, worker(), replace(ASK, features=("seed", "grammar"))),
        (Reason.EXCLUDED, worker(), replace(ASK, exclude=(PEERS[0],))),
        (Reason.TRUST_BELOW_REQUEST, worker(), replace(ASK, trust=Trust.TDX)),
        (Reason.TRUST_BELOW_REQUEST, worker(), replace(ASK, trust=Trust.SIM)),
        (Reason.TRUST_BELOW_REQUEST, worker(trust=Trust.SIM), replace(ASK, trust=Trust.TDX)),
        (Reason.TRUST_BELOW_REQUEST, worker(trust=Trust.TDX), replace(ASK, trust=Trust.SIM)),
        (Reason.TRUST_BELOW_REQUEST, worker(trust=Trust.TDX), replace(ASK, trust=Trust.TDX_GPU)),
        (Reason.PRICE_ABOVE_LIMIT, worker(), replace(ASK, max_cost=29)),
        (Reason.DRAINING, worker(is_draining=True), ASK),
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
    assert refuse(ask, choice).reason is reason


@pytest.mark.parametrize(
    ("standing", "ask"),
    [
        (worker(), replace(ASK, weights_hash=OFFER.weights_hash)),
        (worker(), replace(ASK, kind=Kind.COMPLETION)),
        (worker(), replace(ASK, features=("stop",))),
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


def test_a_preferred_worker_comes_first_whatever_it_costs() -> None:
    cheap, dear, dearest = worker(0), worker(1, offer=priced(20_000)), worker(2, offer=priced(30_000))

    assert chosen(cheap, dear, dearest, ask=replace(ASK, prefer=(PEERS[2], PEERS[1]))) == PEERS[2]
    assert chosen(cheap, dear, ask=replace(ASK, prefer=(PEERS[2], PEERS[1]))) == PEERS[1]


def test_the_cheapest_worker_is_chosen_before_the_idlest() -> None:
    assert chosen(worker(0, offer=priced(20_000), slots_free=9), worker(1, slots_free=1)) == PEERS[1]


def test_of_equal_prices_the_idlest_is_chosen_then_the_quickest() -> None:
    assert chosen(worker(0, slots_free=1), worker(1, slots_free=3)) == PEERS[1]
    assert chosen(worker(0, first_token_seconds=0.9), worker(1, first_token_seconds=0.2)) == PEERS[1]


def test_a_newcomer_is_tried_before_one_that_is_known() -> None:
    assert chosen(worker(0, first_token_seconds=0.1), worker(1)) == PEERS[1]


def test_the_nearest_miss_names_the_refusal_and_comes_first() -> None:
    choice = pick(
        worker(0, offers=()),
        worker(1, slots_free=0),
        worker(2, offer=priced(10**9)),
        worker(3, is_draining=True),
    )

    refused = refuse(ASK, choice)

    assert refused.reason is Reason.NO_CAPACITY
    assert [candidate.worker for candidate in refused.candidates] == [PEERS[1], PEERS[3], PEERS[2], PEERS[0]]
    assert refused.retry_after_ms == 1_000


def test_a_price_refusal_names_the_cheapest() -> None:
    ask = replace(ASK, max_cost=25)

    refused = refuse(ask, pick(worker(0, offer=priced(50_000)), worker(1), ask=ask))

    assert refused.detail == "price above limit: asked 25, cheapest 30 nanoTON for the prompt and one token"
    assert refused.retry_after_ms is None


def test_a_refusal_names_no_more_candidates_than_a_message_holds() -> None:
    crowd = [worker(0, slots_free=0)] * (PEERS_MAX + 7)

    refused = refuse(ASK, pick(*crowd))

    assert len(refused.candidates) == PEERS_MAX
    assert refused.candidates_more == 7


def test_nobody_at_all_is_an_unknown_model() -> None:
    refused = refuse(ASK, pick())

    assert (refused.reason, refused.candidates) == (Reason.UNKNOWN_MODEL, ())


standings = st.builds(
    worker,
    st.integers(0, 4),
    offer=st.builds(priced, st.integers(0, 50_000), st.integers(0, 50_000)),
    trust=st.sampled_from(Trust),
    slots_free=st.integers(-1, 3),
    is_draining=st.booleans(),
    heard=st.sampled_from([NOW, NOW - 10]),
    rests_until=st.sampled_from([0.0, NOW + 5]),
    first_token_seconds=st.none() | st.floats(0, 5),
)
asks = st.builds(
    lambda **changes: replace(ASK, **changes),
    model=st.sampled_from(["m", "another", "\u00e9" * 48]),
    max_cost=st.integers(0, 2_000),
    trust=st.sampled_from(Trust),
    prefer=st.lists(st.sampled_from(PEERS), max_size=3).map(tuple),
    exclude=st.lists(st.sampled_from(PEERS), max_size=2).map(tuple),
    features=st.lists(st.sampled_from(["seed", "x" * 32]), max_size=32).map(tuple),
)


@given(st.lists(standings, max_size=6), asks, st.sampled_from([0, 500, 10_000]))
def test_everybody_is_chosen_or_left_out_for_a_reason(
    workers: list[WorkerStanding], ask: Ask, commission: int
) -> None:
    choice = pick(*workers, ask=ask, commission=commission)

    alone = [pick(one, ask=ask, commission=commission).worker is not None for one in workers]
    assert len(choice.left_out) == len(workers) - sum(alone)
    assert (choice.worker is not None) is any(alone)
    assert {candidate.reason for candidate in choice.left_out} <= set(LADDER)


@given(st.lists(standings, max_size=6), asks)
def test_a_refusal_can_always_be_sent(workers: list[WorkerStanding], ask: Ask) -> None:
    choice = pick(*workers, ask=ask)

    refused = refuse(ask, choice)

    assert decode_message(encode_message(refused)) == refused


def test_proof_that_has_lapsed_is_none() -> None:
    ask = replace(ASK, trust=Trust.TDX)
    lapsed = worker(0, trust=Trust.TDX, trust_until=DATE)

    assert pick(replace(lapsed, trust_until=DATE + 1), ask=ask).worker is not None
    assert pick(lapsed, ask=ask).left_out[0].reason is Reason.TRUST_BELOW_REQUEST
