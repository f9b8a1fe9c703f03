"""What requests that ran at once say about speed, by their times alone."""

import pytest

from cocoon_p2p.inference.measuring.timeline import Timeline, decode_rate, prefill_rate


def timeline(started: float, *steps: tuple[float, int], tokens: int = 100) -> Timeline:
    return Timeline(started, tokens, steps[0][0], steps)


def test_prompts_of_one_round_count_together_from_the_first_start_to_the_last_token() -> None:
    assert prefill_rate([timeline(0, (1, 1)), timeline(0, (4, 1))]) == 50


def test_cached_prompts_in_no_time_tell_nothing() -> None:
    assert prefill_rate([timeline(0, (1, 1), tokens=0)]) is None
    assert prefill_rate([timeline(0, (0, 1))]) is None


def test_writing_counts_while_all_write() -> None:
    # The second waits for its prompt until 10; the first is slowed down from then on.
    first = timeline(0, (1, 1), (9, 33), (10, 35), (14, 43), (15, 45))
    second = timeline(0, (10, 1), (14, 9))

    assert decode_rate([first, second]) == 2


def test_a_step_of_several_tokens_counts_them_all() -> None:
    assert decode_rate([timeline(0, (1, 4), (2, 8), (3, 12))]) == 4


def test_requests_that_took_turns_share_the_time() -> None:
    assert decode_rate([timeline(0, (1, 1), (5, 5)), timeline(0, (6, 1), (9, 5))]) == pytest.approx(8 / 8 / 2)


def test_an_answer_of_one_token_tells_nothing() -> None:
    assert decode_rate([timeline(0, (1, 1)), timeline(0, (1, 1), (2, 2))]) is None
