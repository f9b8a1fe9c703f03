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

PIECES_MAX = 1024
TEXT_MAX_BYTES = 256 * 1024
"What may wait unread; beyond it the answer is paid for no faster than it is read."


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer, of whole characters."""

    text: str
    completion_tokens: int
    "Cumulative, as the worker counts."


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
        return not self.is_left and (len(self._pieces) >= PIECES_MAX or self._unread_bytes >= TEXT_MAX_BYTES)

    def put(self, piece: Piece) -> None:
        """Hand over the next piece; dropped if the application has left."""
        if self.is_left:
            return
        self._pieces.append(piece)
        self._unread_bytes += len(piece.text.encode())
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
        self._unread_bytes -= len(piece.text.encode())
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
