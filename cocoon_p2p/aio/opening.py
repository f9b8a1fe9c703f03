"""A portal for as long as an asyncio block lasts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

import outcome

from cocoon_p2p.aio.calling import GRACE_SECONDS, bell
from cocoon_p2p.aio.portal import Outcome, Portal

Subject = TypeVar("Subject")


class _Stage:
    """Something that happens once in the trio thread, waited for in a loop."""

    def __init__(self) -> None:
        self._bell = bell()
        self._happened = asyncio.Event()
        self._outcome: Outcome[None]

    def tell(self, result: Outcome[None]) -> None:
        """Say what came of it, from any thread."""
        self._bell.ring(partial(self._tell, result))

    def _tell(self, result: Outcome[None]) -> None:
        self._outcome = result
        self._happened.set()

    async def happened(self) -> Outcome[None]:
        """Wait for it, and give what came of it."""
        await self._happened.wait()
        return self._outcome


@asynccontextmanager
async def open_portal(
    opens: Callable[[], AbstractAsyncContextManager[Subject]],
) -> AsyncIterator[Portal[Subject]]:
    """Run a trio thread while the block runs.

    Args:
        opens: What is open in it.

    A cancel while it opens ends what was opened so far. That, and leaving, waits for the thread's end, for
    `GRACE_SECONDS` at most; a cancel meanwhile leaves at once, and the thread ends by itself.

    Raises:
        Exception: Whatever opening raised; or what ended the thread before the block did.
    """
    portal, ready, closed = Portal(opens), _Stage(), _Stage()

    async def end() -> Outcome[None]:
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                opened = await ready.happened()
                ended = await closed.happened() if isinstance(opened, outcome.Value) else opened
            portal.join()
            return ended
        return outcome.Value(None)

    portal.start(ready.tell, closed.tell)
    try:
        opened = await ready.happened()
    except asyncio.CancelledError:
        portal.close()
        await end()
        raise
    opened.unwrap()
    try:
        yield portal
    finally:
        portal.close()
        (await end()).unwrap()
