"""Prices that follow the market: one worker's, and those of many that all do the same."""

import bisect
import itertools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.payments.asking_price import (
    ASKED_LEAST,
    REFUSED_SECONDS,
    Asking,
    Bounds,
    Cause,
    Look,
    Plan,
    Told,
    move,
)
from cocoon_p2p.protocols.messages import Price

BOUNDS = Bounds(floor=5_000, ceiling=200_000)
LOOK_SECONDS = 300.0

DEAR, CHEAPER, ELSE = Told(20, 20, 0), Told(20, 0, 20), Told(20, 0, 0)


def look(busy: float, *told: Told, others: Sequence[int] = (), now: float = 0.0) -> Look:
    return Look(now, busy, told, others)


# ---------------------------------------------------------------- one worker


def test_a_worker_that_is_full_asks_more() -> None:
    seen = move(Asking(20_000), look(1.0), BOUNDS)

    assert (seen.price, seen.why) == (21_000, Cause.BUSY)


@pytest.mark.parametrize("told", [(), (ELSE,), (Told(ASKED_LEAST - 1, 3, 0),)])
def test_empty_slots_alone_lower_no_price(told: tuple[Told, ...]) -> None:
    assert move(Asking(20_000), look(0.0, *told, others=[1]), BOUNDS).price == 20_000


def test_clients_whose_limits_are_lower_lower_it() -> None:
    seen = move(Asking(20_000), look(0.0, DEAR), BOUNDS)

    assert (seen.price, seen.why, seen.refused) == (19_000, Cause.TOO_DEAR, 20_000)


def test_others_that_are_cheaper_lower_it_to_what_they_ask_and_not_below() -> None:
    far = move(Asking(20_000), look(0.0, CHEAPER, others=[10_000]), BOUNDS)
    near = move(Asking(20_000), look(0.0, CHEAPER, others=[19_500]), BOUNDS)
    same = move(Asking(20_000), look(0.0, CHEAPER, others=[19_600]), BOUNDS)

    assert (far.price, near.price, same.price) == (19_000, 19_500, 20_000)
    assert same.why is Cause.LOWEST_ASKED


def test_a_price_is_kept_between_nearly_full_and_mostly_empty() -> None:
    assert move(Asking(20_000), look(0.7, DEAR), BOUNDS) == Asking(20_000, Cause.HELD)


def test_one_proxy_of_three_that_lies_is_not_heard() -> None:
    liar = Told(10**18, 10**18, 10**18)

    seen = move(Asking(20_000), look(0.0, ELSE, liar, ELSE, others=[20_000, 1, 20_000]), BOUNDS)

    assert seen.price == 20_000


@pytest.mark.parametrize("others", [[1, 19_000], [1, 19_000, 19_500], [19_000]])
def test_one_proxy_that_lies_of_what_others_ask_is_not_followed_below_them(others: list[int]) -> None:
    asking = Asking(20_000)
    for _ in range(50):
        asking = move(asking, look(0.0, CHEAPER, CHEAPER, others=others), BOUNDS)

    assert asking.price >= 19_000


def test_a_price_that_proved_too_dear_is_kept_away_from_and_tried_again_hours_later() -> None:
    refused = move(Asking(20_000), look(0.0, DEAR, now=0.0), BOUNDS)
    asking = refused
    for _ in range(50):
        asking = move(asking, look(1.0, now=LOOK_SECONDS), BOUNDS)

    assert refused.price < asking.price < 20_000
    assert asking.why is Cause.REFUSED_ABOVE
    assert move(asking, look(1.0, now=REFUSED_SECONDS), BOUNDS).price >= asking.price * 1.01


def test_a_clock_that_was_set_back_keeps_no_price_away_for_longer() -> None:
    refused = move(Asking(20_000), look(0.0, DEAR, now=2e9), BOUNDS)
    asking = refused
    for _ in range(50):
        asking = move(asking, look(1.0, now=1e9), BOUNDS)

    assert asking.price > 20_000


