"""Waiting for what a test is about, instead of for a time."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


class Changes:
    """Tells who waits that something happened. Everybody is on one loop."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """Have everybody who waits look again."""
        for waiting in tuple(self._waiting):
            if not waiting.done():
                waiting.set_result(None)

    def next(self) -> asyncio.Future[None]:
        """Give what is done with the next change from now on: between a look and a wait none is missed."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        return waiting

    async def until(self, look: Callable[[], Found], *, seconds: float = 60.0) -> Found:
        """Wait until `look` gives something true, and give that.

        Raises:
            TimeoutError: It gave nothing true in so many seconds.
        """
        async with asyncio.timeout(seconds):
            while not (found := look()):
                await self.next()
        return found


async def first_of(*waits: asyncio.Future[None], seconds: float | None = None) -> None:
    """Wait for one of several changes, or so many seconds; wait for none of them any longer."""
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
