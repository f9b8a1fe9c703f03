"""Where an answer's pieces wait for the application, and how the application says that it has enough.

The shell of an exchange puts pieces in, the application takes them out; each side runs in a task
of its own. It is full when the application has fallen behind, and then the shell stops reading.
"""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.protocols.wishes import TokenLogprob, ToolCall

PIECES_MAX = 1024
SIZE_MAX_BYTES = 256 * 1024
"What may wait unread; beyond it the answer is paid for no faster than it is read."

LOGPROB_SIZE_BYTES = 200
"A token and its likelihood, as Python holds them."

CALL_SIZE_BYTES = 400
"A tool call beside its arguments, of which there may be none."


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer, of whole characters."""

    text: str
    completion_tokens: int
    "Cumulative, as the worker counts."

    calls: tuple[ToolCall, ...] = ()
    "What the model wants called, each whole. The application checks it like anything from outside."

    logprobs: tuple[TokenLogprob, ...] = ()
    "Of the tokens so far, if they were asked for; a few may come a piece later than their text."

    vectors: tuple[bytes, ...] = ()
    "Embeddings of the next inputs: 32-bit floats, little-endian."

    @property
    def size_bytes(self) -> int:
        """What it takes while it waits, near enough."""
        size = len(self.text.encode()) + sum(map(len, self.vectors))
        size += sum(CALL_SIZE_BYTES + len(call.arguments) for call in self.calls)
        return size + LOGPROB_SIZE_BYTES * sum(1 + len(one.top) for one in self.logprobs)


class Reception:
    """The door between one request's task and the application."""

    def __init__(self) -> None:
        self.is_left = False
        "The application does not want the rest."

        self.ended = trio.Event()
        self.error: CocoonError | None = None
        self._pieces: deque[Piece] = deque()
        self._unread_bytes = 0
        self._changed = trio.Event()
        self._scopes: set[trio.CancelScope] = set()

    # ------------------------------------------------------------ the shell's side

    @property
    def is_full(self) -> bool:
        """Whether the application has fallen too far behind. Nobody reads what is left, so then never."""
        return not self.is_left and (len(self._pieces) >= PIECES_MAX or self._unread_bytes >= SIZE_MAX_BYTES)

    def put(self, piece: Piece) -> None:
        """Hand over the next piece; dropped if the application has left."""
        if self.is_left:
            return
        self._pieces.append(piece)
        self._unread_bytes += piece.size_bytes
        self._wake()

    async def room(self) -> None:
        """Wait until it is not full."""
        while self.is_full:
            await self._changed.wait()

    def end(self, error: CocoonError | None = None) -> None:
        """Say that nothing more comes, and why, if it is not because the answer is complete."""
        self.error = error
        self.ended.set()
        self._wake()

    @contextmanager
    def until(self, deadline: float = math.inf) -> Iterator[trio.CancelScope]:
        """Bound a wait by a time and by the application's leaving."""
        with trio.CancelScope(deadline=deadline) as scope:
            if self.is_left:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    # ------------------------------------------------------------ the application's side

    async def begun(self) -> None:
        """Wait until there is a piece, or the end.

        Raises:
            CocoonError: It ended without one.
        """
        while not self._pieces and not self.ended.is_set():
            await self._changed.wait()
        if not self._pieces and self.error is not None:
            raise self.error

    async def take(self) -> Piece | None:
        """Wait for the next piece; None at the end of a complete answer.

        Raises:
            CocoonError: The answer broke; all pieces before that were given.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._pieces:
            if self.ended.is_set():
                if self.error is not None:
                    raise self.error
                return None
            await self._changed.wait()
        piece = self._pieces.popleft()
        self._unread_bytes -= piece.size_bytes
        self._wake()
        return piece

    def leave(self) -> None:
        """Say that the rest is not wanted: whatever the shell waits for is cut short."""
        if self.is_left:
            return
        self.is_left = True
        for scope in tuple(self._scopes):
            scope.cancel()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