def test_a_step_up_that_was_one_too_many_is_taken_back() -> None:
    up = move(Asking(20_000), look(1.0), BOUNDS)
    back = move(up, look(0.0, DEAR), BOUNDS)

    assert (up.price, back.price, back.refused) == (21_000, 20_000, 21_000)


def test_a_step_is_half_as_long_where_it_turns_round() -> None:
    up = move(Asking(100_000), look(1.0), BOUNDS)
    down = move(up, look(0.0, CHEAPER, others=[1]), BOUNDS)

    assert (up.step, down.step) == (500, 250)
    assert down.price == 105_000 - 2_625


askings = st.builds(
    Asking,
    st.integers(0, 2**63 - 1),
    step=st.integers(100, 500),
    direction=st.sampled_from((-1, 0, 1)),
    refused=st.none() | st.integers(0, 2**63 - 1),
    refused_until=st.floats(0, 10),
)
counts = st.integers(0, 2**63 - 1)
looks = st.builds(
    Look,
    st.floats(0, 10),
    st.floats(0, 1),
    st.lists(st.builds(Told, counts, counts, counts), max_size=4),
    st.lists(counts, max_size=4),
)
bounds = st.tuples(counts, counts).map(lambda pair: Bounds(min(pair), max(pair)))


@pytest.mark.slow
@settings(max_examples=60)
@given(askings, looks, bounds)
def test_whatever_proxies_say_a_price_stays_within_and_moves_by_one_step(
    asking: Asking, seen: Look, within: Bounds
) -> None:
    asking = replace(asking, price=within.within(asking.price))

    moved = move(asking, seen, within)

    assert within.floor <= moved.price <= within.ceiling
    assert abs(moved.price - asking.price) <= max(1, asking.price * 500 // 10_000)
    assert moved.price <= asking.price or seen.busy >= 0.85
    assert moved.price >= asking.price or seen.busy <= 0.50


# ---------------------------------------------------------------- many of them


class Town:
    """Workers that all follow the market, and clients that want the cheapest within their limits.

    Args:
        prices: Where each worker begins.
        slots: Of each.
    """

    def __init__(self, prices: Iterable[int], slots: int = 4) -> None:
        self.slots = slots
        self.now = 0.0
        self.asking = [Asking(price) for price in prices]
        self.past: list[tuple[int, ...]] = []

    @property
    def prices(self) -> tuple[int, ...]:
        return tuple(each.price for each in self.asking)

    def live(self, looks: int, limits: Sequence[int]) -> None:
        """Let time pass. `limits`: of those who each want a slot all the time."""
        for _ in range(looks):
            self.now += LOOK_SECONDS
            self._look(sorted(limits, reverse=True))
            self.past.append(self.prices)

    def _look(self, limits: Sequence[int]) -> None:
        prices, served = self.prices, [0.0] * len(self.asking)
        # The cheapest is filled first; those who ask the same share.
        gone = 0
        bought: list[int] = []
        for price in sorted(set(prices)):
            same = [worker for worker, asked in enumerate(prices) if asked == price]
            willing = bisect.bisect_right(limits, -price, key=operator.neg)
            sold = max(0, min(willing - gone, self.slots * len(same)))
            gone += sold
            bought += [price] * sold
            for worker in same:
                served[worker] = sold / len(same)
        lowest = min(prices)
        for worker, asking in enumerate(self.asking):
            told = Told(
                asked=len(limits) * 10,
                too_dear=(len(limits) - bisect.bisect_right(limits, -asking.price, key=operator.neg)) * 10,
                undercut=bisect.bisect_left(bought, asking.price) * 10,
            )
            seen = Look(self.now, served[worker] / self.slots, [told], [lowest])
            self.asking[worker] = move(asking, seen, BOUNDS)

    def changes(self, looks: int) -> int:
        """Count how often a worker changed its price lately."""
        lately = self.past[-looks:]
        return sum(
            one != other
            for before, after in itertools.pairwise(lately)
            for one, other in zip(before, after, strict=True)
        )


begins = st.lists(st.integers(BOUNDS.floor, BOUNDS.ceiling), min_size=2, max_size=6)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(begins)
def test_under_full_load_nobody_s_price_falls_and_all_rise_to_the_ceiling(prices: list[int]) -> None:
    town = Town(prices)

    town.live(120, limits=[10**9] * (4 * len(prices) + 4))

    assert all(after >= before for past, now in zip(town.past, town.past[1:], strict=False)
               for before, after in zip(past, now, strict=True))  # fmt: skip
    assert set(town.prices) == {BOUNDS.ceiling}


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(begins)
def test_without_demand_no_price_moves(prices: list[int]) -> None:
    town = Town(prices)

    town.live(50, limits=[])

    assert list(town.prices) == prices


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(begins)
def test_where_demand_is_a_third_of_the_supply_nobody_goes_below_where_the_cheapest_began(
    prices: list[int],
) -> None:
    town = Town(prices)

    town.live(400, limits=[10**9] * max(1, 4 * len(prices) // 3))

    assert min(min(past) for past in town.past) >= min(prices)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(20_000, 60_000), min_size=2, max_size=6), st.integers(30_000, 50_000))
def test_where_all_clients_have_one_limit_prices_settle_just_below_it(prices: list[int], limit: int) -> None:
    town = Town(prices)

    town.live(500, limits=[limit] * (4 * len(prices) + 2))

    # Once in some hours each tries the price again that proved too dear.
    lately = [price for past in town.past[-200:] for price in past]
    assert sum(0.85 * limit <= price <= limit for price in lately) >= 0.9 * len(lately)
    assert max(lately) <= 1.06 * limit
    assert town.changes(200) <= 0.2 * len(lately)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(begins)
def test_prices_settle_where_demand_falls_as_they_rise(prices: list[int]) -> None:
    town = Town(prices)
    want = 8 * len(prices)

    # Half of the clients would buy at a fifth of the ceiling, and all at the floor.
    town.live(600, limits=[5_000 + 70_000 * number // want for number in range(1, want + 1)])

    lately = town.past[-150:]
    assert town.changes(150) <= 0.2 * 150 * len(prices)
    assert all(BOUNDS.floor < price < BOUNDS.ceiling for past in lately for price in past)


# ---------------------------------------------------------------- what each class costs


def test_the_classes_that_follow_are_parts_of_what_a_completion_token_costs() -> None:
    plan = Plan(None, None, None, None, BOUNDS, 20_000)

    assert plan.at(plan.first) == Price(4_000, 1_000, 20_000, 20_000)


def test_what_is_fixed_stays_and_a_cached_token_is_never_dearer_than_a_prompt_s() -> None:
    assert Plan(None, 900, 7, None, BOUNDS, 20_000).at(3_000) == Price(600, 600, 7, 3_000)


@given(st.integers(0, 2**63 - 1), st.none() | counts, st.none() | counts)
def test_a_client_finds_every_price_fit_to_be_taken(
    level: int, prompt: int | None, cached: int | None
) -> None:
    price = Plan(prompt, cached, None, None, BOUNDS, 20_000).at(level)

    assert 0 <= price.cached <= price.prompt


PRICES = st.integers(0, 2**63 - 1)


@given(PRICES, st.none() | PRICES, st.integers(1, 2**63 - 1), PRICES, st.integers(1, 2**63 - 1))
def test_where_one_price_is_fixed_anew_the_others_keep_their_share_of_it(
    prompt: int, cached: int | None, completion: int, reasoning: int, anew: int
) -> None:
    plan = Plan(prompt, cached, completion, reasoning, Bounds(0, 2**63 - 1), completion)
    before = plan.at(plan.first)
    try:
        after = (fixed := plan.fixed_at(anew)).at(fixed.first)
    except ValueError:
        assert max(before.prompt, before.reasoning) * anew // completion > 2**63 - 1
        return

    assert after.completion == anew
    assert (after.prompt, after.reasoning) == (prompt * anew // completion, reasoning * anew // completion)
    assert after.cached == before.cached * anew // completion <= after.prompt
