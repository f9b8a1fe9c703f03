"""Steps that are read by a task of their own, so that who waits for one can say that it waits.

A read that is cancelled would end its connection; a wait for another task can be cut short, and taken up
again. The task reads some steps ahead and no further: a reader that is slow makes its own connection fill up.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

import trio

from cocoon_p2p.inference.engine import EngineError
from cocoon_p2p.inference.upstream import pace
from cocoon_p2p.inference.upstream.steps import Step

AHEAD_STEPS: Final = 16
"What came in one packet costs one turn of the tasks, and a slow reader this much memory at most."

NOTHING: Final = None
"What stands for a while without a step."


class Reading:
    """One answer's steps.

    Args:
        stream: Of them; entered and left by the task.
    """

    def __init__(self, stream: AbstractAsyncContextManager[AsyncIterator[Step]]) -> None:
        self._stream = stream
        self._send, self._receive = trio.open_memory_channel[Step | EngineError](AHEAD_STEPS)

    async def run(self) -> None:
        """Read to the end. Cancelled, it closes the connection."""
        async with self._send:
            try:
                async with self._stream as steps:
                    async for step in steps:
                        try:
                            self._send.send_nowait(step)
                        except trio.WouldBlock:
                            await self._send.send(step)
            except EngineError as exc:
                await self._send.send(exc)

    async def steps(self, patience_seconds: Callable[[], float]) -> AsyncGenerator[Step | None, None]:
        """Give each step, and `NOTHING` after each while that passed without one.

        Raises:
            EngineError: What the task met; or no step came for longer than the patience, which may grow
                while it is waited for.
        """
        try:
            while True:
                began = trio.current_time()
                while (said := await self._next(began, patience_seconds)) is NOTHING:
                    yield NOTHING
                if isinstance(said, EngineError):
                    raise said
                yield said
        except trio.EndOfChannel:
            return

    async def _next(self, began: float, patience_seconds: Callable[[], float]) -> Step | EngineError | None:
        """What comes next, or `NOTHING` if a while passes without it."""
        with suppress(trio.WouldBlock):
            return self._receive.receive_nowait()
        rest = began + patience_seconds() - trio.current_time()
        with trio.move_on_after(min(rest, pace.BEAT_SECONDS)):
            return await self._receive.receive()
        if trio.current_time() >= began + patience_seconds():
            return EngineError(f"the server made no step (waited={patience_seconds():g} s)")
        return NOTHING
