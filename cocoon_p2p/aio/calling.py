"""Waiting in asyncio for what the trio thread does; cancelled there when it is cancelled here."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary, ref

import outcome

from cocoon_p2p.aio.portal import Call, Outcome, Portal
from cocoon_p2p.client.client import LEAVE_SECONDS

Subject = TypeVar("Subject")
Result = TypeVar("Result")

GRACE_SECONDS = LEAVE_SECONDS + 5.0
"""How long a cancelled call waits for its task in the trio thread, which may have an answer to settle.
A second cancel ends the wait at once; the task goes on to its own end."""


class Bell:
    """Calls functions in a loop's thread, soon; a burst of them costs one wake-up."""

    __slots__ = ("_functions", "_is_ringing", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Weakly: `_bells` holds the bell for as long as there is the loop.
        self._loop = ref(loop)
        self._functions: deque[Callable[[], None]] = deque()
        self._is_ringing = False

    def ring(self, function: Callable[[], None]) -> None:
        """Have a function called, from any thread. In a loop that is closed or gone nobody waits any more."""
        self._functions.append(function)
        if self._is_ringing:
            return
        self._is_ringing = True
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._run)
                return
        except RuntimeError:
            pass
        self._functions.clear()
        self._is_ringing = False

    def _run(self) -> None:
        # First: what is appended from now on rings again.
        self._is_ringing = False
        for _ in range(len(self._functions)):
            self._functions.popleft()()


_bells: WeakKeyDictionary[asyncio.AbstractEventLoop, Bell] = WeakKeyDictionary()


def bell() -> Bell:
    """Give the bell of the running loop."""
    loop = asyncio.get_running_loop()
    found = _bells.get(loop)
    if found is None:
        found = _bells[loop] = Bell(loop)
    return found


class Pending(Generic[Result]):
    """A call of this loop to the trio thread, under way.

    Args:
        portal: The door to the thread.
        work: What is to be done there.
        ended: Set when it has ended.
    """

    def __init__(
        self,
        portal: Portal[Subject],
        work: Callable[[Subject], Awaitable[Result]],
        ended: asyncio.Event | None = None,
    ) -> None:
        self._bell = bell()
        self._ended = ended or asyncio.Event()
        self._outcome: Outcome[Result] | None = None
        self._call: Call = portal.submit(work, lambda result: self._bell.ring(partial(self._end, result)))

    def _end(self, result: Outcome[Result]) -> None:
        self._outcome = result
        self._ended.set()

    async def wait(self) -> Result:
        """Wait for the result. A cancel is passed on, and waits as `cancel` does.

        Raises:
            Exception: Whatever the work raised.
        """
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            await self.cancel()
            raise
        assert self._outcome is not None, "it has ended"
        return self._outcome.unwrap()

    @property
    def error(self) -> BaseException:
        """Why it ended, where it cannot have ended well."""
        assert isinstance(self._outcome, outcome.Error)
        return self._outcome.error

    async def cancel(self) -> None:
        """Cancel the work, and wait for its end: for `GRACE_SECONDS` at most, and no longer than until
        a cancel. The work itself goes on to its own end."""
        self._call.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                while self._outcome is None:
                    self._ended.clear()
                    await self._ended.wait()
