"""Whom an Ask gets: the client's own first, else one of the best by time and price."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import Preference
from cocoon_p2p.protocols.messages import Ask
from cocoon_p2p.scheduling import Odds, Pace, Roster, WorkerStanding
from tests.scheduling.crowd import (
    ASK,
    NOW,
    PEERS,
    asks,
    caches,
    chosen,
    crowds,
    explained,
    lucks,
    paced,
    pick,
    priced,
    roster_of,
    worker,
)

CHEAP, FAST = replace(ASK, preference=Preference.CHEAP), replace(ASK, preference=Preference.FAST)


def test_a_preferred_worker_comes_first_whatever_it_costs() -> None:
    cheap, dear, dearest = worker(0), worker(1, offer=priced(20_000)), worker(2, offer=priced(30_000))

    assert chosen(cheap, dear, dearest, ask=replace(ASK, prefer=(PEERS[2], PEERS[1]))) == PEERS[2]
    assert chosen(cheap, dear, ask=replace(ASK, prefer=(PEERS[2], PEERS[1]))) == PEERS[1]


def test_a_preferred_worker_that_may_not_serve_is_passed_over() -> None:
    assert chosen(worker(0), worker(1, slots_free=0), ask=replace(ASK, prefer=(PEERS[1],))) == PEERS[0]


def test_of_equals_the_cheaper_is_chosen_and_of_equal_prices_the_quicker() -> None:
    assert chosen(worker(0, offer=priced(20_000)), worker(1)) == PEERS[1]
    assert chosen(worker(0, offer=paced(1_000, 20)), worker(1, offer=paced(1_000, 40))) == PEERS[1]
    assert chosen(worker(0, answer_seconds=3.0), worker(1, answer_seconds=0.1)) == PEERS[1]


@pytest.mark.parametrize(
    ("ask", "quick_price", "expected"),
    [
        (ASK, 15_000, 1),
        (ASK, 30_000, 0),
        (CHEAP, 15_000, 0),
        (FAST, 30_000, 1),
        (FAST, 60_000, 1),
    ],
)
def test_what_the_client_prefers_decides_how_much_more_a_quick_worker_may_cost(
    ask: Ask, quick_price: int, expected: int
) -> None:
    slow = worker(0, offer=paced(1_000, 20))
    quick = worker(1, offer=replace(priced(quick_price), rates=paced(1_000, 40).rates))

    assert chosen(slow, quick, ask=ask) == PEERS[expected]


def test_a_worker_that_is_busy_is_slower_by_its_own_word() -> None:
    busy = worker(0, offer=paced(1_000, 40, full=10), slots_total=4, slots_free=1)
    idle = worker(1, offer=paced(1_000, 25))

    assert chosen(busy, idle) == PEERS[1]
    assert chosen(replace(busy, slots_free=4), idle) == PEERS[0]


def test_who_lied_about_its_pace_is_found_out_by_one_answer() -> None:
    honest = worker(0, offer=paced(1_000, 40))
    liar = worker(1, offer=paced(10**9, 10**9))
    assert chosen(honest, liar) == PEERS[1]

    caught = replace(liar, paces={"m": Pace().decoded(200, 20.0, NOW)})

    assert chosen(honest, caught) == PEERS[0]


def test_what_was_measured_is_forgotten_by_and_by() -> None:
    quick, slow = worker(0, offer=paced(1_000, 40)), worker(1, offer=paced(1_000, 80))
    lately = replace(slow, paces={"m": Pace().decoded(500, 50.0, NOW)})
    long_ago = replace(slow, paces={"m": Pace().decoded(500, 50.0, NOW - 6_000)})

    assert chosen(quick, lately) == PEERS[0]
    assert chosen(quick, long_ago) == PEERS[1]


def test_who_often_fails_counts_as_slower() -> None:
    assert chosen(worker(0, odds=Odds(2, 4, NOW)), worker(1)) == PEERS[1]
    assert chosen(worker(0, odds=Odds(2, 4, NOW - 36_000)), worker(1, offer=priced(12_000))) == PEERS[0]


def test_where_the_prompt_hardly_fits_is_the_last_resort() -> None:
    ask = replace(ASK, prompt_tokens_max=20_000, max_cost=10**6)
    small, large = worker(0), worker(1, offer=replace(priced(30_000), context_tokens=32_000))

    assert chosen(small, large, ask=ask) == PEERS[1]
    assert chosen(small, ask=ask) == PEERS[0]


def test_a_worker_that_knows_the_client_is_worth_a_higher_price() -> None:
    ask = replace(ASK, prompt_tokens_max=12_000, max_cost=10**6)
    stranger, friend = worker(0), worker(1, offer=priced(13_000, prompt=1_300))

    assert chosen(stranger, friend, ask=ask) == PEERS[0]
    picked = pick(stranger, friend, ask=ask, cached={PEERS[1]: 0.9})
    assert picked.worker is not None
    assert picked.worker.peer == PEERS[1]


def test_equals_are_drawn_by_lot_and_the_one_with_more_room_wins_its_pair() -> None:
    crowd = [worker(number, slots_free=4 - number, slots_total=4) for number in range(3)]

    drawn = Counter(chosen(*crowd, luck=luck) for luck in range(9))

    assert drawn == {PEERS[0]: 5, PEERS[1]: 3, PEERS[2]: 1}


@given(crowds, asks, lucks, caches)
def test_the_explanation_agrees_with_the_choice(
    workers: list[WorkerStanding], ask: Ask, luck: int, cached: dict[PeerId, float]
) -> None:
    choice = pick(*workers, ask=ask, luck=luck, cached=cached)
    decision = explained(*workers, ask=ask, luck=luck, cached=cached)

    fit = {each.peer: each for each in decision.considered if each.reason is None}
    if choice.worker is None:
        assert decision.chosen is None
        assert not fit
        return
    assert decision.chosen == choice.worker.peer
    mine = fit[choice.worker.peer]
    if decision.is_preferred:
        assert mine.peer == next(peer for peer in ask.prefer if peer in fit)
    else:
        assert mine.is_near
        assert min(each.score or 0.0 for each in fit.values()) <= (mine.score or 0.0)
    assert len(str(decision).splitlines()) == 1 + len(workers)


def might_be_chosen(workers: list[WorkerStanding], ask: Ask, peer: PeerId) -> bool:
    return any(each.peer == peer and each.is_near for each in explained(*workers, ask=ask).considered)


@given(crowds, asks, st.integers(0, 7), st.floats(0.01, 1), st.floats(1, 100))
def test_who_becomes_cheaper_or_quicker_is_never_the_worse_for_it(
    workers: list[WorkerStanding], ask: Ask, number: int, cheaper: float, quicker: float
) -> None:
    ask = replace(ask, prefer=())
    for place, before in enumerate(workers):
        if before.peer == PEERS[number] and might_be_chosen(workers, ask, before.peer):
            rest = [*workers[:place], *workers[place + 1 :]]
            offer = before.offers[1]
            price = replace(
                offer.price,
                prompt=int(offer.price.prompt * cheaper),
                completion=int(offer.price.completion * cheaper),
            )
            rates = offer.rates and replace(
                offer.rates, prefill_milli=int(offer.rates.prefill_milli * quicker)
            )
            after = replace(before, offers=(before.offers[0], replace(offer, price=price, rates=rates)))
            assert might_be_chosen([*rest, after], ask, before.peer)


@given(st.lists(st.tuples(crowds, st.booleans()), max_size=4), asks, lucks)
def test_a_roster_holds_what_was_put_there_last_and_nothing_else(
    rounds: list[tuple[list[WorkerStanding], bool]], ask: Ask, luck: int
) -> None:
    roster, held = Roster(), dict[PeerId, WorkerStanding]()
    for crowd, is_dropped in rounds:
        for each in crowd:
            if is_dropped:
                roster.drop(each.peer)
                held.pop(each.peer, None)
            else:
                roster.put(each, NOW)
                held[each.peer] = each

    fresh = roster_of(*held.values())
    assert {each.peer: each for each in roster} == held
    for model in ("m", "another"):
        for one, other in ((roster, fresh), (fresh, roster)):
            rows = {peer: row for shelf in one.shelves(model) for peer, row in shelf.open.items()}
            assert rows == {peer: row for shelf in other.shelves(model) for peer, row in shelf.open.items()}
