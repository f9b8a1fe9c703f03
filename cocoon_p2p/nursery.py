"""A nursery for what runs behind an `async with` of ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_service_nursery() -> AsyncIterator[trio.Nursery]:
    """Run tasks beside the caller's block, and cancel them when it ends.

    What the block raises comes out as it is: a caller that writes `except Refused` need not know
    that there was a nursery between. What a task raises ends the block and comes out in a
    group, as trio has it.
    """
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as exc:  # noqa: BLE001 (raised again below, in no group)
            raised = exc
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
