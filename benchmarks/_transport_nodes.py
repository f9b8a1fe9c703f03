"""The Python ends that `transport.py` measures: our transport, py-libp2p as it ships, and bare TCP.

Each does the same four things. Only `ours` loads our patches of libp2p; the others must run in
processes of their own.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import trio

ECHO = "/benchmark/echo/1"
"Whatever comes goes back."

SINK = "/benchmark/sink/1"
"Whatever comes is thrown away; the answer is how many bytes that was, in decimal."

READ_SIZE_BYTES = 256 * 1024

MANY = 4096
"Instead of any limit of a node that a benchmark from one address would meet."


class Stream(Protocol):
    """One stream, or one TCP connection."""

    async def read(self) -> bytes:
        """Wait for bytes; nothing at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send."""
        ...

    async def close_write(self) -> None:
        """Say that nothing more comes."""
        ...


class Node(Protocol):
    """One end. A node dials one other."""

    address: str

    async def dial(self, address: str) -> None:
        """Return once a stream can be opened."""
        ...

    async def hang_up(self) -> None:
        """End the connection."""
        ...

    async def open(self, protocol: str) -> Stream:
        """Open a stream, as a program that uses this node would."""
        ...

    async def open_negotiated(self, protocol: str) -> Stream:
        """Open a stream, and return when the other side has agreed to the protocol."""
        ...


async def serve(protocol: str, stream: Stream) -> None:
    """Be the other side of a stream."""
    size = 0
    while data := await stream.read():
        size += len(data)
        if protocol == ECHO:
            await stream.write(data)
    if protocol == SINK:
        await stream.write(b"%d" % size)
    await stream.close_write()


# ------------------------------------------------------------------- ours


class OurStream:
    """`network.transport.Stream`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.write = stream.write
        self.close_write = stream.close_write

    async def read(self) -> bytes:
        """Read what came."""
        data: bytes = await self._stream.read(READ_SIZE_BYTES)
        return data


@asynccontextmanager
async def our_node(security: str) -> AsyncIterator[Node]:
    """Open our transport, with one way to secure."""
    from cocoon_p2p.identity import Identity
    from cocoon_p2p.network.libp2p import host
    from cocoon_p2p.network.libp2p.limits import Limits, Rate
    from cocoon_p2p.network.libp2p.security import security_options
    from cocoon_p2p.network.libp2p.stream import open_on

    def only(key_pair: Any) -> Any:
        return {name: each for name, each in security_options(key_pair).items() if security in name}

    class OurNode:
        def __init__(self, transport: host.Libp2pTransport) -> None:
            self.address = transport.addresses[0]
            self._transport = transport
            for protocol in (ECHO, SINK):
                transport.accept_streams(protocol, self._acceptor(protocol))

        def _acceptor(self, protocol: str) -> Callable[[Any], Awaitable[None]]:
            async def accept(stream: Any) -> None:
                await serve(protocol, OurStream(stream))

            return accept

        async def dial(self, address: str) -> None:
            self._peer = await self._transport.dial([address])

        async def hang_up(self) -> None:
            for conn in self._transport.swarm.open_connections(self._peer):
                await conn.close()

        async def open(self, protocol: str) -> OurStream:
            return OurStream(await self._transport.open_stream(self._peer, protocol))

        async def open_negotiated(self, protocol: str) -> OurStream:
            conn = self._transport.swarm.open_connections(self._peer)[-1]
            return OurStream(await open_on(conn, protocol, is_known=False, seconds=10))

    host.security_options = only
    quick = Rate(per_second=MANY, burst=MANY)
    limits = Limits(
        connections_max=MANY,
        strangers_max=MANY,
        connections_per_range_max=MANY,
        handshakes_max=MANY,
        handshakes_per_range_max=MANY,
        handshake_rate=quick,
        handshake_rate_per_range=quick,
        stream_rate_per_peer=quick,
        stream_rate_of_strangers=quick,
    )
    async with host.open_transport(
        Identity.from_seed(os.urandom(32)), listen=["/ip4/127.0.0.1/tcp/0"], limits=limits
    ) as transport:
        yield OurNode(transport)


