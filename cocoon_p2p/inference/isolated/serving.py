"""The child's side: an engine served over a line, for as long as the node is there.

Each call is a task. What an engine says waits here while its reader has no credit, and nobody
else waits with it: then the engine's own pipe holds it up, or not, as without a process between.
"""

from collections.abc import AsyncIterator
from typing import Final, assert_never

import trio

from cocoon_p2p.inference.engine import Engine, GenerateRequest, Piece
from cocoon_p2p.inference.isolated.faults import fault_of
from cocoon_p2p.inference.isolated.frames import (
    Beat,
    Begun,
    Count,
    Counted,
    Failed,
    Grant,
    Leave,
    Left,
    LineBroken,
    Open,
    Said,
    Start,
    ToChild,
)
from cocoon_p2p.inference.isolated.line import Line

BEAT_SECONDS: Final = 1.0
"How often a child says that it turns."


async def serve(line: Line[ToChild], engine: Engine, *, beat_seconds: float = BEAT_SECONDS) -> None:
    """Serve until the node is gone.

    Args:
        line: To the node.
        engine: What it asks. Not closed here.
        beat_seconds: How often to say that this process turns.

    Raises:
        LineBroken: The node says what it must not.
    """
    async with trio.open_nursery() as nursery:
        serving = _Serving(line, engine, nursery)
        nursery.start_soon(_beat, line, beat_seconds)
        while messages := await line.receive():
            for message, _ in messages:
                serving.take(message)
        nursery.cancel_scope.cancel()


async def _beat(line: Line[ToChild], beat_seconds: float) -> None:
    while True:
        line.send(Beat())
        await trio.sleep(beat_seconds)


class _Call:
    """A count or a generation under way."""

    def __init__(self, number: int, credit_bytes: int) -> None:
        self.number = number
        self.credit_bytes = credit_bytes
        self.granted = trio.Event()
        self.scope = trio.CancelScope()

    def grant(self, credit_bytes: int) -> None:
        self.credit_bytes += credit_bytes
        self.granted.set()

    async def wait_for_credit(self) -> None:
        while self.credit_bytes <= 0:
            self.granted = trio.Event()
            await self.granted.wait()


class _Serving:
    def __init__(self, line: Line[ToChild], engine: Engine, nursery: trio.Nursery) -> None:
        self._line = line
        self._engine = engine
        self._nursery = nursery
        self._calls: dict[int, _Call] = {}

    def take(self, message: ToChild) -> None:
        match message:
            case Count(number, request):
                self._nursery.start_soon(self._count, self._enter(number, 0), request)
            case Start(number, request, credit_bytes):
                self._nursery.start_soon(self._generate, self._enter(number, credit_bytes), request)
            case Grant(number, credit_bytes):
                if number in self._calls:
                    self._calls[number].grant(credit_bytes)
            case Leave(number):
                # It may have ended meanwhile, and said so.
                if number in self._calls:
                    self._calls[number].scope.cancel()
            case Open():
                raise LineBroken("opened twice")
            case _:
                assert_never(message)

    def _enter(self, number: int, credit_bytes: int) -> _Call:
        if number in self._calls:
            raise LineBroken(f"a call of a number that is taken (call={number})")
        self._calls[number] = _Call(number, credit_bytes)
        return self._calls[number]

    def _leave(self, call: _Call) -> None:
        del self._calls[call.number]
        self._line.send(Left(call.number))

    async def _count(self, call: _Call, request: GenerateRequest) -> None:
        with call.scope:
            try:
                self._line.send(Counted(call.number, await self._engine.count(request)))
            except Exception as exc:  # noqa: BLE001  # whatever an engine raises, the node is told
                self._fail(call, exc)
        self._leave(call)

    async def _generate(self, call: _Call, request: GenerateRequest) -> None:
        with call.scope:
            try:
                async with self._engine.generate(request) as pieces:
                    self._line.send(Begun(call.number))
                    # What goes wrong is told before the engine lets go, which may take a while.
                    await self._say(call, pieces)
            except Exception as exc:  # noqa: BLE001  # as above
                self._fail(call, exc)
        self._leave(call)

    async def _say(self, call: _Call, pieces: AsyncIterator[Piece]) -> None:
        try:
            async for piece in pieces:
                if call.credit_bytes <= 0:
                    await call.wait_for_credit()
                call.credit_bytes -= self._line.send(Said(call.number, piece))
                if piece.finish is not None:
                    return
        except Exception as exc:  # noqa: BLE001  # as above
            self._fail(call, exc)

    def _fail(self, call: _Call, exc: Exception) -> None:
        self._line.send(Failed(call.number, fault_of(exc)))
