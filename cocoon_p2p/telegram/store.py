"""Where talks are kept: in memory, unless a program brings another place (`sqlite_store` is one)."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol
from weakref import WeakValueDictionary

from cocoon_p2p.telegram.talk import Place, Talk

TALKS_MAX = 10_000
"Talks that are kept in memory; of more the one that was used longest ago is forgotten."


class Store(Protocol):
    """Keeps talks. Calls for one place come one after the other."""

    async def load(self, place: Place) -> Talk:
        """Give what is kept of a place; an empty talk where nothing is."""
        ...

    async def save(self, place: Place, talk: Talk) -> None:
        """Keep a talk in place of the one before. A cancel leaves one of them."""
        ...


class MemoryStore:
    """Keeps talks for as long as the program runs."""

    def __init__(self) -> None:
        self._talks: OrderedDict[Place, Talk] = OrderedDict()

    async def load(self, place: Place) -> Talk:
        return self._talks.get(place, Talk())

    async def save(self, place: Place, talk: Talk) -> None:
        self._talks[place] = talk
        self._talks.move_to_end(place)
        if len(self._talks) > TALKS_MAX:
            self._talks.popitem(last=False)


class Talks:
    """A store's talks, of which each is used by one at a time: no change is lost to another.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # Each is there for as long as somebody has it, or waits for it.
        self._turns: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()

    async def load(self, place: Place) -> Talk:
        """Give what is kept of a place."""
        async with self._turn(place):
            return await self._store.load(place)

    async def change(self, place: Place, change: Callable[[Talk], Talk]) -> None:
        """Change what is kept of a place, after all changes that were begun before.

        A cancel leaves it as it was, or changed.
        """
        async with self._turn(place):
            await self._store.save(place, change(await self._store.load(place)))

    def _turn(self, place: Place) -> asyncio.Lock:
        return self._turns.setdefault(place, asyncio.Lock())
