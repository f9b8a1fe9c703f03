"""An asyncio loop in a thread of its own, for what a trio program must use and which knows only asyncio.

trio task --run(start)--> loop thread: asyncio task
<--outcome-----
--cancel------>              cancelled, and waited for
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

log = logging.getLogger(__name__)

T = TypeVar("T")

STOP_SECONDS = 10.0
"How long what runs in the loop may take to end once cancelled."


class AsyncioLoop:
    """The trio side of a running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def run(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the loop, and give what it gives or raise what it raises.

        A cancel cancels it there too, and waits until it has ended: nothing of it is left behind.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()
        running: list[asyncio.Task[T]] = []
        interrupted: list[Callable[[], Any]] = []

        def begin() -> None:
            running.append(self._loop.create_task(start()))
            running[0].add_done_callback(ended)

        def ended(_: asyncio.Task[T]) -> None:
            token.run_sync_soon(trio.lowlevel.reschedule, task)

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            interrupted.append(raise_cancel)
            # After `begin`, which was asked for before.
            self._loop.call_soon_threadsafe(lambda: running[0].cancel())
            return trio.lowlevel.Abort.FAILED

        self._loop.call_soon_threadsafe(begin)
        await trio.lowlevel.wait_task_rescheduled(abort)
        done = running[0]
        if done.cancelled():
            if interrupted:
                interrupted[0]()
            # Somebody in the loop cancelled it: nobody here does, but the library may.
            raise ConnectionAbortedError("cancelled in its own loop")
        return done.result()


@asynccontextmanager
async def open_asyncio_loop(name: str) -> AsyncIterator[AsyncioLoop]:
    """Run a loop in a thread while the block runs; in the end its tasks are cancelled and it is joined.

    Args:
        name: The thread's.

    A cancel does the same.
    """
    loop = asyncio.new_event_loop()
    # What a library's forgotten task raises is nobody's to mend, and must not go to stderr.
    loop.set_exception_handler(_note)
    thread = threading.Thread(target=_serve, args=(loop,), name=name, daemon=True)
    thread.start()
    try:
        yield AsyncioLoop(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=STOP_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.debug("a task of the loop failed", extra={"what": str(context.get("message"))})
