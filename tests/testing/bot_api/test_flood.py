"""Flood control, reckoned without a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.testing.bot_api.flood import UNLIMITED, FloodControl, FloodLimits

GROUP = -100
PRIVATE = 7


def test_a_chat_takes_a_burst_and_then_a_message_a_second() -> None:
    flood = FloodControl(FloodLimits(chat_burst=3))

    assert [flood.send(PRIVATE, 10.0) for _ in range(4)] == [0, 0, 0, 1]
    assert flood.send(PRIVATE, 10.9) == 1
    assert flood.send(PRIVATE, 11.0) == 0
    assert flood.send(PRIVATE, 11.0) == 1


def test_an_edit_is_counted_as_a_message_in_the_same_chat() -> None:
    flood = FloodControl(FloodLimits(chat_burst=2))

    assert [flood.send(PRIVATE, 0.0), flood.edit(PRIVATE, 0.0), flood.edit(PRIVATE, 0.0)] == [0, 0, 1]


def test_a_group_takes_twenty_messages_a_minute_however_they_are_spread() -> None:
    flood = FloodControl(FloodLimits())

    assert [flood.send(GROUP, 2.0 * number) for number in range(20)] == [0] * 20
    assert flood.send(GROUP, 40.0) == 20
    assert flood.send(GROUP, 60.0) == 0


def test_edits_in_a_group_have_a_stricter_limit_of_their_own() -> None:
    flood = FloodControl(FloodLimits(group_edits_per_minute=2))

    assert [flood.edit(GROUP, 10.0 * number) for number in range(3)] == [0, 0, 40]
    assert flood.send(GROUP, 20.0) == 0


def test_all_chats_together_take_thirty_a_second() -> None:
    flood = FloodControl(FloodLimits())

    assert [flood.send(chat, 0.0) for chat in range(1, 32)] == [0] * 30 + [1]
    assert flood.send(31, 1.0) == 0


def test_drafts_are_free_unless_a_test_supposes_a_limit() -> None:
    flood, strict = FloodControl(FloodLimits()), FloodControl(FloodLimits(drafts_per_second=2))

    assert [flood.draft(PRIVATE, 0.0) for _ in range(100)] == [0] * 100
    assert [strict.draft(PRIVATE, 0.0) for _ in range(3)] == [0, 0, 1]


def test_without_limits_nobody_waits() -> None:
    flood = FloodControl(UNLIMITED)

    assert not any(flood.send(GROUP, 0.0) or flood.edit(GROUP, 0.0) for _ in range(1000))


Events = st.lists(
    st.tuples(st.sampled_from(["send", "edit"]), st.sampled_from([PRIVATE, GROUP, 8]), st.floats(0, 3)),
    max_size=30,
)


@pytest.mark.slow
@given(Events)
def test_who_waits_as_long_as_it_was_told_gets_through(events: list[tuple[str, int, float]]) -> None:
    flood, now = FloodControl(FloodLimits(chat_burst=2, group_per_minute=5, all_per_second=3)), 1.8e9
    for kind, chat, pause in events:
        now += pause
        ask = flood.send if kind == "send" else flood.edit
        if wait := ask(chat, now):
            now += wait
            assert ask(chat, now) == 0


@pytest.mark.slow
@given(Events)
def test_no_second_has_more_than_the_bot_may_send_and_no_minute_more_than_the_group_may_take(
    events: list[tuple[str, int, float]],
) -> None:
    flood, now = FloodControl(FloodLimits(group_per_minute=5, all_per_second=3)), 0.0
    let_through: list[tuple[float, int, str]] = []
    for kind, chat, pause in events:
        now += pause
        if (flood.send if kind == "send" else flood.edit)(chat, now) == 0:
            let_through.append((now, chat, kind))

    for at, _, _ in let_through:
        assert sum(at <= other < at + 1 for other, _, _ in let_through) <= 3
        group = [one for one in let_through if one[1:] == (GROUP, "send")]
        assert sum(at <= other < at + 60 for other, _, _ in group) <= 5
