"""A bot says no more than Telegram takes, and is silent for as long as it is told."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.telegram.pace import METERS_MAX, Meter, Pace, Rate

RATES = st.builds(Rate, st.floats(0.01, 10), st.integers(1, 6))


@given(RATES, st.lists(st.floats(0, 5), min_size=1, max_size=60), st.integers(0, 3))
def test_who_waits_as_told_never_says_more_than_its_rate(
    rate: Rate, pauses: list[float], spared: int
) -> None:
    meter, now = Meter(rate), 1000.0
    times: list[float] = []

    for pause in pauses:
        now += pause
        now += meter.delay(now, spared)
        meter = meter.taken(now)
        times.append(now)

    for first, begun in enumerate(times):
        for count, ended in enumerate(times[first:], 1):
            # What is a burst at once, and one each gap after it.
            assert count <= rate.burst + (ended - begun) / rate.gap_seconds + 1e-6


@given(RATES, st.floats(0, 100))
def test_nobody_waits_who_was_silent_long_enough(rate: Rate, now: float) -> None:
    meter = Meter(rate)
    for _ in range(rate.burst):
        meter = meter.taken(now)

    assert meter.delay(now + rate.burst * rate.gap_seconds + 1e-6) == 0


@given(RATES, st.floats(0, 100), st.floats(0, 100))
def test_a_chat_that_was_told_to_be_silent_is(rate: Rate, now: float, until: float) -> None:
    meter = Meter(rate).silenced(until).silenced(until / 2)

    assert now + meter.delay(now) >= until - 1e-9


def test_frames_leave_something_for_what_must_be_said() -> None:
    meter = Meter(Rate(1.0, burst=2)).taken(0.0)

    assert meter.delay(0.0) == 0
    assert meter.delay(0.0, spared=1) == 1.0


def test_one_chat_s_silence_is_not_another_s() -> None:
    pace, rate = Pace(), Rate(1.0)

    pace.silence((1, 7), rate, 60.0)

    assert pace.delay({(1, 7): rate, (1,): rate}, 0.0) == 60.0
    assert pace.delay({(1, 8): rate, (1,): rate}, 0.0) == 0


def test_chats_without_number_take_no_memory_without_number() -> None:
    pace, rate = Pace(), Rate(1.0)

    for chat in range(2 * METERS_MAX):
        pace.take({(1, chat): rate}, 0.0)

    assert len(pace._meters) <= METERS_MAX  # pyright: ignore[reportPrivateUsage]  # what it takes is not to be seen
    assert pace.delay({(1, 2 * METERS_MAX - 1): rate}, 0.0) == 1.0
