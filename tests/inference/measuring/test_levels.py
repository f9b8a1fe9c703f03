"""What the levels come to: slots that pay, and what is advertised."""

import pytest

from cocoon_p2p.inference.measuring.levels import (
    Level,
    Speeds,
    brings_nothing,
    concurrencies,
    slots_worth_having,
    speeds_at,
)


def level(concurrency: int, in_all: float | None, prefill: float = 100.0) -> Level:
    return Level(concurrency, prefill, None if in_all is None else in_all / concurrency, 0.1)


@pytest.mark.parametrize(
    ("slots", "levels"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (4, (1, 2, 4)),
        (6, (1, 2, 4, 6)),
        (33, (1, 2, 4, 8, 16, 32, 33)),
    ],
)
def test_load_doubles_up_to_the_slots(slots: int, levels: tuple[int, ...]) -> None:
    assert concurrencies(slots) == levels


def test_as_many_slots_are_worth_having_as_bring_more() -> None:
    rising = (level(1, 10), level(2, 19), level(4, 30))

    assert slots_worth_having(rising, 4) == 4
    assert slots_worth_having((*rising[:2], level(4, 20)), 4) == 2
    assert slots_worth_having((level(1, 10), level(2, 9)), 2) == 1
    assert slots_worth_having((level(1, 10), level(2, 9), level(4, 20)), 4) == 4


def test_two_levels_that_bring_nothing_end_it_but_one_does_not() -> None:
    one = (level(1, 10), level(2, 9))
    two = (*one, level(4, 11))

    assert not brings_nothing(one[:1])
    assert not brings_nothing(one)
    assert brings_nothing(two)
    assert not brings_nothing((*one, level(4, 12)))
    assert slots_worth_having(two, 64) == 1


def test_what_was_not_tried_is_not_said() -> None:
    assert slots_worth_having((level(1, 10), level(2, 19)), 8) is None
    assert slots_worth_having((level(1, 10), level(2, 9)), 8) is None


def test_a_model_that_writes_nothing_is_judged_by_what_it_reads() -> None:
    assert slots_worth_having((level(1, None, 100), level(2, None, 110)), 2) == 1
    assert slots_worth_having((level(1, None, 100), level(2, None, 150)), 2) == 2


def test_speeds_are_those_of_one_and_of_all_slots() -> None:
    tried = (level(1, 10, 90), level(2, 19, 120), level(4, 32, 130))

    assert speeds_at(tried, 4) == Speeds(90, 10, 8)
    assert speeds_at(tried, 2) == Speeds(90, 10, 9.5)
    assert speeds_at(tried, 1) == Speeds(90, 10, 10)
    assert speeds_at((level(1, None, 90),), 1) == Speeds(90)


def test_more_slots_than_were_tried_share_what_there_was() -> None:
    assert speeds_at((level(1, 10), level(2, 12)), 4) == Speeds(100, 10, 3)
