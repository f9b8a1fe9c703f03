"""When a dead child is followed by another."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.isolated.lives import (
    DEATHS_MAX,
    REST_FIRST_SECONDS,
    REST_LAST_SECONDS,
    STEADY_SECONDS,
    Lives,
    died,
    opened,
)


def test_rests_double_up_to_a_bound() -> None:
    lives = Lives()
    rests: list[float] = []
    while not (lives := died(lives, 0.0)).is_given_up:
        rests.append(lives.rest_seconds)

    assert rests == [min(REST_FIRST_SECONDS * 2**n, REST_LAST_SECONDS) for n in range(DEATHS_MAX - 1)]


def test_a_death_after_a_long_service_begins_a_new_row() -> None:
    lives = Lives(deaths=DEATHS_MAX - 1)

    lives = died(opened(lives, 100.0), 100.0 + STEADY_SECONDS)

    assert lives.deaths == 1


def test_a_death_soon_after_the_start_continues_the_row() -> None:
    lives = died(opened(Lives(deaths=2), 100.0), 99.9 + STEADY_SECONDS)

    assert lives.deaths == 3


def test_a_start_that_fails_continues_the_row_however_long_it_took() -> None:
    lives = died(opened(Lives(), 0.0), 1.0)

    assert died(lives, 1e6).deaths == 2


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1000)), max_size=50))
def test_it_is_given_up_after_so_many_deaths_without_a_long_service_between(
    story: list[tuple[bool, float]],
) -> None:
    lives, now, row = Lives(), 0.0, 0
    for has_opened, seconds in story:
        begun = now
        if has_opened:
            lives = opened(lives, begun)
        now += seconds
        lives = died(lives, now)
        row = 1 if has_opened and now - begun >= STEADY_SECONDS else row + 1

        assert lives.deaths == row
        assert lives.is_given_up is (row >= DEATHS_MAX)
        assert REST_FIRST_SECONDS <= lives.rest_seconds <= REST_LAST_SECONDS
