"""The time that a bot goes by: an event loop's own, unless a program brings another."""

import asyncio
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits, in seconds. Only differences of times mean something."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, and no longer than so many seconds."""
        ...


class LoopClock:
    """The running loop's clock."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((waiting,), timeout=seconds)
        finally:
            waiting.cancel()
