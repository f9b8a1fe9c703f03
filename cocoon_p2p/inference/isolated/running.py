"""The node's side of one child that serves: heard, judged, and given up when it dies, hangs or lies."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, assert_never

import trio

from cocoon_p2p.inference.engine import (
    Capabilities,
    EngineError,
    GenerateRequest,
    Piece,
    PromptCount,
    RequestMalformed,
)
from cocoon_p2p.inference.isolated.faults import engine_error_of
from cocoon_p2p.inference.isolated.forwarding import HEARD_MAX, Allowance, write_log
from cocoon_p2p.inference.isolated.frames import (
    WINDOW_BYTES,
    Beat,
    Begun,
    Count,
    Counted,
    Failed,
    FromChild,
    Grant,
    Leave,
    Left,
    LineBroken,
    Logged,
    Opened,
    OpenFailed,
    Progress,
    Said,
    Start,
)
from cocoon_p2p.inference.isolated.intake import Intake
from cocoon_p2p.inference.isolated.line import Line

log = logging.getLogger(__name__)

LISTENS_A_SILENCE: Final = 6
"""A silence is so many waits in which nothing came. Counted, not timed: a node that was itself held up
(a machine that slept) has missed one."""

LET_GO_SECONDS: Final = 12.0
"How long leaving a call waits for the child, whose engine gives up waiting after ten seconds itself."


class _Call:
    """A count or a generation, until the child has let go of it."""

    def __init__(self, number: int, intake: Intake | None = None) -> None:
        self.number = number
        self.intake = intake
        self.count: PromptCount | None = None
        self.error: EngineError | None = None
        self.answered = trio.Event()
        "Set once it is counted, has begun, or failed."

        self.left = trio.Event()
        self.is_leaving = False
        self.due = float("inf")
        "When the child hangs, unless it has begun this call, or let go of it, by then."

    def begin(self) -> None:
        """Note that the engine has taken it. Only letting go of it can be due then."""
        if not self.is_leaving:
            self.due = float("inf")
        self.answered.set()

    def fail(self, error: EngineError) -> None:
        """Note that no more will come than came. Who waits for the answer gets `error`."""
        if not self.answered.is_set():
            self.error = error
            self.answered.set()
        if self.intake is not None:
            self.intake.end(error)


class RunningChild:
    """A child that serves. One task attends to it, many ask it. Made by `starting.open_child`.

    Args:
        line: To the child.
        capabilities: What it says that it offers.
        end: Ends its process, if it has not ended, and says how it did.
        patience_seconds: It hangs if it says nothing for so long, or its engine makes no step, or lets go
            of none.

    Attributes:
        capabilities: As given.
        is_over: Set once nothing more is to be had of it.
    """

    def __init__(
        self,
        line: Line[FromChild],
        capabilities: Capabilities,
        end: Callable[[], Awaitable[str]],
        *,
        patience_seconds: float,
    ) -> None:
        self.capabilities = capabilities
        self._line = line
        self._end = end
        self._patience_seconds = patience_seconds
        self._slots = trio.Semaphore(capabilities.slots)
        self._calls: dict[int, _Call] = {}
        self._number = 0
        self._attending = trio.CancelScope()
        self.is_over = trio.Event()
        self._why_over = ""
        self._log_allowance = Allowance(HEARD_MAX)

    # ------------------------------------------------------------ who asks

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Let the engine count (`Engine.count`). A cancel waits until the engine has let go."""
        call = self._enter(_Call(self._take_number()))
        async with self._held(call, Count(call.number, request)):
            pass
        if call.count is None:
            raise EngineError("the engine's process counts nothing")
        return call.count

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Let the engine generate (`Engine.generate`). Waits for a slot here, so that the child need not."""
        number = self._take_number()
        intake = Intake(
            request,
            lambda size_bytes: self._say(Grant(number, size_bytes)),
            patience_seconds=self._patience_seconds,
        )
        await self._slots.acquire()
        try:
            call = self._enter(_Call(number, intake))
        except EngineError:
            self._slots.release()
            raise
        call.due = trio.current_time() + self._patience_seconds
        async with self._held(call, Start(number, request, WINDOW_BYTES)):
            yield intake

    def _take_number(self) -> int:
        self._number += 1
        return self._number

    def _enter(self, call: _Call) -> _Call:
        if self._why_over:
            raise EngineError(f"the engine's process is gone ({self._why_over})")
        self._calls[call.number] = call
        return call

    @asynccontextmanager
    async def _held(self, call: _Call, first: Count | Start) -> AsyncIterator[None]:
        """Ask, wait for the answer, and see to it, whatever happens then, that the engine lets go."""
        try:
            try:
                self._line.send(first)
            except ValueError as exc:
                self._drop(call)
                raise _unsendable(exc) from None
            await call.answered.wait()
            if call.error is not None:
                raise call.error
            yield
        finally:
            await self._leave(call)

    async def _leave(self, call: _Call) -> None:
        """Wait until the engine has let go of a call, for `LET_GO_SECONDS` at most."""
        if call.left.is_set():
            return
        if call.intake is not None and call.intake.is_stalled:
            self.give_up("it makes no step")
            return
        self._say(Leave(call.number))
        call.is_leaving = True
        call.due = trio.current_time() + self._patience_seconds
        with trio.CancelScope(shield=True, deadline=trio.current_time() + LET_GO_SECONDS):
            await call.left.wait()
        if not call.left.is_set():
            log.warning("engine keeps a slot", extra={"seconds": LET_GO_SECONDS})

    def _say(self, message: Grant | Leave) -> None:
        if not self._why_over:
            self._line.send(message)

    # ------------------------------------------------------------ who attends

    async def attend(self) -> str:
        """Hear the child until it is gone, or must be. What still ran has failed when this returns.

        A cancel ends it too; the child lives on, for who opened it to end.

        Returns:
            Why it is over, in words.
        """
        try:
            with self._attending:
                await self._hear()
                # Only the end of a process tells of what it died.
                self._why_over = "it hung up"
                self._why_over = f"it died, {await self._end()}"
        except LineBroken as exc:
            self._why_over = f"it broke the protocol: {exc}"
        finally:
            self._fail_all()
        return self._why_over

    def give_up(self, why: str) -> None:
        """Be done with the child."""
        self._why_over = self._why_over or why
        self._attending.cancel()

    async def _hear(self) -> None:
        missed = 0
        while missed < LISTENS_A_SILENCE:
            missed += 1
            with trio.move_on_after(self._patience_seconds / LISTENS_A_SILENCE):
                messages = await self._line.receive()
                if not messages:
                    return
                missed = 0
                for message, size_bytes in messages:
                    self._take(message, size_bytes)
            self._check_due()
        self.give_up("it says nothing any more")
        await trio.lowlevel.checkpoint()

    def _check_due(self) -> None:
        now = trio.current_time()
        if any(call.due <= now for call in self._calls.values()):
            self.give_up("it neither begins nor lets go")

    def _take(self, message: FromChild, size_bytes: int) -> None:
        match message:
            case Said(number, piece):
                self._intake(number).take(piece, size_bytes)
            case Beat():
                pass
            case Logged():
                write_log(message, self._log_allowance)
            case Left(number):
                self._drop(self._call(number))
            case Begun(number):
                self._intake(number)
                self._call(number).begin()
            case Counted(number, count):
                self._counted(self._call(number), count)
            case Failed(number, fault):
                self._call(number).fail(engine_error_of(fault))
            case Progress() | Opened() | OpenFailed():
                raise LineBroken("opened twice")
            case _:
                assert_never(message)

    def _call(self, number: int) -> _Call:
        try:
            return self._calls[number]
        except KeyError:
            raise LineBroken(f"nobody asked that (call={number})") from None

    def _intake(self, number: int) -> Intake:
        intake = self._call(number).intake
        if intake is None:
            raise LineBroken("a count that generates")
        return intake

    def _counted(self, call: _Call, count: PromptCount) -> None:
        if call.intake is not None or not 0 <= count.cached_tokens <= count.prompt_tokens:
            raise LineBroken("a count that cannot be")
        call.count = count
        call.answered.set()

    def _drop(self, call: _Call) -> None:
        """The engine has let go of a call."""
        del self._calls[call.number]
        call.fail(EngineError("the engine's process broke an answer off"))
        if call.intake is not None:
            self._slots.release()
        call.left.set()

    def _fail_all(self) -> None:
        self._why_over = self._why_over or "it was closed"
        for call in tuple(self._calls.values()):
            call.fail(EngineError(f"the engine's process is gone ({self._why_over})"))
            self._drop(call)
        self.is_over.set()


def _unsendable(exc: ValueError) -> RequestMalformed:
    if isinstance(exc, UnicodeEncodeError):
        return RequestMalformed("the request holds half of a character (a lone surrogate)")
    return RequestMalformed(f"the request cannot be sent to the engine: {exc}")
