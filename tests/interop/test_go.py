"""go-libp2p as a second peer that nobody here wrote: what its daemon and a node of ours say to each other."""

import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
from libp2p.identity.identify.pb.identify_pb2 import Identify

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_wire import encode, find_node
from cocoon_p2p.network.libp2p.kad_wire import read_message as read_kad_message
from cocoon_p2p.network.transport import Stream
from tests.interop.go_peer import PIECE_BYTES, DaemonFailed, GoPeer, go_peer, read_all
from tests.interop.scene import (
    ECHO,
    MEGABYTES,
    NETWORK,
    SINK,
    SOURCE,
    US,
    drink,
    our_node,
    our_server,
    streams_of,
)
from tests.interop.scene import read_all as read_ours

SECURED = pytest.mark.parametrize("security", ["noise", "tls"])
IDENTIFY = "/ipfs/id/1.0.0"
PING = "/ipfs/ping/1.0.0"


SIZED = "/interop/sized/1"
"Eight bytes that say how much follows, and all of that; the answer is its hash."


@asynccontextmanager
async def go(security: str = "noise", *arguments: str) -> AsyncIterator[GoPeer]:
    """A daemon that serves an echo, a sink and a source."""
    async with go_peer(security, *arguments) as peer:
        for protocol, handler in ((ECHO, _echo), (SIZED, _sized), (SINK, _sink), (SOURCE, _source)):
            await peer.handle(protocol, handler)
        yield peer


async def _echo(socket: trio.SocketStream) -> None:
    async for data in socket:
        await socket.send_all(data)


async def _sized(socket: trio.SocketStream) -> None:
    await socket.send_all(await hash_of_what_comes(socket.receive_some))


async def _sink(socket: trio.SocketStream) -> None:
    async for _ in socket:
        pass


async def _source(socket: trio.SocketStream) -> None:
    size = int(await socket.receive_some(16) or 0)
    for _ in range(0, size, PIECE_BYTES):
        await socket.send_all(bytes(PIECE_BYTES))


async def send_sized(send: Callable[[bytes], Awaitable[object]], size: int) -> bytes:
    """Send random bytes after their number; give their hash."""
    seen, block = hashlib.sha256(), os.urandom(PIECE_BYTES)
    await send(size.to_bytes(8, "big"))
    for left in range(size, 0, -PIECE_BYTES):
        piece = (left.to_bytes(8, "big") + block[8:])[:left]
        seen.update(piece)
        await send(piece)
    return seen.digest()


async def hash_of_what_comes(read: Callable[[int], Awaitable[bytes]]) -> bytes:
    """Read a number and as many bytes; give their hash."""
    left, seen = int.from_bytes(await exactly(read, 8), "big"), hashlib.sha256()
    while left:
        data = await read(min(left, PIECE_BYTES))
        assert data, "it ended early"
        seen.update(data)
        left -= len(data)
    return seen.digest()


