"""Whole characters and stop strings, however an engine cuts its output."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.text import AnswerText, Delivery

# A small alphabet makes stop strings meet, overlap and begin inside one another; its
# characters take one to four bytes.
TEXTS = st.text("ab<é→🦋", max_size=40)
STOPS = st.lists(st.text("ab<é→🦋", min_size=1, max_size=4), max_size=3).map(tuple)
CUTS = st.lists(st.integers(0, 160), max_size=40)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(at for at in cuts if at < len(data))})
    return [data[a:b] for a, b in pairwise(edges)]


def deliver(steps: list[bytes], stop: tuple[str, ...] = ()) -> list[Delivery]:
    """Run an answer through as an engine would, one token a step, up to its stop or its end."""
    text, deliveries = AnswerText(stop), list[Delivery]()
    for tokens, step in enumerate(steps, start=1):
        text, delivery = text.feed(step, tokens)
        deliveries.append(delivery)
        if delivery.stopped:
            return deliveries
    return [*deliveries, text.end()]


def spoken(deliveries: list[Delivery]) -> str:
    return "".join(delivery.text for delivery in deliveries)


def expected(text: str, stop: tuple[str, ...]) -> str:
    """Rule 3 by brute force: read on character by character until some stop string is complete."""
    for end in range(len(text) + 1):
        complete = [string for string in stop if text[:end].endswith(string)]
        if complete:
            return text[: end - max(map(len, complete))]
    return text


@given(TEXTS, STOPS, CUTS)
def test_the_delivered_text_does_not_depend_on_how_the_engine_cuts_it(
    text: str, stop: tuple[str, ...], cuts: list[int]
) -> None:
    steps = cut(text.encode(), cuts)

    delivered = spoken(deliver(steps, stop))

    assert delivered == expected(text, stop)
    assert not any(string in delivered for string in stop)


@given(st.binary(max_size=30), CUTS)
def test_bytes_that_are_no_text_are_delivered_as_replacement_characters(data: bytes, cuts: list[int]) -> None:
    delivered = spoken(deliver(cut(data, cuts)))

    whole = data.decode("utf-8", "replace")
    assert delivered == whole or delivered == whole.removesuffix("\ufffd")


@given(TEXTS, STOPS, CUTS)
def test_a_piece_ends_where_a_token_ends_unless_it_is_the_last(
    text: str, stop: tuple[str, ...], cuts: list[int]
) -> None:
    steps = cut(text.encode(), cuts)

    deliveries = deliver(steps, stop)

    ends = {len(b"".join(steps[:count])) for count in range(len(steps) + 1)}
    sent = 0
    for delivery in deliveries[:-1]:
        sent += len(delivery.text.encode())
        assert sent in ends


@given(TEXTS, STOPS, CUTS)
def test_the_count_is_that_of_the_tokens_of_which_some_text_was_delivered(
    text: str, stop: tuple[str, ...], cuts: list[int]
) -> None:
    steps = cut(text.encode(), cuts)

    deliveries = deliver(steps, stop)

    sent, starts = 0, [len(b"".join(steps[:count])) for count in range(len(steps))]
    for delivery in deliveries:
        sent += len(delivery.text.encode())
        assert delivery.completion_tokens == sum(1 for start in starts if start < sent)


@pytest.mark.parametrize(
    ("steps", "stop", "texts", "counts"),
    [
        (["one", " two"], (), ["one", " two", ""], [1, 2, 2]),
        (["Hello", " EN", "D more"], (" END",), ["Hello", "", ""], [1, 1, 1]),
        (["Hello", " EN", "ough"], (" END",), ["Hello", "", " ENough", ""], [1, 1, 3, 3]),
        (["Hello", " EN"], (" END",), ["Hello", "", " EN"], [1, 1, 2]),
        (["well. ST", "OP"], ("STOP",), ["", "well. "], [0, 1]),
        (["ab", "c"], ("abc", "b"), ["a"], [1]),
        (["anything"], ("",), ["anything", ""], [1, 1]),
    ],
)
def test_what_a_stop_string_may_hold_back_is_neither_delivered_nor_counted(
    steps: list[str], stop: tuple[str, ...], texts: list[str], counts: list[int]
) -> None:
    deliveries = deliver([step.encode() for step in steps], stop)

    assert [delivery.text for delivery in deliveries] == texts
    assert [delivery.completion_tokens for delivery in deliveries] == counts


def test_a_character_that_three_tokens_spell_is_delivered_and_counted_with_the_third() -> None:
    first, second, third = b"\xf0", b"\x9f\xa6", b"\x8b"

    deliveries = deliver([first, second, third])

    assert deliveries == [Delivery("", 0), Delivery("", 0), Delivery("🦋", 3), Delivery("", 3)]


def test_a_character_that_is_never_finished_is_dropped_and_not_counted() -> None:
    assert deliver([b"yes", b"\xf0\x9f"])[-1] == Delivery("", 1)


def test_an_empty_token_that_ends_an_answer_is_counted() -> None:
    assert deliver([b"yes", b""])[-1] == Delivery("", 2)
