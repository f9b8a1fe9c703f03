"""An engine that answers no faster than it is told to, so that there is time to see an answer come."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.inference.engine import (
    Capabilities,
    ChangingEngine,
    Engine,
    GenerateRequest,
    Piece,
    PromptCount,
)


class PacedEngine:
    """An `Engine` that holds back what another one makes. It closes that one.

    Args:
        engine: What computes. It is read slowly, and goes on or waits as it likes.
        tokens_per_second: Of each answer; the first token comes as soon as it is there.
    """

    def __init__(self, engine: Engine, tokens_per_second: float) -> None:
        self._engine = engine
        self._seconds_per_token = 1 / tokens_per_second

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    async def wait_for_change(self, known: Capabilities) -> Capabilities:
        """Return what is offered once that is something else, if ever (`ChangingEngine`)."""
        if isinstance(self._engine, ChangingEngine):
            return await self._engine.wait_for_change(known)
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def count(self, request: GenerateRequest) -> PromptCount:
        return await self._engine.count(request)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        async with self._engine.generate(request) as pieces:
            yield _Paced(pieces, self._seconds_per_token)

    async def aclose(self) -> None:
        await self._engine.aclose()


class _Paced:
    """The pieces of one answer, each no sooner than its last token is due."""

    def __init__(self, pieces: AsyncIterator[Piece], seconds_per_token: float) -> None:
        self._pieces = pieces
        self._seconds_per_token = seconds_per_token
        self._first_at: float | None = None

    def __aiter__(self) -> "_Paced":
        return self

    async def __anext__(self) -> Piece:
        piece = await anext(self._pieces)
        if piece.completion_tokens:
            if self._first_at is None:
                self._first_at = trio.current_time()
            await trio.sleep_until(self._first_at + (piece.completion_tokens - 1) * self._seconds_per_token)
        return piece
