"""A worker at work, against reckoning by small steps of time."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from cocoon_p2p.testing.market.desk import Desk, Job
from tests.testing.market.small import MACHINE, job


def work_to_the_end(desk: Desk) -> None:
    while (due := desk.due()) is not None:
        desk.reach(due)


def test_a_request_that_is_alone_takes_what_its_prompt_and_answer_take() -> None:
    desk, alone = Desk(MACHINE), job(prompt=100, answer=10)

    desk.begin(alone, 5.0)
    work_to_the_end(desk)

    assert alone.first == pytest.approx(5.0 + 1.0 + 0.1)
    assert alone.ended == pytest.approx(5.0 + 1.0 + 1.0)


def test_every_slot_taken_slows_each_request_as_the_machine_says() -> None:
    desk, jobs = Desk(MACHINE), [job(prompt=100, answer=10) for _ in range(MACHINE.slots)]

    for each in jobs:
        desk.begin(each, 0.0)
    work_to_the_end(desk)

    assert [each.ended for each in jobs] == pytest.approx([4.0] * MACHINE.slots)


def test_who_comes_midway_slows_only_what_is_left() -> None:
    desk, first, second = Desk(MACHINE), job(), job()

    desk.begin(first, 0.0)
    desk.begin(second, 1.0)
    work_to_the_end(desk)

    # One of two others halves the pace by half: 1.5 times as long.
    assert first.ended == pytest.approx(1.0 + 1.0 * 1.5)
    assert second.ended == pytest.approx(2.5 + (2.0 - 1.5 / 1.5))


def test_an_answer_of_one_token_ends_with_its_first() -> None:
    desk, short = Desk(MACHINE), job(answer=1)

    desk.begin(short, 0.0)
    work_to_the_end(desk)

    assert short.first == short.ended == pytest.approx(1.1)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 400), st.integers(1, 40)), min_size=1, max_size=12))
def test_whoever_comes_and_goes_work_done_is_what_was_asked_and_no_slot_is_shared(
    arrivals: list[tuple[float, int, int]],
) -> None:
    desk, now, done = Desk(MACHINE), 0.0, list[Job]()
    for pause, prompt, answer in arrivals:
        now += pause
        while (due := desk.due()) is not None and due <= now:
            done += desk.reach(due)
        if not desk.is_full:
            desk.begin(job(prompt, answer), now)
        assert desk.running <= MACHINE.slots
    while (due := desk.due()) is not None:
        done += desk.reach(due)

    assert desk.running == 0
    asked = sum(MACHINE.seconds(each.wanted.prompt, each.wanted.answer) for each in done)
    taken = sum((each.ended or 0.0) - (each.began or 0.0) for each in done)
    assert desk.alone_seconds == pytest.approx(asked)
    assert desk.busy_slot_seconds == pytest.approx(taken)
    assert asked - 1e-6 <= taken <= 2 * asked + 1e-6
