"""One libp2p stream behind our interface, and how we open one.

Upstream's own opening is not used: a cancel in the middle of it leaves the stream in its
connection's books until the connection ends, and a connection with streams is never let go.
"""

from math import ceil

from libp2p.abc import IMuxedConn
from libp2p.connection_types import ConnectionType
from libp2p.custom_types import TProtocol
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from cocoon_p2p.errors import LocalProtocolError, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.errors import UPSTREAM_ERRORS, root_cause
from cocoon_p2p.network.libp2p.muxed_stream import MuxedStream
from cocoon_p2p.network.libp2p.muxer import MuxedConnection
from cocoon_p2p.network.libp2p.negotiation import negotiate_with_first_bytes
from cocoon_p2p.network.libp2p.punched import PunchedConnection
from cocoon_p2p.network.libp2p.secured_io import raw_below
from cocoon_p2p.network.libp2p.swarm import is_best


async def open_on(conn: SwarmConn, protocol: str, *, is_known: bool, seconds: float) -> "Libp2pStream":
    """Open a stream of this protocol on a connection. A cancel leaves nothing open.

    Args:
        conn: The connection.
        protocol: The libp2p protocol id.
        is_known: The peer told us that it speaks the protocol, so the negotiation need not be waited for.
        seconds: How long it may take otherwise.

    Raises:
        Unavailable: The connection is lost, or the peer does not speak this protocol.
    """
    try:
        muxed = await conn.muxed_conn.open_stream()
        net_stream = NetStream(muxed, conn, None)
        conn.streams.add(net_stream)
        stream = Libp2pStream(net_stream)
        try:
            if is_known:
                negotiate_with_first_bytes(net_stream, TProtocol(protocol))
                # The greeting leaves now, or with what the caller writes at once.
                await stream.write(b"")
            else:
                talk = MultiselectCommunicator(net_stream)
                await MultiselectClient().select_one_of([TProtocol(protocol)], talk, ceil(seconds))
                net_stream.set_protocol(TProtocol(protocol))
        except BaseException:
            stream.reset()
            raise
    except UPSTREAM_ERRORS as exc:
        raise Unavailable(f"no stream: {root_cause(exc)} (protocol={protocol})") from exc
    return stream


class Libp2pStream:
    """A negotiated stream (`network.transport.Stream`).

    Bytes go straight to the muxer's stream: upstream's wrapper takes a lock, and so a turn of
    the scheduler, for each read and write, and learns nothing that is used here.
    """

    def __init__(self, net_stream: NetStream) -> None:
        muxed = net_stream.muxed_stream
        assert isinstance(muxed, MuxedStream)
        self._net_stream = net_stream
        self._muxed = muxed
        self._peer = PeerId(net_stream.muxed_conn.peer_id.to_bytes())
        self._was_read_to_end = False
        self._was_closed = False
        self._was_reset = False

    @property
    def peer(self) -> PeerId:
        return self._peer

    @property
    def protocol(self) -> str:
        return str(self._net_stream.get_protocol())

    @property
    def remote_host(self) -> str:
        """The IP address that the peer's connection comes from or leads to; empty over a relay."""
        remote = self._muxed.get_remote_address()
        is_relayed = self.connection.get_connection_type() is ConnectionType.RELAYED
        return "" if remote is None or is_relayed else remote[0]

    @property
    def is_punched(self) -> bool:
        """Whether it runs through a hole that we knocked for, though the peer is the side that dialled."""
        muxed = self.connection
        return isinstance(muxed, MuxedConnection) and isinstance(
            raw_below(muxed.secured_conn), PunchedConnection
        )

    @property
    def connection(self) -> IMuxedConn:
        """What it runs on, as libp2p knows it; to be compared with others."""
        return self._net_stream.muxed_conn

    @property
    def swarm_conn(self) -> SwarmConn:
        """What it runs on."""
        conn = self._net_stream.swarm_conn
        assert isinstance(conn, SwarmConn)
        return conn

    @property
    def is_relayed(self) -> bool:
        """Whether it runs through a relay."""
        return self._muxed.muxed_conn.get_connection_type() is ConnectionType.RELAYED

    @property
    def is_superseded(self) -> bool:
        """Whether it runs through a relay, and a direct connection or a newer one to the peer stands."""
        return self.is_relayed and not is_best(self.swarm_conn)

    @property
    def was_closed(self) -> bool:
        """Whether our side said that nothing more comes."""
        return self._was_closed

    @property
    def was_reset(self) -> bool:
        """Whether we gave the stream up."""
        return self._was_reset

    async def read(self, size_max_bytes: int) -> bytes:
        """Wait for 1 to `size_max_bytes` bytes, or b"" at the end. A cancel loses nothing."""
        self._refuse_after_reset()
        try:
            return await self._muxed.read(size_max_bytes)
        except MuxedStreamEOF:
            self._was_read_to_end = True
            self._forget_if_done()
            return b""
        except UPSTREAM_ERRORS as exc:
            raise self._lost(exc) from exc

    async def write(self, data: bytes) -> None:
        """Hand bytes over. After a cancel any prefix of them is under way."""
        self._refuse_after_reset()
        if self._was_closed:
            raise LocalProtocolError("write on a stream whose writing side we closed")
        try:
            await self._muxed.write(data)
        except UPSTREAM_ERRORS as exc:
            raise self._lost(exc) from exc

    async def close_write(self) -> None:
        """Say that nothing more comes, also if cancelled; on a stream that is lost this changes nothing."""
        self._was_closed = True
        self._forget_if_done()
        await self._muxed.close_write()

    async def close(self) -> None:
        """Say that nothing more comes, and give the peer a minute to say so too; what comes is not read.

        Done even if it is cancelled.
        """
        self._was_closed = self._was_read_to_end = True
        self._forget_if_done()
        await self._muxed.close()

    def reset(self) -> None:
        """Give the stream up, both ways."""
        self._was_reset = True
        self._muxed.reset_nowait()
        self._forget_if_done()

    def _refuse_after_reset(self) -> None:
        if self._was_reset:
            raise Unavailable(f"the stream was reset ({self._facts()})")

    def _forget_if_done(self) -> None:
        # Upstream's connection keeps a stream that both sides closed until it ends itself.
        is_done = self._was_reset or (self._was_closed and self._was_read_to_end)
        if is_done and self._net_stream.swarm_conn is not None:
            self._net_stream.swarm_conn.remove_stream(self._net_stream)

    def _lost(self, exc: Exception) -> Unavailable:
        return Unavailable(f"the stream was lost: {str(exc) or type(exc).__name__} ({self._facts()})")

    def _facts(self) -> str:
        return f"peer={peer_id_text(self._peer)} protocol={self.protocol}"
