"""What a window was heard to say, and where the next begins."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.whisper.windows import STEPS_HEARD_MIN, read_window

FIRST_MARK = 1000
WINDOW = 3000


def at(seconds: float) -> int:
    return FIRST_MARK + round(seconds * 50)


def test_text_between_marks_is_a_segment_and_an_end_alone_ends_the_window() -> None:
    tokens = [at(0), 1, 2, at(2.4), at(2.4), 3, at(29)]

    heard = read_window(tokens, first_mark=FIRST_MARK, steps=WINDOW)

    assert heard.segments == ((1, 2), (3,))
    assert heard.steps == WINDOW


def test_what_was_broken_off_is_heard_again_from_where_it_began() -> None:
    tokens = [at(0), 1, at(12), at(12), 2, 3]

    heard = read_window(tokens, first_mark=FIRST_MARK, steps=WINDOW)

    assert heard.segments == ((1,),)
    assert heard.steps == 1200


def test_a_window_that_ends_with_a_pair_of_marks_goes_on_from_there() -> None:
    heard = read_window([at(0), 1, at(28), at(28)], first_mark=FIRST_MARK, steps=WINDOW)

    assert (heard.segments, heard.steps) == (((1,),), 2800)


def test_what_would_cost_more_than_it_is_paid_for_is_taken_as_it_is() -> None:
    tokens = [at(0), 1, at(0.1), at(0.1), 2, 3]

    heard = read_window(tokens, first_mark=FIRST_MARK, steps=WINDOW)

    assert (heard.segments, heard.steps) == (((1,), (2, 3)), WINDOW)


def test_marks_beyond_the_end_of_the_sound_end_it() -> None:
    tokens = [at(0), 1, at(20), at(20), 2]

    heard = read_window(tokens, first_mark=FIRST_MARK, steps=1500)

    assert (heard.segments, heard.steps) == (((1,), (2,)), 1500)


def test_silence_is_a_window_without_segments() -> None:
    heard = read_window([], first_mark=FIRST_MARK, steps=WINDOW)

    assert (heard.segments, heard.steps) == ((), WINDOW)


@given(st.lists(st.integers(0, 2500), max_size=40), st.integers(1, WINDOW))
def test_every_window_moves_on_far_enough_and_makes_nothing_up(tokens: list[int], steps: int) -> None:
    heard = read_window(tokens, first_mark=FIRST_MARK, steps=steps)

    assert min(STEPS_HEARD_MIN, steps) <= heard.steps <= steps
    said = [token for segment in heard.segments for token in segment]
    assert said == [token for token in tokens if token < FIRST_MARK][: len(said)]
    assert all(heard.segments)
