"""Everybody who watches a page, and what has changed on it since each of them was last told.

The page is looked at and rendered at most once a second, whatever the number of watchers, and not at all
while there are none. Who reads slowly misses what was overtaken meanwhile: nothing is kept for anybody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.web import Say, spell_event

WATCHERS_MAX = 16
"Open pages; an owner has one or two. One more is told to come again."

RENEW_SECONDS = 1.0
SILENCE_SECONDS = 15.0
"After so long without a change a stream says that it is still there, which finds out who is gone."

STILL_HERE = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a page, as it is now."""

    said: Any
    "Text, or what JSON has."

    since: int
    "The round in which it became so."


class Watching:
    """Tells watchers what has changed.

    Args:
        look: Gives all parts of the page as they are now, by event and name, and costs little if that was a
            moment ago. Raises `Unavailable` for a while.
    """

    def __init__(self, look: Callable[[], Mapping[str, Mapping[str, Any]]]) -> None:
        self._look = look
        self._parts: dict[tuple[str, str], Part] = {}
        self._round = 0
        self._changed = trio.Event()
        self._wanted = trio.Event()
        self.watchers = 0

    @property
    def is_full(self) -> bool:
        return self.watchers >= WATCHERS_MAX

    async def run(self) -> None:
        """Look at the page for as long as somebody watches, until cancelled."""
        while True:
            if not self.watchers:
                self._wanted = trio.Event()
                await self._wanted.wait()
            self._renew()
            await trio.sleep(RENEW_SECONDS)

    def _renew(self) -> None:
        try:
            looked = self._look()
        except Unavailable:
            return
        self._round += 1
        has_changed = False
        for event, named in looked.items():
            for name, said in named.items():
                known = self._parts.get((event, name))
                if known is None or known.said != said:
                    self._parts[event, name] = Part(said, self._round)
                    has_changed = True
        if has_changed:
            self._changed.set()
            self._changed = trio.Event()

    async def watch(self, say: Say) -> None:
        """Tell one watcher of everything, and then of what changes, until cancelled."""
        self.watchers += 1
        self._wanted.set()
        # The first one is not told of how things were when the last one left.
        self._renew()
        try:
            seen = 0
            while True:
                changed = self._changed
                news, seen = self._since(seen), self._round
                if news:
                    await say(news)
                with trio.move_on_after(SILENCE_SECONDS) as silence:
                    await changed.wait()
                if silence.cancelled_caught:
                    await say(STILL_HERE)
        finally:
            self.watchers -= 1

    def _since(self, seen: int) -> bytes:
        news: dict[str, dict[str, Any]] = {}
        for (event, name), part in self._parts.items():
            if part.since > seen:
                news.setdefault(event, {})[name] = part.said
        return b"".join(spell_event(event, named) for event, named in news.items())
