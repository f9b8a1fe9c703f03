"""A stream through a relay as what a connection runs over, like a socket.

What libp2p secures and multiplexes over it is a connection like any other, proved by the key of whoever
is at its far end; the relay sees sealed bytes. Both ways are counted, since a relay ends a circuit that
has carried enough.
"""

from libp2p.connection_types import ConnectionType
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from multiaddr import Multiaddr  # type: ignore[import-untyped]  # it ships no types

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.network.libp2p.relay_wire import Limit
from cocoon_p2p.network.libp2p.stream import Libp2pStream

_READ_BYTES = 128 * 1024


class CircuitIO(ReadWriteCloser):
    """A stream to a relay that has agreed to carry it on (`libp2p.io.abc.ReadWriteCloser`)."""

    def __init__(self, stream: Libp2pStream, began: float) -> None:
        self.stream = stream
        self.began = began
        "On trio's clock: when the relay agreed."

        self.received_bytes = 0
        self.sent_bytes = 0

    async def read(self, n: int | None = None) -> bytes:
        """Wait for bytes, or b"" at the end. Raises what libp2p expects of a lost socket."""
        try:
            data = await self.stream.read(n or _READ_BYTES)
        except Unavailable as exc:
            raise ConnectionClosedError(str(exc)) from exc
        self.received_bytes += len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Hand bytes over. Raises what libp2p expects of a lost socket."""
        try:
            await self.stream.write(data)
        except Unavailable as exc:
            raise ConnectionClosedError(str(exc)) from exc
        self.sent_bytes += len(data)

    async def close(self) -> None:
        """Let what was written leave, and read no more."""
        await self.stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Say that there is none: where the relay is says nothing of the peer."""
        return None

    def used(self, limit: Limit, now: float) -> float:
        """Say how much of what the relay allows is used up: 0 none, 1 all."""
        shares = [0.0]
        if limit.seconds:
            shares.append((now - self.began) / limit.seconds)
        if limit.size_bytes:
            shares.append(max(self.sent_bytes, self.received_bytes) / limit.size_bytes)
        return max(shares)


def raw_connection(io: CircuitIO, *, is_initiator: bool) -> RawConnection:
    """Dress a circuit for libp2p's upgrader, marked as relayed."""
    return RawConnection(io, is_initiator, ConnectionType.RELAYED, [Multiaddr("/p2p-circuit")])
