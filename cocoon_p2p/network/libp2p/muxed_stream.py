"""One stream, as py-libp2p wants to hold it: waiting, over the machine that never waits.

A stream never touches the socket: a write copies into the machine's buffer and a read takes out
of it, so a cancel finds nothing half done. The connection's writer task does the sending.
"""

from typing import TYPE_CHECKING

import trio
from libp2p.abc import IMuxedStream
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset
from trio.lowlevel import ParkingLot

from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.network.libp2p.yamux_stream import Stream

if TYPE_CHECKING:
    from cocoon_p2p.network.libp2p.muxer import MuxedConnection


class MuxedStream(IMuxedStream):
    """A stream of a `MuxedConnection`. A cancel of any call leaves the connection as it was.

    `read` and `write` check for a cancel each time, but let other tasks run only every so often
    (`MuxedConnection.pace`): a switch for each small message costs more than the message.
    """

    def __init__(self, connection: "MuxedConnection", stream: Stream) -> None:
        self.muxed_conn = connection
        self.stream_id = stream.id
        self._connection = connection
        self._session = connection.session
        self._stream = stream
        self._readers = ParkingLot()
        self._writers = ParkingLot()
        self._echo_owed = b""
        self._writes = 0
        "Writes since a read had to wait."

        self._asks = False
        "Whether the last read that had to wait came after one write: a question, and then the answer."

        stream.waker = self

    def greet(self, greeting: bytes) -> None:
        """Put `greeting` before the first bytes written, and expect the peer to send it back first.

        It leaves with the first write, or alone when a read waits. A peer that answers anything else
        has its stream reset by the first read.
        """
        self._session.write(self._stream, greeting)
        self._echo_owed = greeting

    async def read(self, n: int | None = None) -> bytes:
        """Wait for bytes: at least one, and at most `n` (None or negative: all that came).

        Raises:
            MuxedStreamEOF: The peer closed its side, and all it wrote has been read.
            MuxedStreamReset: One side reset the stream, or the connection is lost.
        """
        stream = self._stream
        if stream.unread or stream.was_reset or stream.fin_received or n == 0:
            await self._connection.pace()  # Else it waits below.
        if n == 0:
            return b""
        while self._echo_owed:
            self._take_echo(await self._read(len(self._echo_owed)))
        return await self._read(None if n is None or n < 0 else n)

    async def _read(self, size_max_bytes: int | None) -> bytes:
        stream = self._stream
        while not stream.unread:
            if stream.was_reset:
                raise MuxedStreamReset("stream was reset")
            if stream.fin_received:
                raise MuxedStreamEOF("peer closed its side")
            self._session.announce(stream)
            self._asks, self._writes = self._writes == 1, 0
            self._connection.flush_now()
            await self._readers.park()
        data = self._session.read(stream, size_max_bytes, trio.current_time())
        self._connection.flush()
        return data

    def _take_echo(self, echo: bytes) -> None:
        if not self._echo_owed.startswith(echo):
            self.reset_nowait()
            raise MuxedStreamReset(f"peer refused the protocol (answer={echo[:64]!r})")
        self._echo_owed = self._echo_owed[len(echo) :]

    async def write(self, data: bytes) -> None:
        """Return once all of `data` is buffered; waits, for ever if need be, while the peer reads slowly.

        A cancelled write has buffered some first part of `data`: who goes on must know which, so
        most will want to reset the stream. Errors of the sending show on a later call.

        Raises:
            MuxedStreamClosed: We closed our side.
            MuxedStreamReset: One side reset the stream, or the connection is lost.
        """
        await self._connection.pace()
        stream = self._stream
        rest: bytes | memoryview = data
        while True:
            if stream.was_reset or self._connection.is_closed:
                raise MuxedStreamReset("stream was reset")
            if stream.fin_wanted:
                raise MuxedStreamClosed("stream is closed for writing")
            taken = self._session.write(stream, rest)
            if self._asks and not self._writes and taken == len(rest):
                # A question leaves at once. What did not fit waits for the writer task, which says when
                # there is room: to send from here would be to say so before anybody listens.
                self._connection.flush_now()
            else:
                self._connection.flush()
            self._writes += 1
            if stream.unsent:
                self._connection.budget.note(self._connection)
            if taken == len(rest):
                return
            rest = memoryview(rest)[taken:]
            if not stream.was_reset:  # By the budget, a moment ago.
                await self._writers.park()

    async def close_write(self) -> None:
        """Close our side after what is buffered; reading goes on. Done even if it is cancelled."""
        self._session.close_write(self._stream)
        self.wake_writer()
        self._connection.flush()
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """Close our side, and give the peer a minute to close its own. Done even if it is cancelled."""
        self._session.close(self._stream, trio.current_time())
        self.wake_writer()
        self._connection.flush()
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        """End the stream at once, both ways. Done even if it is cancelled."""
        self.reset_nowait()
        await trio.lowlevel.checkpoint()

    def reset_nowait(self) -> None:
        """End the stream at once, both ways, without waiting. Twice is harmless."""
        self._session.reset(self._stream)
        self.wake_reader()
        self.wake_writer()
        self._connection.flush()

    def wake_reader(self) -> None:
        """Let who waits in `read` look again."""
        self._readers.unpark_all()

    def wake_writer(self) -> None:
        """Let who waits in `write` look again."""
        self._writers.unpark_all()

    async def __aenter__(self) -> "MuxedStream":
        return self

    @property
    def is_closed(self) -> bool:
        """Whether both sides are closed, or the stream was reset."""
        return self._session.streams.get(self.stream_id) is not self._stream

    @property
    def was_reset(self) -> bool:
        """Whether either side reset the stream."""
        return self._stream.was_reset

    def set_deadline(self, ttl: int) -> None:
        """Refuse: in trio it is the caller's cancel scope that sets a deadline."""
        raise LocalProtocolError(f"a stream has no deadline of its own (ttl={ttl} seconds)")

    def get_remote_address(self) -> tuple[str, int] | None:
        """Name the peer's host and port."""
        return self._connection.get_remote_address()
