"""The node's end of one call: what the child said of it, judged, until its reader takes it."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import trio

from cocoon_p2p.inference.engine import EngineError, GenerateRequest, Piece
from cocoon_p2p.inference.isolated.frames import WINDOW_BYTES, LineBroken
from cocoon_p2p.inference.pipe import BURST_ITEMS
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS

STALL_SLACK: Final = 0.9
"""Of the patience: a reader that leaves after so long without a step has given the engine up, although its
own clock may have struck a moment before ours. The rest is a wait of its own: in it a node that was itself
held up hears what was said meanwhile."""


class Intake(AsyncIterator[Piece]):
    """One generation's pieces, for one reader.

    Args:
        request: What was asked.
        grant: Lets the child say so many bytes more.
        patience_seconds: How long the reader waits for one piece before it gives the engine up.
    """

    def __init__(
        self,
        request: GenerateRequest,
        grant: Callable[[int], None],
        *,
        patience_seconds: float = ENGINE_STALL_SECONDS,
    ) -> None:
        self._tokens_max = request.completion_tokens_max
        self._grant = grant
        self._patience_seconds = patience_seconds
        self._waiting = deque[tuple[Piece, int]]()
        self._credit_bytes = WINDOW_BYTES
        "What the child may still say."

        self._taken_bytes = 0
        "What the reader took since the last grant."

        self._completion_tokens = 0
        self._is_finished = False
        self._error: EngineError | None = None
        self._is_ended = False
        self._news = trio.Event()
        self._waits_since: float | None = None
        self._burst = 0

    @property
    def is_stalled(self) -> bool:
        """Whether the reader has waited for a step for as long as an engine may take."""
        since = self._waits_since
        return since is not None and trio.current_time() >= since + STALL_SLACK * self._patience_seconds

    def take(self, piece: Piece, size_bytes: int) -> None:
        """Take a piece from the child.

        Raises:
            LineBroken: There was no credit for it, or it cannot be.
        """
        if self._credit_bytes <= 0:
            raise LineBroken("a piece without credit")
        if self._is_finished or self._is_ended:
            raise LineBroken("a piece after the last one")
        if (
            not self._completion_tokens <= piece.completion_tokens <= self._tokens_max
            or piece.prompt_tokens < 0
        ):
            raise LineBroken("a piece with counts that cannot be")
        self._completion_tokens = piece.completion_tokens
        self._is_finished = piece.finish is not None
        self._credit_bytes -= size_bytes
        self._waiting.append((piece, size_bytes))
        self._news.set()

    def end(self, error: EngineError) -> None:
        """Say that nothing more comes. The reader gets what is there, then `error` if that had no finish."""
        if not self._is_ended:
            self._is_ended = True
            self._error = error
            self._news.set()

    async def __anext__(self) -> Piece:
        """Give the next piece. Cancelled, it takes none.

        Raises:
            EngineError: The engine failed, or made no step for `patience_seconds`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._waiting or self._burst >= BURST_ITEMS:
            await self._wait()
            self._burst = 0
        if self._waiting:
            self._burst += 1
            piece, size_bytes = self._waiting.popleft()
            self._pay_back(size_bytes)
            return piece
        if self._is_finished:
            raise StopAsyncIteration
        assert self._error is not None
        raise self._error

    async def _wait(self) -> None:
        """Return when a piece is there or none will come, having run other tasks meanwhile."""
        self._waits_since = trio.current_time()
        for share in (STALL_SLACK, 1 - STALL_SLACK):
            with trio.move_on_after(share * self._patience_seconds):
                while not (self._waiting or self._is_ended or self._is_finished):
                    self._news = trio.Event()
                    await self._news.wait()
                if self._waiting or self._is_finished:
                    self._waits_since = None
                await trio.lowlevel.cancel_shielded_checkpoint()
                return
        raise EngineError(f"the engine made no step (waited={self._patience_seconds:g} s)")

    def _pay_back(self, size_bytes: int) -> None:
        self._taken_bytes += size_bytes
        if self._taken_bytes >= WINDOW_BYTES // 2:
            self._credit_bytes += self._taken_bytes
            self._grant(self._taken_bytes)
            self._taken_bytes = 0
