"""The bytes below a secured connection: a socket without upstream's locks, or whatever else carries it.

py-libp2p 0.8.1 takes a trio lock for each read and write of a socket, and trio's lock gives every
other task its turn first, also when it is free: a quarter of what a round trip costs. Here one task
reads, and writers take turns only if there are two.

Rule 1: bytes leave in the order in which they were handed over, also those that `write_now` left behind.
Rule 2: a cancelled `write` leaves the connection unusable.
"""

import os

import trio
from libp2p.abc import IRawConnection
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection


class Wire:
    """What a secured connection runs over."""

    def __init__(self, raw: IRawConnection) -> None:
        self._raw = raw
        self._socket_stream = _socket_stream(raw)
        self._writing = trio.Lock()
        self._left_behind = b""

    async def read(self, size_max_bytes: int) -> bytes:
        """Wait for bytes; b"" once the peer has closed."""
        if self._socket_stream is None:
            return await self._raw.read(size_max_bytes)
        while True:
            # To look before waiting, as trio's own read does, mostly costs a call in vain.
            await trio.lowlevel.wait_readable(self._socket())
            try:
                # Ask for its number again: it may have been closed, and the number given to another.
                return os.read(self._socket(), size_max_bytes)
            except BlockingIOError:
                continue

    async def write(self, data: bytes | bytearray) -> None:
        """Send what was left behind, and all of `data`."""
        try:
            self._writing.acquire_nowait()
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            data, self._left_behind = self._left_behind + data, b""
            if self._socket_stream is None:
                await self._raw.write(bytes(data))
            else:
                await self._socket_stream.send_all(data)
        finally:
            self._writing.release()

    @property
    def is_free(self) -> bool:
        """Whether `write_now` may be called: it is a socket, and nothing is under way into it."""
        return not (self._socket_stream is None or self._left_behind or self._writing.locked())

    @property
    def is_behind(self) -> bool:
        """Whether something was left behind, that `write` has to bring."""
        return bool(self._left_behind)

    def write_now(self, data: bytes | bytearray) -> None:
        """Send as much of `data` as the socket takes without waiting, and leave the rest behind."""
        assert self.is_free, "look at is_free first"
        try:
            sent = os.write(self._socket(), data)
        except (OSError, trio.ClosedResourceError):
            # It is full; or it is lost, and then `write` fails on what is left behind.
            sent = 0
        if sent < len(data):
            self._left_behind = bytes(data[sent:])

    def _socket(self) -> int:
        assert self._socket_stream is not None
        descriptor = self._socket_stream.socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("this socket was already closed")
        return descriptor


def _socket_stream(raw: IRawConnection) -> trio.SocketStream | None:
    if type(raw) is RawConnection and type(raw.stream) is TrioTCPStream:
        return raw.stream.stream
    return None
