"""From an engine's thread to a trio task: in order, cheaply, and without ever blocking trio.

The engine's thread appends to a deque and asks trio to wake the reader, unless it has
asked already: each asking is a system call, and a burst of tokens costs one. A reader
that lags stops its own writer at `credit` items, if that writer has a thread of its own
(`put`). An engine that computes all requests in one thread must not wait for any reader
and uses `offer`.
"""

import threading
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar

import trio

from cocoon_p2p.inference.engine import EngineError
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS

Item = TypeVar("Item")

CREDIT_ITEMS = 256
"Items that may wait for a reader: some seconds of an answer, some tens of kilobytes."

BURST_ITEMS = 32
"Items that a reader may take in a row before other tasks get their turn."


class Pipe(AsyncIterator[Item], Generic[Item]):
    """One generation's way out of the engine. Created in trio, by the task that reads it.

    The engine's side (`put`, `offer`, `close`) is for one thread at a time, the reader's
    side for one task. Leaving the `with` tells the engine to stop; it does not wait.

    Args:
        credit: Items that may wait for the reader before `put` waits.
        patience_seconds: How long the reader waits for one item before it gives the engine up.
    """

    def __init__(self, credit: int = CREDIT_ITEMS, *, patience_seconds: float = ENGINE_STALL_SECONDS) -> None:
        self._items: deque[Item] = deque()
        self._credit = threading.Semaphore(credit)
        self._patience_seconds = patience_seconds
        self._trio = trio.lowlevel.current_trio_token()
        self._wake = trio.Event()
        self._is_waking = False
        self._burst = 0
        self._stopped = False
        self._closed = False
        self._error: Exception | None = None

    def put(self, item: Item) -> bool:
        """Hand one item over, waiting for credit. Engine's thread.

        Returns:
            False once nobody reads any more: stop generating.
        """
        if not self._stopped:
            self._credit.acquire()
        return self.offer(item)

    def offer(self, item: Item) -> bool:
        """Hand one item over without waiting, whatever the reader does. Engine's thread.

        What piles up is bounded by what the generation may produce in all.

        Returns:
            False once nobody reads any more: stop generating.
        """
        if self._stopped:
            return False
        self._items.append(item)
        self._wake_reader()
        return True

    def close(self, error: Exception | None = None) -> None:
        """Say that nothing more comes; the reader gets what is there, then `error` if given. Any thread.

        Only the first call counts.
        """
        if not self._closed:
            self._error = error
            self._closed = True
            self._wake_reader()

    @property
    def stopped(self) -> bool:
        """Whether the reader has left. Any thread."""
        return self._stopped

    def stop(self) -> None:
        """Say that nobody reads any more. A writer that waits for credit goes on at once. Any thread."""
        self._stopped = True
        self._credit.release()

    async def __anext__(self) -> Item:
        """Give the next item.

        Cancelled, it takes no item.

        Raises:
            EngineError: The engine gave no item for `patience_seconds`.
            Exception: What the engine closed the pipe with, after all of its items.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._items or self._burst >= BURST_ITEMS:
            await self._wait_for_item()
            self._burst = 0
        if self._items:
            self._burst += 1
            self._credit.release()
            return self._items.popleft()
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def _wait_for_item(self) -> None:
        """Return when an item is there or the pipe is closed, having run other tasks meanwhile."""
        with trio.move_on_after(self._patience_seconds):
            # The event is renewed before the look: what arrives after the look sets the new one.
            while True:
                self._wake = trio.Event()
                if self._items or self._closed:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    return
                await self._wake.wait()
        raise EngineError(f"the engine made no step (waited={self._patience_seconds:g} s)")

    def _wake_reader(self) -> None:
        # Set before the asking and cleared before the reader looks: an item that finds the
        # flag set was handed over before that look.
        if self._is_waking:
            return
        self._is_waking = True
        try:
            self._trio.run_sync_soon(self._woken)
        except trio.RunFinishedError:
            self._stopped = True

    def _woken(self) -> None:
        self._is_waking = False
        self._wake.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
