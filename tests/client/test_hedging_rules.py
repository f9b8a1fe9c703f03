"""When a first token is late, and how often that is worth a second worker."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.client.hedging import FLOOR_SECONDS, SEEN_MAX, SEEN_MIN, Allowance, FirstTokens


@given(
    asks=st.lists(st.booleans(), max_size=300),
    share=st.integers(0, 1000),
)
def test_however_often_tokens_are_late_no_more_than_one_and_the_share_are_hedged(
    asks: list[bool], share: int
) -> None:
    allowance, hedged = Allowance(), 0
    for number, is_late in enumerate(asks, 1):
        allowance = allowance.asked(share)
        if is_late and (spent := allowance.hedged()) is not None:
            allowance, hedged = spent, hedged + 1
        assert hedged <= 1 + number * share // 1000


def test_what_was_not_used_is_not_saved_for_ever() -> None:
    allowance, hedged = Allowance(), 0
    for _ in range(1000):
        allowance = allowance.asked(100)
    while (spent := allowance.hedged()) is not None:
        allowance, hedged = spent, hedged + 1

    assert hedged == 5


def test_a_newcomer_goes_by_the_worker_s_word_and_nobody_is_late_before_the_floor() -> None:
    assert FirstTokens().late_after(2.0) == 6.0
    assert FirstTokens().late_after(0.0) == FLOOR_SECONDS


def test_what_always_takes_longer_than_was_said_is_not_late() -> None:
    seen = FirstTokens()
    for _ in range(SEEN_MIN):
        seen = seen.after(1.0, 30.0)

    assert seen.late_after(1.0) == 30.0


@given(st.lists(st.floats(0.01, 100), min_size=SEEN_MIN, max_size=2 * SEEN_MAX))
def test_one_in_twenty_of_what_was_seen_is_late_and_no_more(stretches: list[float]) -> None:
    seen = FirstTokens()
    for stretch in stretches:
        seen = seen.after(1.0, stretch)

    late = [stretch for stretch in seen.stretches if stretch > seen.late_after(1.0)]
    assert len(seen.stretches) == min(len(stretches), SEEN_MAX)
    assert len(late) <= len(seen.stretches) * 5 // 100 + 1