async def exactly(read: Callable[[int], Awaitable[bytes]], size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await read(size - len(data))
        assert piece, "it ended early"
        data += piece
    return data


@SECURED
async def test_it_dials_us_and_we_answer_its_streams(security: str) -> None:
    async with our_node() as node, go(security) as peer:
        await peer.connect(US.peer_id, node.addresses)
        payload = os.urandom(32)
        for protocol in (ECHO, PING):
            async with await peer.open_stream(US.peer_id, protocol) as socket:
                await socket.send_all(payload)
                assert await exactly(socket.receive_some, 32) == payload

        assert await peer.connected() == [US.peer_id]
        assert node.is_connected(peer.peer)


@SECURED
async def test_we_dial_it_and_it_answers_our_streams(security: str) -> None:
    async with our_node() as node, go(security) as peer:
        dialled = await node.dial(peer.addresses)
        payload = os.urandom(32)
        for protocol in (ECHO, PING):
            stream = await node.open_stream(dialled, protocol)
            await stream.write(payload)
            assert await exactly(stream.read, 32) == payload

        assert dialled == peer.peer


@SECURED
async def test_each_identifies_itself_to_the_other(security: str) -> None:
    async with our_node() as node, go(security) as peer:
        stream = await node.open_stream(await node.dial(peer.addresses), IDENTIFY)
        theirs = _identified(await read_ours(stream))
        async with await peer.open_stream(US.peer_id, IDENTIFY) as socket:
            ours = _identified(await read_all(socket))

        assert {ECHO, PING} <= set(theirs.protocols)
        assert {ECHO, PING} <= set(ours.protocols)
        assert theirs.public_key[-32:] == peer.peer[-32:]
        assert ours.public_key[-32:] == US.peer_id[-32:]


def _identified(message: bytes) -> Identify:
    length = 1 + (message[0] >= 0x80)
    return Identify.FromString(message[length:])


@SECURED
async def test_what_it_sends_arrives_whole(security: str) -> None:
    async def take(stream: Stream) -> None:
        await stream.write(await hash_of_what_comes(stream.read))
        await stream.close_write()

    async with our_node() as node, go(security) as peer:
        node.accept_streams(SIZED, take)
        await peer.connect(US.peer_id, node.addresses)
        begun = time.perf_counter()
        async with await peer.open_stream(US.peer_id, SIZED) as socket:
            sent = await send_sized(socket.send_all, MEGABYTES << 20)
            received = await exactly(socket.receive_some, len(sent))
        print(f"go -> ours, {security}: {MEGABYTES / (time.perf_counter() - begun):.0f} MiB/s")

    assert received == sent


@SECURED
async def test_what_we_send_arrives_whole(security: str) -> None:
    async with our_node() as node, go(security) as peer:
        stream = await node.open_stream(await node.dial(peer.addresses), SIZED)
        begun = time.perf_counter()
        sent = await send_sized(stream.write, MEGABYTES << 20)
        received = await exactly(stream.read, len(sent))
        print(f"ours -> go, {security}: {MEGABYTES / (time.perf_counter() - begun):.0f} MiB/s")

    assert received == sent


@SECURED
async def test_streams_that_it_drops_in_the_middle_cost_no_connection(security: str) -> None:
    async with our_node() as node, go(security) as peer:
        await peer.connect(US.peer_id, node.addresses)
        (conn,) = node.swarm.open_connections(peer.peer)
        for number in range(100):
            async with await peer.open_stream(US.peer_id, SINK if number % 2 else SOURCE) as socket:
                if number % 2:
                    await socket.send_all(bytes(100_000))
                else:
                    await socket.send_all(b"100000000")
                    await socket.receive_some(1)

        async with await peer.open_stream(US.peer_id, ECHO) as alive:
            await alive.send_all(b"alive")
            assert await exactly(alive.receive_some, 5) == b"alive"
        assert node.swarm.open_connections(peer.peer) == [conn]


@SECURED
@pytest.mark.parametrize("call", ["open", "read", "write"])
async def test_what_we_cancel_in_the_middle_costs_no_connection(call: str, security: str) -> None:
    async with our_node() as node, go(security) as peer:
        dialled = await node.dial(peer.addresses)
        (conn,) = node.swarm.open_connections(dialled)
        for number in range(100):
            stream: Stream | None = None
            if call != "open":
                stream = await node.open_stream(dialled, SOURCE if call == "read" else SINK)
            with trio.move_on_after(number * 0.00002):
                if stream is None:
                    stream = await node.open_stream(dialled, ECHO)
                elif call == "read":
                    await stream.write(b"100000000")
                    await drink(stream)
                else:
                    await stream.write(bytes(1_000_000))
            if stream is not None:
                stream.reset()

        alive = await node.open_stream(dialled, ECHO)
        await alive.write(b"alive")
        assert await alive.read(5) == b"alive"
        assert node.swarm.open_connections(dialled) == [conn]


async def test_an_unheard_of_protocol_is_refused_at_either_end_and_the_connection_lives() -> None:
    async with our_node() as node, go() as peer:
        dialled = await node.dial(peer.addresses)
        with pytest.raises(Unavailable, match="/unheard/of/1"):
            await node.open_stream(dialled, "/unheard/of/1")
        with pytest.raises(DaemonFailed, match="protocol"):
            await peer.open_stream(US.peer_id, "/unheard/of/1")

        stream = await node.open_stream(dialled, ECHO)
        await stream.write(b"alive")
        assert await stream.read(5) == b"alive"


async def test_when_it_hangs_up_we_notice_and_it_may_come_back() -> None:
    async with our_node() as node, go() as peer:
        await peer.connect(US.peer_id, node.addresses)
        await peer.disconnect(US.peer_id)
        with trio.fail_after(30):
            await node.wait_disconnected(peer.peer)
        await peer.connect(US.peer_id, node.addresses)
        async with await peer.open_stream(US.peer_id, ECHO) as socket:
            await socket.send_all(b"again")
            assert await exactly(socket.receive_some, 5) == b"again"

        assert node.is_connected(peer.peer)


async def test_its_directory_is_another_network_than_ours() -> None:
    """The daemon's DHT has one protocol id, /ipfs/kad/1.0.0, which it cannot be told to change."""
    async with our_server() as (node, directory), go("noise", "-dhtServer") as peer:
        dialled = await node.dial(peer.addresses)
        with pytest.raises(Unavailable):
            await node.open_stream(dialled, KadKeys(NETWORK).protocol)
        stream = await node.open_stream(dialled, "/ipfs/kad/1.0.0")
        await stream.write(encode(find_node(US.peer_id)))

        assert await read_kad_message(stream) is not None
        assert directory.servers_known == 0


async def test_its_flood_of_streams_is_bounded_and_others_are_served() -> None:
    async with our_node() as node, go() as flooder, go() as honest, AsyncExitStack() as held:
        await flooder.connect(US.peer_id, node.addresses)
        await honest.connect(US.peer_id, node.addresses)
        answered: list[bytes] = []

        async def flood() -> None:
            for _ in range(50):
                with suppress(DaemonFailed, trio.BrokenResourceError):
                    # It may say that the stream is open before we were asked: only an answer tells.
                    socket = await held.enter_async_context(await flooder.open_stream(US.peer_id, ECHO))
                    await socket.send_all(b"x")
                    answered.append(await socket.receive_some(1))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(flood)
            for number in range(20):
                async with await honest.open_stream(US.peer_id, ECHO) as socket:
                    await socket.send_all(b"%02d" % number)
                    assert await exactly(socket.receive_some, 2) == b"%02d" % number

        assert 0 < answered.count(b"x") <= 512
        # One more may stand until its reset is through.
        with trio.fail_after(60):
            while streams_of(node, flooder.peer) > 512:  # noqa: ASYNC110  there is no event
                await trio.sleep(0.02)
