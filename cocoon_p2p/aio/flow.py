"""One answer's pieces, from the trio thread to a reader in another: in order, bounded, cheaply.

The writer appends and asks for the reader to be woken, unless it has asked already: each asking is
a system call, and a burst of tokens costs one. A reader that lags stops its own writer.
"""

from collections import deque
from collections.abc import Callable

import trio

from cocoon_p2p.client import Piece

PIECES_MAX = 256
SIZE_MAX_BYTES = 256 * 1024
"What may wait for the reader; beyond it the client on trio waits, and buys no faster than is read."


class Flow:
    """The way of one answer. `put`, `room` and `end` are for trio's thread, all else for the reader's.

    Args:
        wake: Has `woken` called in the reader's thread, soon. Called in trio's thread.
        post: Has a function called in trio's thread, soon, if that still runs. Called in the reader's.
        woken: Tells the reader, in its own thread, that there is something.
    """

    __slots__ = (
        "_error",
        "_is_ended",
        "_is_waking",
        "_pieces",
        "_post",
        "_put_bytes",
        "_room",
        "_taken_bytes",
        "_wake",
        "_woken",
    )

    def __init__(
        self,
        wake: Callable[[Callable[[], None]], None],
        post: Callable[[Callable[[], None]], None],
        woken: Callable[[], None],
    ) -> None:
        self._wake = wake
        self._post = post
        self._woken = woken
        self._pieces: deque[Piece] = deque()
        # Two, since each has one thread that writes it.
        self._put_bytes = 0
        self._taken_bytes = 0
        self._room: trio.Event | None = None
        self._is_waking = False
        self._is_ended = False
        self._error: BaseException | None = None

    # ------------------------------------------------------------ trio's thread

    def put(self, piece: Piece) -> None:
        """Hand a piece over."""
        self._pieces.append(piece)
        self._put_bytes += piece.size_bytes
        self._tell()

    async def room(self) -> None:
        """Wait until the reader has caught up."""
        while self._is_full:
            self._room = trio.Event()
            # The reader may have taken the last piece before it could see that somebody waits.
            if self._is_full:
                await self._room.wait()
        self._room = None

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, and why, if the answer is not complete. Only the first time counts."""
        if self._is_ended:
            return
        self._error = error
        self._is_ended = True
        self._tell()

    def _tell(self) -> None:
        if not self._is_waking:
            self._is_waking = True
            self._wake(self._on_wake)

    @property
    def _is_full(self) -> bool:
        return self._is_filled(PIECES_MAX, SIZE_MAX_BYTES)

    def _is_filled(self, pieces: int, size_bytes: int) -> bool:
        return len(self._pieces) >= pieces or self._put_bytes - self._taken_bytes >= size_bytes

    # ------------------------------------------------------------ the reader's thread

    def _on_wake(self) -> None:
        # First: what comes from now on asks again.
        self._is_waking = False
        self._woken()

    def pop(self) -> Piece | None:
        """Take the next piece, if there is one."""
        if not self._pieces:
            return None
        piece = self._pieces.popleft()
        self._taken_bytes += piece.size_bytes
        room = self._room
        if room is not None and not self._is_filled(PIECES_MAX // 2, SIZE_MAX_BYTES // 2):
            self._room = None
            self._post(room.set)
        return piece

    @property
    def has_news(self) -> bool:
        """Whether there is a piece to take, or the end to see."""
        return bool(self._pieces) or self._is_ended

    @property
    def is_over(self) -> bool:
        """Whether everything was read.

        Raises:
            CocoonError: It was, and the answer is not complete.
        """
        # In this order: the end is told after the last piece.
        if not self._is_ended or self._pieces:
            return False
        if self._error is not None:
            raise self._error
        return True
