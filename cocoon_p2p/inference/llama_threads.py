"""The requests that llama.cpp computes right now: a slot and a thread for each, and how all of them end."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import trio

from cocoon_p2p.inference.engine import EngineError, Piece
from cocoon_p2p.inference.pipe import Pipe

log = logging.getLogger(__name__)

LET_GO_SECONDS: Final = 10.0
"""How long leaving a generation waits for the engine. A decoding step takes a tenth of a second at
most, a step of a long prompt some seconds on a slow machine."""


@dataclass(frozen=True, slots=True)
class Work:
    """One request, ready to be computed."""

    compute: Callable[[Pipe[Piece]], None]
    "Computes it into the pipe, in a thread. The pipe is closed after it."

    let_go: Callable[[], None]
    "Called in trio when the thread is done."


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    pipe: Pipe[Piece]
    has_let_go: trio.Event
    "Set once the engine's thread is done with the slot."


class LlamaThreads:
    """All requests of one engine. Lives in one trio run.

    Args:
        slots: How many are computed at once.
        unload: Gives the model's memory back. Blocks; called once, when no thread is left.
    """

    def __init__(self, slots: int, unload: Callable[[], None]) -> None:
        self._free_slots = trio.Semaphore(slots)
        self._unload = unload
        self._running = set[_Running]()
        self._trio = trio.lowlevel.current_trio_token()
        self._is_closed = False

    def refuse_closed(self) -> None:
        """Refuse what comes too late.

        Raises:
            EngineError: The engine is closed.
        """
        if self._is_closed:
            raise EngineError("the engine is closed")

    @asynccontextmanager
    async def run(self, begin: Callable[[], Work]) -> AsyncIterator[AsyncIterator[Piece]]:
        """Compute a request once a slot is free; `begin` makes its work then.

        Leaving waits until the engine has let go of the slot, for `LET_GO_SECONDS` at most;
        a slot that is kept longer is not given to others until it is free.
        """
        await self._free_slots.acquire()
        try:
            self.refuse_closed()
            work = begin()
        except BaseException:
            self._free_slots.release()
            raise
        running = self._start(work)
        try:
            with running.pipe as pieces:
                yield pieces
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LET_GO_SECONDS):
                await running.has_let_go.wait()
            if not running.has_let_go.is_set():
                log.warning("engine keeps a slot", extra={"seconds": LET_GO_SECONDS})

    async def aclose(self) -> None:
        """Stop all requests, wait until the engine has let go of them, and unload the model.

        A cancel does not cut it short; it waits for `LET_GO_SECONDS` at most. An engine that
        has not let go by then is left as it is: unloading it would stop this process.
        """
        self._is_closed = True
        for running in self._running:
            running.pipe.close(EngineError("the engine was closed"))
            running.pipe.stop()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(LET_GO_SECONDS):
                for running in tuple(self._running):
                    await running.has_let_go.wait()
            if self._running:
                log.error("engine does not stop", extra={"generations": len(self._running)})
                return
            await trio.to_thread.run_sync(self._unload)

    def _start(self, work: Work) -> _Running:
        running = _Running(Pipe[Piece](), trio.Event())
        self._running.add(running)

        def has_let_go() -> None:
            self._running.discard(running)
            work.let_go()
            self._free_slots.release()
            running.has_let_go.set()

        def has_let_go_soon(_: object) -> None:
            with suppress(trio.RunFinishedError):
                self._trio.run_sync_soon(has_let_go)

        trio.lowlevel.start_thread_soon(
            lambda: _compute(work, running.pipe), has_let_go_soon, name="llama.cpp request"
        )
        return running


def _compute(work: Work, pipe: Pipe[Piece]) -> None:
    """Take one answer out of the engine. The top of its thread."""
    error: EngineError | None = None
    try:
        work.compute(pipe)
    except EngineError as exc:
        error = exc
    except Exception as exc:  # noqa: BLE001 (its text may quote the prompt: its type is all that is said)
        log.error("engine thread failed", extra={"error": type(exc).__name__})
        error = EngineError(f"llama.cpp failed (error={type(exc).__name__})")
    pipe.close(error)
