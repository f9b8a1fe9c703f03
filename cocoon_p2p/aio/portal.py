"""A trio run in a thread of its own, and the door to it for threads that do not run trio.

    host thread                                   trio thread
    submit(work, done)  ------------------------> a task in the run's nursery
    call.cancel()       ------------------------> its scope is cancelled
                        <------------------------ done(outcome), called in trio's thread

Everything that was submitted is heard of again exactly once: by its result, its error, or by
`Unavailable` where the run ended first. The thread is a daemon: a program that ends without
having closed it ends all the same, and finds its ledger as if it had been killed.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from threading import Thread, get_ident
from typing import Generic, TypeVar

import outcome
import trio

from cocoon_p2p.errors import CocoonError, LocalProtocolError, Unavailable
from cocoon_p2p.nursery import open_service_nursery

Subject = TypeVar("Subject")
Result = TypeVar("Result")

Outcome = outcome.Value[Result] | outcome.Error


class Call:
    """One task in the trio thread that somebody outside waits for."""

    __slots__ = ("_is_cancelled", "_post", "_scope")

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        self._post = post
        self._scope: trio.CancelScope | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Cancel the task, from any thread. Its `done` is still called, once it has left."""
        self._is_cancelled = True
        self._post(self._cancel)

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def run(
        self, work: Callable[[], Awaitable[Result]], done: Callable[[Outcome[Result]], None]
    ) -> None:
        """Carry the work out, in trio."""
        result: Outcome[Result] = outcome.Error(
            Unavailable("the client was closed, or its request cancelled")
        )
        try:
            with trio.CancelScope() as self._scope:
                if self._is_cancelled:
                    self._scope.cancel()
                result = outcome.Value(await work())
        except Exception as exc:  # noqa: BLE001 (carried to whoever waits)
            result = outcome.Error(exc)
        finally:
            done(result)


class Portal(Generic[Subject]):
    """Runs a context manager in a trio thread, and calls with what it gives.

    Args:
        opens: Opens what is worked with, in the trio thread, for as long as the portal is open.
    """

    def __init__(self, opens: Callable[[], AbstractAsyncContextManager[Subject]]) -> None:
        self._opens = opens
        self._process = os.getpid()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope | None = None
        self._thread: Thread | None = None
        self._nursery: trio.Nursery
        self._subject: Subject
        self._is_open = False
        self._is_closed = False

    def start(self, ready: Callable[[Outcome[None]], None], closed: Callable[[Outcome[None]], None]) -> None:
        """Begin the thread.

        Args:
            ready: Called once, in the trio thread: it is open, or why it could not be.
            closed: Called once after that if it was open: it has ended, or why it broke down.
        """

        def run() -> None:
            is_ready = False

            def opened() -> None:
                nonlocal is_ready
                is_ready = True
                ready(outcome.Value(None))

            ended: Outcome[None] = outcome.Value(None)
            try:
                trio.run(self._serve, opened)
            except BaseException as exc:  # noqa: BLE001 (carried to whoever waits)
                ended = outcome.Error(exc)
            if is_ready:
                closed(ended)
            else:
                ready(ended if isinstance(ended, outcome.Error) else outcome.Error(_closed()))

        self._thread = Thread(target=run, name="cocoon", daemon=True)
        self._thread.start()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the thread's end, for so long at most; some microseconds once `closed` was called."""
        if self._thread is not None and self.may_be_waited_for:
            self._thread.join(seconds)

    @property
    def may_be_waited_for(self) -> bool:
        """Whether whoever waits for the thread hears of it.

        Not in a forked process, nor once the interpreter ends: it is not there. Nor in the thread itself,
        where a program's blocks are left if they are collected as garbage there.
        """
        if self._thread is None or os.getpid() != self._process or sys.is_finalizing():
            return False
        return self._thread.ident not in (None, get_ident())

    async def _serve(self, opened: Callable[[], None]) -> None:
        with trio.CancelScope() as self._scope:
            self._token = trio.lowlevel.current_trio_token()
            if self._is_closed:
                self._scope.cancel()
            async with self._opens() as self._subject, open_service_nursery() as self._nursery:
                self._is_open = True
                try:
                    opened()
                    await trio.sleep_forever()
                finally:
                    self._is_open = False

    def prepare(self) -> Call:
        """Make a call that can be cancelled before it is submitted."""
        return Call(self.post_if_open)

    def submit(
        self,
        work: Callable[[Subject], Awaitable[Result]],
        done: Callable[[Outcome[Result]], None],
        context: Context | None = None,
        call: Call | None = None,
    ) -> Call:
        """Have work done in the trio thread, with the caller's context variables.

        Args:
            work: Called with what the portal opened.
            done: Called in the trio thread, exactly once. It must not raise.
            context: Other context variables than the caller's.
            call: Made by `prepare`, for a caller that may be interrupted before this returns.

        Raises:
            Unavailable: The portal is not open.
            LocalProtocolError: This process was forked from the one that opened it.
        """
        call, context = call or self.prepare(), context or copy_context()

        def begin() -> None:
            if self._is_open:
                context.run(self._nursery.start_soon, call.run, lambda: work(self._subject), done)
            else:
                done(outcome.Error(_closed()))

        self.post(begin)
        return call

    def post(self, function: Callable[[], None]) -> None:
        """Have a function called in the trio thread, soon. Raises as `submit`."""
        if os.getpid() != self._process:
            raise LocalProtocolError(
                "this process was forked: the client's connections belong to the one it came from",
                hint="open a client in each process, after the fork",
            )
        if self._token is None:
            raise Unavailable("the client is not open yet")
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            raise _closed() from None

    def close(self) -> None:
        """Tell the run to end, from any thread: what was submitted, or still opens, is cancelled."""
        self._is_closed = True
        self.post_if_open(self._cancel)

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def post_if_open(self, function: Callable[[], None]) -> None:
        """Have a function called in the trio thread, soon, if there is somebody left to call it."""
        try:
            self.post(function)
        except CocoonError:
            return


def _closed() -> Unavailable:
    return Unavailable("the client is closed")
