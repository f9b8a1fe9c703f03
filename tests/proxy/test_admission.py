"""What a wait is expected to take, and what a client can do about it that is not its to do."""

from dataclasses import replace

import pytest

from cocoon_p2p.identity import PeerId
from cocoon_p2p.proxy.admission import Admission, Entry
from cocoon_p2p.scheduling import Prospect
from tests.scheduling.crowd import ASK

A, B = PeerId(b"a"), PeerId(b"b")


def new_lobby() -> Admission[int]:
    return Admission[int](waiting_max=100, per_client_max=50, wait_max_seconds=60.0)


def lobby() -> Admission[int]:
    """One in which enough has ended, as it was forecast."""
    admission = new_lobby()
    for _ in range(8):
        admission.began("m")
        admission.ended("m", forecast=8.0, held=8.0, now=0.0, waited=None)
    return admission


def enter(
    admission: Admission[int],
    client: PeerId = A,
    *,
    seconds: float = 8.0,
    slots: int = 4,
    wait_ms: int | None = 60_000,
) -> Entry[int]:
    ask = replace(ASK, deadline_ms=600_000, wait_ms=wait_ms)
    return admission.enter(ask, client, Prospect(slots, seconds), 0, 0.0)


def test_a_wait_is_what_is_ahead_and_one_more_turn_over_the_slots() -> None:
    admission = lobby()

    assert [enter(admission).wait_seconds for _ in range(3)] == [2, 4, 6]
    assert enter(admission, B).wait_seconds == 4, "behind one of the other's, which came first"


def test_slots_that_others_turn_over_are_not_counted() -> None:
    admission = lobby()
    admission.began("m")
    admission.began("m")

    assert enter(admission).wait_seconds == 4


def test_it_is_learnt_how_long_slots_are_taken() -> None:
    admission = new_lobby()
    for _ in range(50):
        admission.began("m")
        admission.ended("m", forecast=8.0, held=2.0, now=0.0, waited=None)

    assert enter(admission).wait_seconds == pytest.approx(0.5, rel=0.05)


def test_one_exchange_that_takes_for_ever_does_not_close_the_line() -> None:
    admission = lobby()
    for _ in range(10):
        admission.began("m")
        admission.ended("m", forecast=8.0, held=8.0, now=0.0, waited=None)

    admission.began("m")
    admission.ended("m", forecast=8.0, held=3_600.0, now=0.0, waited=None)

    assert enter(admission).wait_seconds < 4


def test_one_exchange_with_bounds_beyond_all_measure_makes_no_wait_look_short() -> None:
    admission = lobby()
    for _ in range(10):
        admission.began("m")
        admission.ended("m", forecast=8.0, held=8.0, now=0.0, waited=None)

    admission.began("m")
    admission.ended("m", forecast=1e12, held=0.1, now=0.0, waited=None)

    assert 1 < enter(admission).wait_seconds < 2


def test_what_is_given_up_at_once_makes_no_wait_look_short() -> None:
    admission = lobby()

    for _ in range(100):
        admission.began("m")
        admission.ended("m", forecast=None, held=0.0, now=0.0, waited=None)

    assert enter(admission).wait_seconds == 2


def test_who_takes_longer_than_expected_is_behind_for_it() -> None:
    admission = lobby()
    first = enter(admission)
    for _ in range(2):
        enter(admission)
        enter(admission, B)

    assert admission.take("m", lambda _: True) is first.waiting
    admission.began("m")
    admission.ended("m", forecast=8.0, held=30.0, now=0.0, waited=first.waiting)

    order = [waiting.client for waiting in iter(lambda: admission.take("m", lambda _: True), None)]
    assert order == [B, B, A, A]


def test_who_asks_for_one_at_a_time_is_behind_for_what_it_took_too() -> None:
    admission = lobby()
    first = enter(admission)
    for _ in range(6):
        enter(admission, B)
    assert admission.take("m", lambda _: True) is first.waiting
    admission.began("m")
    # By now it would have been its turn again.
    assert [admission.take("m", lambda _: True) is None for _ in range(3)] == [False] * 3

    admission.ended("m", forecast=8.0, held=30.0, now=0.0, waited=first.waiting)
    enter(admission)

    order = [waiting.client for waiting in iter(lambda: admission.take("m", lambda _: True), None)]
    assert order == [B, A, B, B]


def test_what_was_taken_when_nobody_waited_any_more_is_forgotten() -> None:
    admission = lobby()
    first = enter(admission)
    assert admission.take("m", lambda _: True) is first.waiting
    admission.began("m")
    enter(admission, B)
    enter(admission, B)

    admission.ended("m", forecast=8.0, held=30.0, now=0.0, waited=first.waiting)
    enter(admission)

    order = [waiting.client for waiting in iter(lambda: admission.take("m", lambda _: True), None)]
    assert order == [B, A, B]


def test_leaving_and_coming_back_gains_nothing() -> None:
    admission = lobby()
    for _ in range(3):
        enter(admission)
        enter(admission, B)
    last = enter(admission)

    before = last.wait_seconds
    for _ in range(5):
        assert last.waiting is not None
        admission.leave(last.waiting)
        last = enter(admission)

    assert last.wait_seconds == before


def test_a_price_of_time_is_told_to_who_does_not_wait() -> None:
    admission = lobby()

    entry = enter(admission, wait_ms=None)

    assert (entry.may_wait, entry.waiting, len(admission)) == (True, None, 0)
    assert entry.wait_seconds == 2


def test_while_nothing_has_ended_a_forecast_sends_nobody_away() -> None:
    admission = new_lobby()

    entries = [enter(admission, seconds=300.0, wait_ms=10_000) for _ in range(30)]

    assert all(entry.waiting is not None for entry in entries)
    assert {entry.wait_seconds for entry in entries} == {0.0}
    assert admission.late(9.9) == []
    assert len(admission.late(10.0)) == 30


def test_who_was_let_in_by_a_guess_is_judged_by_what_was_learnt_since() -> None:
    admission = new_lobby()
    for _ in range(30):
        enter(admission, seconds=8.0, wait_ms=10_000)

    for _ in range(20):
        admission.began("m")
        admission.ended("m", forecast=8.0, held=0.1, now=0.0, waited=None)
    assert admission.late(0.0) == []

    for _ in range(50):
        admission.began("m")
        admission.ended("m", forecast=8.0, held=80.0, now=0.0, waited=None)
    assert 0 < len(admission) - len(admission.late(0.0)) < 30
