"""Which points of a series are kept."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.explorer.thinning import (
    DAILY_SECONDS,
    DAY_SECONDS,
    HOUR_SECONDS,
    HOURLY_SECONDS,
    WHOLE_SECONDS,
    kept,
)

NOW = 1_800_000_000
AGES = st.one_of(
    st.integers(0, 2 * WHOLE_SECONDS),
    st.integers(0, HOURLY_SECONDS + 3 * DAY_SECONDS),
    st.integers(0, DAILY_SECONDS + 3 * DAY_SECONDS),
)
TIMES = st.sets(AGES.map(lambda age: NOW - age), max_size=200)


@settings(max_examples=40)
@given(TIMES)
def test_what_is_kept_was_there_and_all_of_the_last_day_is(times: set[int]) -> None:
    stays = kept(times, NOW)

    assert set(stays) <= times
    assert list(stays) == sorted(set(stays))
    assert {at for at in times if at > NOW - WHOLE_SECONDS} <= set(stays)


@settings(max_examples=40)
@given(TIMES)
def test_an_hour_and_a_day_that_are_old_keep_one_point_each(times: set[int]) -> None:
    stays = kept(times, NOW)

    hourly = [at for at in stays if NOW - HOURLY_SECONDS < at <= NOW - WHOLE_SECONDS]
    daily = [at for at in stays if at <= NOW - HOURLY_SECONDS]
    assert len({at // HOUR_SECONDS for at in hourly}) == len(hourly)
    assert len({at // DAY_SECONDS for at in daily}) == len(daily)
    assert all(at > NOW - DAILY_SECONDS for at in daily)


@settings(max_examples=40)
@given(TIMES)
def test_no_hour_and_no_day_within_the_span_is_left_without_a_point(times: set[int]) -> None:
    stays = kept(times, NOW)

    days = {at // DAY_SECONDS for at in times if at // DAY_SECONDS * DAY_SECONDS > NOW - DAILY_SECONDS}
    hours = {at // HOUR_SECONDS for at in times if NOW - HOURLY_SECONDS < at <= NOW - WHOLE_SECONDS}
    assert {at // DAY_SECONDS for at in stays} == days
    assert hours <= {at // HOUR_SECONDS for at in stays}


@settings(max_examples=40)
@given(TIMES, st.lists(st.integers(0, DAILY_SECONDS), max_size=6))
def test_it_makes_no_difference_when_and_how_often_it_was_thinned(times: set[int], spans: list[int]) -> None:
    stepwise = set(times)
    for span in sorted(spans):
        stepwise = set(kept(stepwise, NOW + span))
    last = NOW + max(spans, default=0)

    assert kept(stepwise, last) == kept(times, last)
