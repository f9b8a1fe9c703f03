"""A paid request tells of its engine only where nothing else held it up."""

from cocoon_p2p.inference.measuring.stopwatch import Observation, Stopwatch


def watch(*, running: int = 1, tokens: int = 20, prompt: int = 100, waits: float = 0.0) -> Observation:
    """A request that starts at 10, has its first token at 12, and one each half second."""
    watch = Stopwatch(10.0, running)
    for count in range(1, tokens + 1):
        watch.stepped(12.0 + (count - 1) / 2, count, prompt, running)
        watch.waited(waits)
    return watch.read(running)


def test_a_request_that_was_alone_tells_both() -> None:
    assert watch() == Observation(1, 50, 2)


def test_a_prompt_beside_others_or_a_short_one_tells_nothing() -> None:
    assert watch(running=2) == Observation(2, None, 2)
    assert watch(prompt=60) == Observation(1, None, 2)


def test_a_short_answer_tells_nothing() -> None:
    assert watch(tokens=16) == Observation(1, 50, None)
    assert watch(tokens=0) == Observation(1, None, None)


def test_vectors_without_a_token_tell_how_their_texts_were_read() -> None:
    watch = Stopwatch(0.0, 1)
    watch.stepped(2.0, 0, 100, 1)

    assert watch.read(1) == Observation(1, 50, None)


def test_an_answer_that_was_held_back_until_it_was_whole_tells_nothing() -> None:
    watch = Stopwatch(0.0, 1)
    watch.stepped(4.3, 200, 100, 1)

    assert watch.read(1) == Observation(1, None, None)


def test_an_answer_that_waited_for_its_reader_tells_nothing() -> None:
    assert watch(waits=0.04) == Observation(1, 50, 2)
    assert watch(waits=0.06) == Observation(1, 50, None)


def test_waits_before_the_first_token_are_the_engines() -> None:
    watch = Stopwatch(0.0, 1)
    watch.waited(5.0)
    for count in range(1, 18):
        watch.stepped(10.0 + count, count, 100, 1)

    assert watch.read(1).decode == 1


def test_load_is_what_was_there_on_the_average() -> None:
    watch = Stopwatch(0.0, 1)
    assert watch.read(4) == Observation(2.5, None, None)


def test_an_answer_in_one_bunch_tells_nothing() -> None:
    watch = Stopwatch(0.0, 1)
    watch.stepped(0.0, 1, 100, 1)
    watch.stepped(0.09, 50, 100, 1)

    assert watch.read(1) == Observation(1, None, None)
