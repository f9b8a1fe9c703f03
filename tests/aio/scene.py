"""A portal to something that a test can look into, and to a whole network in memory."""

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar

import trio

from cocoon_p2p import client as on_trio
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.testing.overlay import open_overlay

COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")
HELLO = [{"role": "user", "content": "Hello"}]


class Desk:
    """What is open in the trio thread."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.left = threading.Event()
        self.broken = trio.Event()

    async def double(self, number: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * number

    async def colour(self) -> str:
        await trio.lowlevel.checkpoint()
        return COLOUR.get()

    async def fail(self) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("mislaid")

    async def wait(self) -> None:
        """Wait until cancelled, and say so."""
        self.began.set()
        try:
            await trio.sleep_forever()
        finally:
            self.left.set()

    async def linger(self, leave: trio.Event) -> None:
        """Wait until cancelled, and then until it may leave."""
        self.began.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await leave.wait()
            self.left.set()


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    """Open a desk, which a test can make collapse."""
    desk = Desk()
    async with trio.open_nursery() as nursery:

        async def collapse() -> None:
            await desk.broken.wait()
            raise OSError("the desk collapsed")

        nursery.start_soon(collapse)
        yield desk
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_bought(engines: Sequence[Engine] = ()) -> AsyncIterator[on_trio.Client]:
    """Open a client of a network in memory."""
    async with open_overlay(engines=engines) as overlay:
        yield overlay.client


Threads = Callable[[], list[threading.Thread]]


def portal_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cocoon"]
