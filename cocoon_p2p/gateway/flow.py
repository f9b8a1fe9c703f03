"""What an answer says over HTTP, between whoever makes it and whoever reads it.

Pieces are put in one by one and taken out together, as many as there are: a burst is one write. One
that is kept can be read again from its beginning, by a client that lost its connection.
"""

import trio

from cocoon_p2p.gateway.refusals import Headers, Refusal

UNREAD_MAX_BYTES = 256 * 1024
"What may wait for the slowest reader; then the answer is made no faster, and paid for no faster."

KEPT_MAX_BYTES = 1024 * 1024
"What is kept of one answer to be read again: vectors of some hundred texts, any answer of words."


class Flow:
    """One response while it is made. One task writes; any number read.

    Args:
        is_kept: Whether what was read can be read again.
    """

    def __init__(self, *, is_kept: bool) -> None:
        self.head: Headers | None = None
        "The headers that the response begins with, once there is an answer."

        self.refusal: Refusal | None = None
        "Said in place of what did not come: the whole response where there is no head, else its end."

        self.is_ended = False
        self._pieces: list[bytes] = []
        self._is_kept = is_kept
        self._dropped = 0
        "Pieces that can no longer be read."

        self._size_bytes = 0
        "Of the pieces that are there."

        self._readers: list[Reader] = []
        self._changed: trio.Event | None = None

    # ------------------------------------------------------------ who writes

    def begin(self, head: Headers) -> None:
        """Say how the response begins."""
        self.head = head
        self._wake()

    def write(self, piece: bytes) -> None:
        """Add what comes next."""
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        if self._is_kept and self._size_bytes > KEPT_MAX_BYTES:
            self._is_kept = False
        self._wake()

    async def room(self) -> None:
        """Wait until readers have taken enough of what is there. One that nobody reads is never full."""
        while self._unread_bytes() > UNREAD_MAX_BYTES:
            await self.changed()

    def end(self, refusal: Refusal | None = None) -> None:
        """Say that nothing more comes, and what has gone wrong, if something has."""
        self.refusal = refusal
        self.is_ended = True
        self._wake()

    def clear(self) -> None:
        """Drop what nobody reads: it was too much to be kept."""
        assert not self._readers, "somebody reads it"
        self._drop(self.end_at)

    def _unread_bytes(self) -> int:
        if self._size_bytes <= UNREAD_MAX_BYTES or not self._readers:
            return 0
        slowest = min(reader.at for reader in self._readers)
        return sum(map(len, self._pieces[slowest - self._dropped :]))

    # ------------------------------------------------------------ who reads

    @property
    def is_whole(self) -> bool:
        """Whether it can be read from its beginning."""
        return not self._dropped

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        return self._size_bytes

    @property
    def readers(self) -> int:
        """How many read it."""
        return len(self._readers)

    def read(self) -> "Reader":
        """Read it from its beginning; only while it is whole."""
        assert self.is_whole, "its beginning is gone"
        reader = Reader(self)
        self._readers.append(reader)
        return reader

    def leave(self, reader: "Reader") -> None:
        """Forget a reader."""
        self._readers.remove(reader)
        self._wake()

    def take(self, reader: "Reader") -> bytes:
        """Take what a reader has not read."""
        news = self._pieces[reader.at - self._dropped :]
        reader.at += len(news)
        if not self._is_kept:
            self._drop(min(one.at for one in self._readers))
        self._wake()
        return b"".join(news)

    def _drop(self, before: int) -> None:
        gone = before - self._dropped
        self._size_bytes -= sum(map(len, self._pieces[:gone]))
        del self._pieces[:gone]
        self._dropped = before

    @property
    def end_at(self) -> int:
        """The number of the next piece to be written."""
        return self._dropped + len(self._pieces)

    # ------------------------------------------------------------ waking each other

    async def changed(self) -> None:
        """Wait for anything to change."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Reader:
    """One who reads a `Flow`."""

    def __init__(self, flow: Flow) -> None:
        self.at = 0
        "The next piece."

        self._flow = flow

    async def begun(self) -> None:
        """Wait until it is known how the response begins, or that there is none."""
        while self._flow.head is None and not self._flow.is_ended:
            await self._flow.changed()

    async def take(self) -> bytes | None:
        """Wait for what comes next, as much as there is; None at the end."""
        flow = self._flow
        while self.at == flow.end_at:
            if flow.is_ended:
                return None
            await flow.changed()
        return flow.take(self)

    def leave(self) -> None:
        """Read no more."""
        self._flow.leave(self)
