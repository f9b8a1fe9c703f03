"""Waiting for what a test is about, instead of for a time."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


class Changes:
    """Tells who waits that something happened.

    All of it runs on one loop, so between a look and the wait for the next change nothing is missed.
    """

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """Have everybody who waits look again."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def next(self) -> None:
        """Wait for the next change. A cancel leaves nothing behind."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    async def until(self, look: Callable[[], Found], *, seconds: float = 60.0) -> Found:
        """Wait until `look` gives something true, and give that.

        Raises:
            TimeoutError: It gave nothing true in so many seconds.
        """
        async with asyncio.timeout(seconds):
            while not (found := look()):
                await self.next()
        return found