# ------------------------------------------------------------------ stock


class StockStream:
    """libp2p's `NetStream`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.write = stream.write
        self.close_write = stream.close_write

    async def read(self) -> bytes:
        """Read what came."""
        from libp2p.network.stream.exceptions import StreamEOF

        try:
            data: bytes = await self._stream.read(READ_SIZE_BYTES)
        except StreamEOF:
            return b""
        return data


@asynccontextmanager
async def stock_node(security: str) -> AsyncIterator[Node]:
    """Run a host of py-libp2p as it ships."""
    from libp2p import new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.crypto.x25519 import create_new_key_pair as noise_key_pair
    from libp2p.network.config import ConnectionConfig
    from libp2p.peer.peerinfo import info_from_p2p_addr
    from libp2p.security.noise import transport as noise
    from libp2p.security.tls import transport as tls
    from multiaddr import Multiaddr

    keys = create_new_key_pair()
    secure = (
        {noise.PROTOCOL_ID: noise.Transport(keys, noise_privkey=noise_key_pair().private_key)}
        if security == "noise"
        else {tls.PROTOCOL_ID: tls.TLSTransport(keys)}
    )
    listen = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    host = new_host(
        key_pair=keys,
        sec_opt=secure,
        muxer_preference="YAMUX",
        listen_addrs=listen,
        connection_config=ConnectionConfig(
            max_connections=MANY, min_connections=0, low_watermark=0, high_watermark=MANY
        ),
    )

    class StockNode:
        def __init__(self) -> None:
            self.address = str(host.get_addrs()[0])
            for protocol in (ECHO, SINK):
                host.set_stream_handler(protocol, self._acceptor(protocol))

        def _acceptor(self, protocol: str) -> Callable[[Any], Awaitable[None]]:
            async def accept(stream: Any) -> None:
                await serve(protocol, StockStream(stream))

            return accept

        async def dial(self, address: str) -> None:
            self._info = info_from_p2p_addr(Multiaddr(address))
            await host.connect(self._info)

        async def hang_up(self) -> None:
            await host.disconnect(self._info.peer_id)

        async def open(self, protocol: str) -> StockStream:
            return StockStream(await host.new_stream(self._info.peer_id, [protocol]))

        open_negotiated = open

    async with host.run(listen):
        yield StockNode()


# ------------------------------------------------------------------- bare


class BareStream:
    """One TCP connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.write = stream.send_all
        self.close_write = stream.send_eof

    async def read(self) -> bytes:
        """Read what came."""
        return bytes(await self._stream.receive_some(READ_SIZE_BYTES))


@asynccontextmanager
async def bare_node(security: str) -> AsyncIterator[Node]:
    """Listen with trio alone. A stream is a connection, and its first byte says what it is for."""
    kinds = {b"e": ECHO, b"s": SINK}

    async def accept(stream: trio.SocketStream) -> None:
        async with stream:
            kind = bytes(await stream.receive_some(1))
            if kind:
                await serve(kinds[kind], BareStream(stream))

    class BareNode:
        def __init__(self, port: int) -> None:
            self.address = str(port)

        async def dial(self, address: str) -> None:
            self._port = int(address)
            self._stream = await trio.open_tcp_stream("127.0.0.1", self._port)

        async def hang_up(self) -> None:
            await self._stream.aclose()

        async def open(self, protocol: str) -> BareStream:
            stream = await trio.open_tcp_stream("127.0.0.1", self._port)
            await stream.send_all(b"e" if protocol == ECHO else b"s")
            return BareStream(stream)

        open_negotiated = open

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, accept, 0)
        yield BareNode(listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


NODES = {"ours": our_node, "stock": stock_node, "bare": bare_node}
