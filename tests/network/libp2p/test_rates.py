"""Token buckets: never more than burst and rate allow, and whoever waits as long as it is told is in time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.network.libp2p.rates import REMEMBERED_MAX, Bucket, Rate, Shares

TEN_A_SECOND = Rate(per_second=10, burst=5)
LOOSE = 1e-6

rates = st.builds(Rate, st.floats(0.5, 1000), st.floats(1, 1000))
uses = st.lists(st.tuples(st.floats(0, 10), st.integers(1, 20)), max_size=40)


def test_a_burst_is_free_and_what_follows_is_early_by_its_share() -> None:
    bucket = Bucket(TEN_A_SECOND)

    assert [round(bucket.use(1, 100.0), 6) for _ in range(7)] == [0, 0, 0, 0, 0, 0.1, 0.2]
    assert round(bucket.seconds_early(1, 100.0), 6) == 0.3
    assert bucket.seconds_early(1, 100.4) == 0


def test_asking_uses_nothing() -> None:
    bucket = Bucket(TEN_A_SECOND)

    assert [bucket.seconds_early(5, 0.0) for _ in range(10)] == [0] * 10


def test_an_idle_bucket_saves_up_no_more_than_its_burst() -> None:
    bucket = Bucket(TEN_A_SECOND)
    bucket.use(5, 0.0)

    assert bucket.use(5, 1_000_000.0) == 0
    assert bucket.use(1, 1_000_000.0) > 0


def test_a_rate_without_end_bounds_nothing() -> None:
    bucket = Bucket(Rate(math.inf, 1))

    assert [bucket.use(1_000_000, 0.0) for _ in range(3)] == [0, 0, 0]


@given(rates, uses)
def test_whoever_waits_as_told_never_uses_more_than_rate_and_burst(
    rate: Rate, steps: list[tuple[float, int]]
) -> None:
    bucket, now, used = Bucket(rate), 0.0, 0.0
    for pause, count in steps:
        now += pause
        count = min(count, int(rate.burst))
        wait = bucket.seconds_early(count, now)
        now += wait
        assert bucket.use(count, now) <= LOOSE
        used += count
        assert used <= rate.burst + rate.per_second * now + LOOSE * (1 + used)


@given(rates, uses)
def test_whoever_stays_below_the_rate_never_waits(rate: Rate, steps: list[tuple[float, int]]) -> None:
    bucket, now = Bucket(rate), 0.0
    for pause, _ in steps:
        now += pause + 1 / rate.per_second

        assert bucket.use(1, now) <= LOOSE


@given(rates, uses)
def test_a_use_that_was_too_early_is_paid_for_by_waiting_as_long_as_it_says(
    rate: Rate, steps: list[tuple[float, int]]
) -> None:
    bucket, now, used = Bucket(rate), 0.0, 0.0
    for pause, count in steps:
        now += pause
        now += bucket.use(count, now)
        used += count

        assert used <= rate.burst + rate.per_second * now + LOOSE * (1 + used)


def test_one_who_uses_all_of_its_own_leaves_the_others_theirs() -> None:
    shares = Shares(in_all=Rate(100, 20), each=Rate(10, 5))
    while not shares.seconds_early("greedy", 0.0):
        shares.use("greedy", 1, 0.0)

    assert [shares.use("modest", 1, 0.0) for _ in range(5)] == [0] * 5


def test_all_together_use_no_more_than_there_is_for_all() -> None:
    shares = Shares(in_all=Rate(100, 20), each=Rate(10, 5))

    assert [shares.use(number, 1, 0.0) for number in range(20)] == [0] * 20
    assert round(shares.seconds_early("anybody", 0.0), 6) == 0.01
    assert round(shares.use("anybody", 3, 0.0), 6) == 0.03


def test_who_stands_apart_is_bounded_by_its_own_rate_and_takes_nothing_from_the_others() -> None:
    shares = Shares(in_all=Rate(1, 1), each=Rate(10, 5))
    shares.use("anybody", 1, 0.0)

    assert [shares.use("apart", 1, 0.0, apart=True) for _ in range(5)] == [0] * 5
    assert round(shares.use("apart", 1, 0.0, apart=True), 6) == 0.1
    assert shares.seconds_early("another", 0.0) == 1


def test_who_used_least_lately_comes_first() -> None:
    shares = Shares(in_all=Rate(100, 20), each=Rate(10, 5))
    shares.use("twice", 2, 0.0)
    shares.use("once", 1, 0.0)

    assert sorted(["twice", "once", "never"], key=shares.whole_at) == ["never", "once", "twice"]


def test_no_number_of_names_makes_it_remember_more() -> None:
    shares = Shares(in_all=Rate(1e9, 1e9), each=TEN_A_SECOND)
    for number in range(3 * REMEMBERED_MAX):
        shares.use(number, 1, 0.0)

    assert len(shares._buckets) == REMEMBERED_MAX
    assert shares.whole_at(3 * REMEMBERED_MAX - 1) > 0
