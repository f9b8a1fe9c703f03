"""Whose prompt a slot's state may serve."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.cache_slots import CacheSlots, Claim, cache_slots

SCOPES = st.sampled_from([b"", b"anna", b"boris"])
PROMPTS = st.lists(st.integers(0, 1), min_size=1, max_size=6)


def claimed(table: CacheSlots, scope: bytes, prompt: list[int]) -> tuple[CacheSlots, Claim]:
    """Claim a slot and give it back at once."""
    table, claim = table.claim(scope, prompt)
    return table.release(claim.slot), claim


def test_a_prompt_that_begins_alike_is_reused_within_its_scope() -> None:
    table, first = claimed(cache_slots(3), b"anna", [1, 2, 3, 4])

    assert table.cached_tokens(b"anna", [1, 2, 3, 9, 9]) == 3
    assert table.claim(b"anna", [1, 2, 3, 9, 9])[1] == Claim(first.slot, may_reuse=True)


def test_another_scope_reuses_nothing_even_of_an_equal_prompt() -> None:
    table, _ = claimed(cache_slots(1), b"anna", [1, 2, 3])

    assert table.cached_tokens(b"boris", [1, 2, 3]) == 0
    assert table.claim(b"boris", [1, 2, 3])[1] == Claim(0, may_reuse=False)


def test_requests_without_a_scope_reuse_nothing_of_each_other() -> None:
    table, _ = claimed(cache_slots(1), b"", [1, 2, 3])

    assert table.cached_tokens(b"", [1, 2, 3]) == 0
    assert table.claim(b"", [1, 2, 3])[1].may_reuse is False


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    table, _ = claimed(cache_slots(1), b"anna", [1, 2, 3])

    assert table.cached_tokens(b"anna", [1, 2, 3]) == 2


def test_the_slot_that_saves_most_is_taken_else_the_one_unused_for_longest() -> None:
    table, short = claimed(cache_slots(2), b"anna", [1, 2])
    table, other = table.claim(b"anna", [7])
    table = table.release(other.slot)

    assert table.claim(b"anna", [1, 2, 3])[1].slot == short.slot
    assert table.claim(b"boris", [1])[1].slot == short.slot


def test_a_busy_slot_is_neither_taken_nor_counted_on() -> None:
    table, first = cache_slots(2).claim(b"anna", [1, 2, 3])

    assert table.cached_tokens(b"anna", [1, 2, 3]) == 0
    assert table.claim(b"anna", [1, 2, 3])[1] == Claim(1 - first.slot, may_reuse=False)


@given(st.lists(st.tuples(SCOPES, PROMPTS, st.booleans()), max_size=30))
def test_however_requests_come_a_slot_serves_one_at_a_time_and_reuse_stays_in_its_scope(
    requests: list[tuple[bytes, list[int], bool]],
) -> None:
    """The table is compared with a plain record of who was in which slot last."""
    table, busy, last = cache_slots(3), set[int](), dict[int, tuple[bytes, list[int]]]()
    for scope, prompt, leaves_at_once in requests:
        if len(busy) == 3:
            table = table.release(busy.pop())

        cached = table.cached_tokens(scope, prompt)
        table, claim = table.claim(scope, prompt)

        assert claim.slot not in busy
        owner, before = last.get(claim.slot, (b"", []))
        common = next((at for at, (a, b) in enumerate(zip(before, prompt, strict=False)) if a != b), None)
        common = min(len(before), len(prompt)) if common is None else common
        if claim.may_reuse:
            assert scope
            assert owner == scope
            assert cached == min(common, len(prompt) - 1)
        else:
            assert cached == 0
        last[claim.slot] = scope, prompt
        busy.add(claim.slot)
        if leaves_at_once:
            table = table.release(claim.slot)
            busy.discard(claim.slot)
