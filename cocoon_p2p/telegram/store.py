"""Where talks are kept: in memory, unless a program brings another place (`sqlite_store` is one)."""

from collections import OrderedDict
from typing import Protocol

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
