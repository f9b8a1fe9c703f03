"""What requests see corrects what is advertised: not at once, not often, and not by one freak."""

import math
from dataclasses import astuple
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.measuring.drift import (
    HALF_LIFE_SECONDS,
    OFF_FOR_SECONDS,
    PAUSE_SECONDS,
    Decayed,
    Drift,
    expected_decode,
    observe,
)
from cocoon_p2p.inference.measuring.levels import Speeds
from cocoon_p2p.inference.measuring.stopwatch import Observation

STATED = Speeds(prefill=1000, decode=40, decode_full=10)
SLOTS = 4


def after(
    drift: Drift, seconds: float, seen: Observation, *, every: float = 5.0, begin: float = 0.0
) -> Drift:
    """Let one such request come every few seconds."""
    for number in range(int(seconds / every) + 1):
        drift = observe(drift, seen, begin + number * every)
    return drift


@pytest.fixture
def drift() -> Drift:
    return Drift(STATED, SLOTS, stated_at=0.0)


def test_what_is_as_stated_stays_stated(drift: Drift) -> None:
    drift = after(drift, 2000, Observation(1, 1100, 36))

    assert drift.stated is STATED


def test_what_is_off_for_long_is_stated_anew(drift: Drift) -> None:
    drift = after(drift, PAUSE_SECONDS, Observation(1, 500, 20))

    assert astuple(drift.stated) == pytest.approx((500, 20, 5))
    assert drift.stated_at == PAUSE_SECONDS


def test_only_what_is_off_is_corrected(drift: Drift) -> None:
    drift = after(drift, PAUSE_SECONDS, Observation(1, None, 80))

    assert astuple(drift.stated) == pytest.approx((1000, 80, 20))


@pytest.mark.parametrize(
    ("running", "expected"), [(1, 40), (2, 1 / (2 / 3 / 40 + 1 / 3 / 10)), (4, 10), (9, 10)]
)
def test_more_load_is_no_drift(drift: Drift, running: int, expected: float) -> None:
    assert expected_decode(STATED, SLOTS, running) == pytest.approx(expected)
    assert after(drift, 2000, Observation(running, None, expected)).stated is STATED


def test_one_slot_has_one_speed() -> None:
    assert expected_decode(Speeds(1, 5, 5), 1, 1) == 5


def test_a_model_that_writes_nothing_drifts_in_reading_alone() -> None:
    drift = after(Drift(Speeds(1000), SLOTS, 0.0), PAUSE_SECONDS, Observation(1, 500, 20))

    assert drift.stated.prefill == pytest.approx(500)
    assert (drift.stated.decode, drift.stated.decode_full) == (None, None)


def test_a_burst_among_many_is_no_drift(drift: Drift) -> None:
    drift = after(drift, PAUSE_SECONDS, Observation(1, None, 40))

    drift = after(drift, 15, Observation(1, None, 20), begin=PAUSE_SECONDS + 5)

    assert drift.off_since is None


def test_what_is_off_must_stay_off() -> None:
    slow, quick = Observation(1, None, 20), Observation(1, None, 80)
    drift = after(Drift(STATED, SLOTS, stated_at=-PAUSE_SECONDS), OFF_FOR_SECONDS, slow)
    # It took five requests before there was an average at all.
    assert drift.off_since is not None
    assert drift.stated is STATED

    assert after(drift, 60, slow, begin=OFF_FOR_SECONDS + 5).stated != STATED
    right = after(drift, 60, quick, begin=OFF_FOR_SECONDS + 1, every=4)
    assert right.off_since is None
    assert right.stated is STATED


def test_nothing_is_stated_twice_within_the_pause(drift: Drift) -> None:
    stated: list[float] = []
    for second in range(4000):
        # Twice as quick as ever before, for ever.
        rate = (drift.stated.decode or 0) * 2
        found = observe(drift, Observation(1, None, rate), float(second))
        if found.stated != drift.stated:
            stated.append(second)
        drift = found

    assert len(stated) > 10
    assert all(later - earlier >= PAUSE_SECONDS for earlier, later in pairwise(stated))


def test_a_few_requests_of_long_ago_are_no_drift(drift: Drift) -> None:
    for number in range(40):
        drift = observe(drift, Observation(1, None, 20), number * HALF_LIFE_SECONDS)

    assert drift.stated is STATED


def test_one_freak_does_not_move_the_average_far(drift: Drift) -> None:
    drift = after(drift, 200, Observation(1, None, 40), every=1.0)
    drift = observe(drift, Observation(1, None, 1e12), 201)

    assert (drift.decode.ratio_at(201) or 0) < 1.02


rates = st.floats(1e-9, 1e12) | st.none()


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 300), rates, rates), max_size=60))
def test_whatever_comes_the_speeds_stay_positive_and_finite(
    seen: list[tuple[float, float, float | None, float | None]],
) -> None:
    drift, now = Drift(STATED, SLOTS, 0.0), 0.0
    for passed, running, prefill, decode in seen:
        now += passed
        drift = observe(drift, Observation(running, prefill, decode), now)

        speeds = (drift.stated.prefill, drift.stated.decode or 0, drift.stated.decode_full or 0)
        assert all(math.isfinite(speed) and speed > 0 for speed in speeds)


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0.1, 10)), min_size=1, max_size=30))
def test_an_average_lies_among_what_it_is_of(seen: list[tuple[float, float]]) -> None:
    average, now = Decayed(), 0.0
    for passed, ratio in seen:
        now += passed
        average = average.add(ratio, now)

    assert min(max(1 / 4, min(ratio for _, ratio in seen)), 4) * 0.999 <= math.exp(average.mean)
    assert math.exp(average.mean) <= max(min(4, max(ratio for _, ratio in seen)), 1 / 4) * 1.001
    assert average.weight_at(now) <= len(seen) + 1e-9
