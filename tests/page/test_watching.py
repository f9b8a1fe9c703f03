"""Watchers are told what has changed, at most once a second, and nothing is kept for the slow."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.page.watching import RENEW_SECONDS, SILENCE_SECONDS, STILL_HERE, Watching


class Shown:
    """A page of two parts."""

    def __init__(self) -> None:
        self.parts = {"one": "a", "two": "b"}
        self.looks = 0
        self.is_away = False

    def look(self) -> Mapping[str, Mapping[str, Any]]:
        self.looks += 1
        if self.is_away:
            raise Unavailable("away")
        return {"parts": dict(self.parts)}


class Watcher:
    """Somebody who watches, and reads when told to."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.may_read = trio.Event()
        self.may_read.set()

    async def say(self, events: bytes) -> None:
        await self.may_read.wait()
        self.told.append(events)

    @property
    def news(self) -> list[dict[str, str]]:
        return [json.loads(each.partition(b"data: ")[2]) for each in self.told if each != STILL_HERE]


async def test_a_watcher_is_told_everything_and_then_what_changes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    shown, one = Shown(), Watcher()
    watching = Watching(shown.look)
    async with open_service_nursery() as nursery:
        nursery.start_soon(watching.run)
        nursery.start_soon(watching.watch, one.say)
        await trio.sleep(RENEW_SECONDS / 2)
        shown.parts["two"] = "c"
        await trio.sleep(2 * RENEW_SECONDS)

    assert one.news == [{"one": "a", "two": "b"}, {"two": "c"}]


async def test_who_reads_slowly_misses_what_was_overtaken_and_holds_nobody_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    shown, slow, quick = Shown(), Watcher(), Watcher()
    watching = Watching(shown.look)
    async with open_service_nursery() as nursery:
        nursery.start_soon(watching.run)
        nursery.start_soon(watching.watch, slow.say)
        nursery.start_soon(watching.watch, quick.say)
        await trio.sleep(RENEW_SECONDS / 2)
        slow.may_read = trio.Event()
        for number in range(5):
            shown.parts["one"] = str(number)
            await trio.sleep(RENEW_SECONDS)
        slow.may_read.set()
        await trio.sleep(RENEW_SECONDS)

    assert [each["one"] for each in quick.news] == ["a", "0", "1", "2", "3", "4"]
    assert [each["one"] for each in slow.news] == ["a", "0", "4"]


async def test_nobody_is_looked_at_for_while_nobody_watches(autojump_clock: trio.testing.MockClock) -> None:
    shown, one, late = Shown(), Watcher(), Watcher()
    watching = Watching(shown.look)
    async with open_service_nursery() as nursery:
        nursery.start_soon(watching.run)
        await trio.sleep(100)
        before = shown.looks
        with trio.move_on_after(RENEW_SECONDS / 2):
            await watching.watch(one.say)
        await trio.sleep(RENEW_SECONDS)
        left = shown.looks
        shown.parts["one"] = "new"
        await trio.sleep(100)
        after = shown.looks
        nursery.start_soon(watching.watch, late.say)
        await trio.sleep(RENEW_SECONDS / 2)

    assert before == 0
    assert after == left
    assert late.news == [{"one": "new", "two": "b"}]
    assert watching.watchers == 0


async def test_a_node_that_cannot_be_looked_at_for_a_while_ends_no_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    shown, one = Shown(), Watcher()
    watching = Watching(shown.look)
    async with open_service_nursery() as nursery:
        nursery.start_soon(watching.run)
        nursery.start_soon(watching.watch, one.say)
        await trio.sleep(RENEW_SECONDS / 2)
        shown.is_away = True
        await trio.sleep(SILENCE_SECONDS + RENEW_SECONDS)
        shown.is_away, shown.parts["one"] = False, "back"
        await trio.sleep(2 * RENEW_SECONDS)

    assert STILL_HERE in one.told
    assert one.news[-1] == {"one": "back"}


async def test_a_watcher_whose_stream_breaks_is_counted_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def broken(_events: bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError

    watching = Watching(Shown().look)
    with pytest.raises(trio.BrokenResourceError):
        await watching.watch(broken)

    assert watching.watchers == 0
