import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cocoon_p2p.protocols.ids import REPLAY_WINDOW
from cocoon_p2p.sealing import ReplayWindow


class Window(RuleBasedStateMachine):
    """However numbers come, the window says what a set of all that were seen would say."""

    SIZE = 16

    def __init__(self) -> None:
        super().__init__()
        self.window = ReplayWindow(self.SIZE)
        self.seen: set[int] = set()

    def is_fresh(self, number: int) -> bool:
        return number not in self.seen and number > max(self.seen, default=-1) - self.SIZE

    @rule(number=st.integers(0, 2**63 - 1))
    def comes_from_anywhere(self, number: int) -> None:
        self.comes(number)

    @precondition(lambda self: self.seen)
    @rule(offset=st.integers(-20, 40))
    def comes_from_nearby(self, offset: int) -> None:
        self.comes(max(0, max(self.seen) + offset))

    def comes(self, number: int) -> None:
        assert self.window.is_fresh(number) == self.is_fresh(number)
        if self.is_fresh(number):
            self.window.mark(number)
            self.seen.add(number)

    @invariant()
    def the_numbers_around_the_highest_are_told_apart(self) -> None:
        highest = max(self.seen, default=-1)
        for number in range(max(0, highest - 20), highest + 20):
            assert self.window.is_fresh(number) == self.is_fresh(number)


@pytest.mark.slow
class TestWindow(Window.TestCase):  # type: ignore[valid-type, misc]  # a class that Hypothesis builds
    settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.slow
@given(numbers=st.lists(st.integers(0, 3 * REPLAY_WINDOW), max_size=200))
@settings(deadline=None)
def test_the_protocols_window_says_what_a_set_would_say(numbers: list[int]) -> None:
    window, seen = ReplayWindow(), set[int]()

    for number in numbers:
        fresh = number not in seen and number > max(seen, default=-1) - REPLAY_WINDOW
        assert window.is_fresh(number) == fresh
        if fresh:
            window.mark(number)
            seen.add(number)


def test_the_window_ends_where_the_protocol_says() -> None:
    window = ReplayWindow()
    window.mark(REPLAY_WINDOW)

    assert window.is_fresh(1)
    assert not window.is_fresh(0)


def test_a_leap_of_any_width_costs_no_memory() -> None:
    window = ReplayWindow()
    window.mark(0)
    window.mark(2**63 - 1)

    assert window._seen.bit_length() <= REPLAY_WINDOW
    assert not window.is_fresh(0)
    assert window.is_fresh(2**63 - 2)
