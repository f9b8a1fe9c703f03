"""Our muxer between two py-libp2p hosts, over real sockets, secured by Noise and by TLS."""

import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from libp2p import new_host
from libp2p.abc import IHost, IRawConnection
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.stream.exceptions import StreamEOF, StreamError
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from multiaddr import Multiaddr

from cocoon_p2p.network.libp2p import patches
from cocoon_p2p.network.libp2p.muxed_stream import MuxedStream
from cocoon_p2p.network.libp2p.muxer import MuxedConnection, muxer_options
from cocoon_p2p.network.libp2p.negotiation import negotiate_with_first_bytes
from cocoon_p2p.network.libp2p.secured_io import NoiseIO, PlainIO, TlsIO, raw_below, secured_io
from cocoon_p2p.network.libp2p.security import security_options
from cocoon_p2p.network.libp2p.yamux_frames import DATA, WINDOW_INITIAL_BYTES, encode

ECHO = TProtocol("/test/echo/1")
STALL = TProtocol("/test/stall/1")
UNKNOWN = TProtocol("/test/unknown/1")
SECURED_BY = ["/noise", "/tls/1.0.0"]


@pytest.fixture(autouse=True)
def mended() -> None:
    patches.install()


class Node:
    """A bare py-libp2p host with an echo, and a stream that nobody reads."""

    def __init__(self, secured_by: str) -> None:
        keys = create_new_key_pair()
        self.address = Multiaddr("/ip4/127.0.0.1/tcp/0")
        self.host: IHost = new_host(
            key_pair=keys,
            sec_opt={TProtocol(secured_by): security_options(keys)[TProtocol(secured_by)]},
            muxer_opt=muxer_options(),
            listen_addrs=[self.address],
        )
        self.host.set_stream_handler(ECHO, self._echo)
        self.host.set_stream_handler(STALL, self._stall)
        self.stalled: list[NetStream] = []

    @property
    def id(self) -> ID:
        return self.host.get_id()

    async def _echo(self, stream: Any) -> None:
        try:
            while True:
                await stream.write(await stream.read(1 << 16))
        except StreamEOF:
            await stream.close()
        except StreamError:
            await stream.reset()

    async def _stall(self, stream: Any) -> None:
        self.stalled.append(stream)
        await trio.sleep_forever()

    def connection(self) -> MuxedConnection:
        """The connection to the other node."""
        (connections,) = self.host.get_network().connections.values()
        (connection,) = connections
        muxed = connection.muxed_conn
        assert isinstance(muxed, MuxedConnection)
        return muxed

    async def open(self, peer: "Node", protocol: TProtocol = ECHO) -> NetStream:
        stream = await self.host.new_stream(peer.id, [protocol])
        assert isinstance(stream, NetStream)
        return stream


@asynccontextmanager
async def two_nodes(secured_by: str) -> AsyncIterator[tuple[Node, Node]]:
    """A dialler and a listener, connected."""
    dialler, listener = Node(secured_by), Node(secured_by)
    with trio.fail_after(60):
        async with (
            listener.host.run(listen_addrs=[listener.address]),
            dialler.host.run(listen_addrs=[dialler.address]),
        ):
            await dialler.host.connect(PeerInfo(listener.id, listener.host.get_addrs()))
            yield dialler, listener


async def read_exactly(stream: NetStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.read(size - len(data))
    return data


async def echoes(dialler: Node, listener: Node, payload: bytes = b"alive?") -> bool:
    """Whether a new stream carries bytes there and back."""
    stream = await dialler.open(listener)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, payload)
        answer = await read_exactly(stream, len(payload))
    await stream.close()
    return answer == payload


async def settled() -> None:
    """Wait until no task has anything left to do. Both ends and the cable are in this process."""
    await trio.testing.wait_all_tasks_blocked(cushion=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_many_records_arrive_whole_and_in_order(secured_by: str) -> None:
    payload = bytes(n * n % 251 for n in range(1 << 16)) * 48
    async with two_nodes(secured_by) as (dialler, listener):
        assert await echoes(dialler, listener, payload)


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_streams_that_share_a_connection_do_not_mix(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, listener), trio.open_nursery() as nursery:
        for n in range(40):

            async def talk(n: int = n) -> None:
                assert await echoes(dialler, listener, bytes([n]) * 9000)

            nursery.start_soon(talk)


async def cancelled(call: Callable[[], Awaitable[object]], after_seconds: float) -> bool:
    with trio.move_on_after(after_seconds) as scope:
        await call()
    return scope.cancelled_caught


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_three_hundred_cancels_of_each_call_leave_the_connection_alive(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, listener):
        connection = dialler.connection()
        stalled = await dialler.open(listener, STALL)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "open": lambda: open_and_reset(dialler, listener),
            "read": lambda: stalled.read(1),
            "write": lambda: stalled.write(bytes(100_000)),
        }
        cut = Counter[str]()

        # Only those count that the cancel caught in the middle: one may be done before it comes.
        while min(cut[name] for name in calls) < 300:
            after_seconds = random.random() * 0.0012
            for name, call in calls.items():
                cut[name] += await cancelled(call, after_seconds)

        assert await echoes(dialler, listener)
        assert dialler.connection() is connection
        await stalled.reset()
        await settled()
        assert not connection.session.streams
        assert not listener.connection().session.streams


async def open_and_reset(dialler: Node, listener: Node) -> None:
    stream = await dialler.open(listener)
    await stream.reset()


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_a_reader_that_stalls_costs_its_window_and_delays_nobody(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, listener), trio.open_nursery() as nursery:
        stalled = await dialler.open(listener, STALL)
        nursery.start_soon(stalled.write, bytes(20 << 20))
        await settled()

        assert await echoes(dialler, listener, bytes(50_000))

        assert WINDOW_INITIAL_BYTES - 100 < listener.connection().session.unread_bytes <= WINDOW_INITIAL_BYTES
        assert listener.connection().held_bytes <= WINDOW_INITIAL_BYTES
        # And who writes keeps no more than it may have written ahead.
        assert dialler.connection().held_bytes <= dialler.connection().limits.unsent_max_bytes
        nursery.cancel_scope.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_a_reader_that_was_fast_and_then_stalls_costs_its_grown_window(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, listener), trio.open_nursery() as nursery:
        nursery.start_soon((await dialler.open(listener, STALL)).write, bytes(20 << 20))
        await settled()
        left = 8 << 20
        while left > 0:
            left -= len(await listener.stalled[0].read(1 << 20))
        await settled()

        connection = listener.connection()
        (stream,) = connection.session.streams.values()
        window = stream.receive_window_full_bytes
        assert window <= connection.limits.window_max_bytes
        assert window // 2 - 100 < connection.held_bytes <= window
        assert dialler.connection().held_bytes <= dialler.connection().limits.unsent_max_bytes
        assert await echoes(dialler, listener)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_a_peer_that_ignores_its_window_loses_the_connection(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, listener):
        victim = listener.connection()
        stream = await dialler.open(listener, STALL)
        hostile = stream.muxed_stream
        assert isinstance(hostile, MuxedStream)

        hostile._stream.send_window_bytes = 1 << 30
        with pytest.raises(StreamError):
            await stream.write(bytes(64 << 20))

        with trio.fail_after(30):
            await victim.event_closed.wait()
        assert victim.session.unread_bytes == 0
        await settled()
        assert not listener.host.get_network().connections


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_frames_that_are_none_lose_the_connection_and_no_more(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, listener):
        hostile, victim = dialler.connection(), listener.connection()

        await secured_io(hostile.secured_conn).write(bytearray(b"\xff" * 5000))

        with trio.fail_after(30):
            await victim.event_closed.wait()
        await settled()
        await dialler.host.connect(PeerInfo(listener.id, listener.host.get_addrs()))
        assert await echoes(dialler, listener)


def socket_of(connection: MuxedConnection) -> ReadWriteCloser:
    """What is below the security of a connection."""
    raw = raw_below(connection.secured_conn)
    assert isinstance(raw, IRawConnection)
    return raw


@pytest.mark.slow
@pytest.mark.parametrize(
    ("secured_by", "garbage"),
    [
        ("/noise", b"\x00\x20" + bytes(32)),
        ("/noise", b"\x00\x00"),
        ("/tls/1.0.0", b"\x17\x03\x03\x00\x20" + bytes(32)),
        ("/tls/1.0.0", b"GET / HTTP/1.1\r\n\r\n"),
    ],
    ids=["noise forged", "noise too short", "tls forged", "no tls"],
)
async def test_records_that_do_not_decrypt_lose_the_connection_and_no_more(
    secured_by: str, garbage: bytes
) -> None:
    async with two_nodes(secured_by) as (dialler, listener):
        victim = listener.connection()

        await socket_of(dialler.connection()).write(garbage)

        with trio.fail_after(30):
            await victim.event_closed.wait()
        await settled()
        await dialler.host.connect(PeerInfo(listener.id, listener.host.get_addrs()))
        assert await echoes(dialler, listener)


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_a_peer_that_vanishes_in_mid_frame_resets_its_streams(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, listener):
        stalled = await dialler.open(listener, STALL)
        await stalled.write(b"half")
        await settled()
        vanishing = dialler.connection()
        assert await listener.stalled[0].read(4) == b"half"

        await secured_io(vanishing.secured_conn).write(bytearray(encode(DATA, 0, 1, 1000) + b"a sentence"))
        await socket_of(vanishing).close()

        with pytest.raises(StreamError):
            await read_exactly(listener.stalled[0], 1000)


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_each_security_is_read_and_written_below_its_session(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, _):
        io = secured_io(dialler.connection().secured_conn)

        assert type(io) is (NoiseIO if secured_by == "/noise" else TlsIO)


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_connections_read_through_the_public_interface_work_as_well(
    secured_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocoon_p2p.network.libp2p.muxer.secured_io", PlainIO)
    async with two_nodes(secured_by) as (dialler, listener):
        assert await echoes(dialler, listener, bytes(range(256)) * 4000)


@pytest.mark.slow
@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_a_protocol_the_peer_does_not_speak_is_refused(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, listener):
        with pytest.raises(Exception, match="failed to open a stream"):
            await dialler.open(listener, UNKNOWN)

        assert await echoes(dialler, listener)


@pytest.mark.slow
async def test_a_negotiation_can_travel_with_the_first_bytes() -> None:
    async with two_nodes("/noise") as (dialler, listener):
        stream = await dialler.host.get_network().new_stream(listener.id)
        negotiate_with_first_bytes(stream, ECHO)

        await stream.write(b"at once")

        assert await read_exactly(stream, 7) == b"at once"
        assert stream.get_protocol() == ECHO
        await stream.close_write()
        with pytest.raises(StreamEOF):
            await stream.read(1)


@pytest.mark.slow
async def test_a_refusal_of_the_first_bytes_shows_at_the_first_read() -> None:
    async with two_nodes("/noise") as (dialler, listener):
        stream = await dialler.host.get_network().new_stream(listener.id)
        negotiate_with_first_bytes(stream, UNKNOWN)
        await stream.write(b"in vain")

        with pytest.raises(StreamError):
            await stream.read(1)

        assert await echoes(dialler, listener)


@pytest.mark.slow
async def test_a_tls_peer_that_says_goodbye_is_believed() -> None:
    async with two_nodes("/tls/1.0.0") as (dialler, listener):
        io = secured_io(dialler.connection().secured_conn)
        assert isinstance(io, TlsIO)

        with pytest.raises(ssl.SSLWantReadError):  # It would wait for the answer.
            io._tls.unwrap()
        await io._wire.write(io._outgoing.read())

        with trio.fail_after(30):
            await listener.connection().event_closed.wait()


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_a_question_leaves_with_the_task_that_asks(
    secured_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, asking = Counter[str](), trio.lowlevel.current_task()

    async with two_nodes(secured_by) as (dialler, listener):
        stream = await dialler.open(listener)
        assert await echoes_on(stream, b"once, to begin with")
        io = dialler.connection()._io
        assert io is not None
        waiting, at_once = io.write, io.write_now

        async def write(data: bytearray) -> None:
            turns["of the writer task"] += 1
            await waiting(data)

        def write_now(data: bytearray) -> None:
            is_at_once = trio.lowlevel.current_task() is asking
            turns["at once" if is_at_once else "of the writer task"] += 1
            at_once(data)

        monkeypatch.setattr(io, "write", write)
        monkeypatch.setattr(io, "write_now", write_now)
        for _ in range(20):
            assert await echoes_on(stream, b"a question")

    assert turns["at once"] >= 20
    assert turns["of the writer task"] <= 2, "pings and farewells"


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_what_the_writer_task_sends_waits_for_no_other_turn_where_the_socket_has_room(
    secured_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, asking = Counter[str](), trio.lowlevel.current_task()

    async with two_nodes(secured_by) as (dialler, listener):
        stream = await dialler.open(listener)
        assert await echoes_on(stream, b"once, to begin with")
        io = dialler.connection()._io
        assert io is not None
        waiting, at_once = io.write, io.write_now

        async def write(data: bytearray) -> None:
            sent["waiting"] += 1
            await waiting(data)

        def write_now(data: bytearray) -> None:
            sent["at once"] += trio.lowlevel.current_task() is not asking
            at_once(data)

        monkeypatch.setattr(io, "write", write)
        monkeypatch.setattr(io, "write_now", write_now)
        for number in range(20):
            # Two in a row are no question, and nobody reads yet: the writer task brings them.
            await stream.write(b"%19d," % number)
            await stream.write(b"%19d;" % number)
            await trio.testing.wait_all_tasks_blocked()
            assert await read_exactly(stream, 40) == b"%19d,%19d;" % (number, number)

    assert sent["at once"] >= 20
    assert sent["waiting"] <= 2, "pings and farewells"


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_a_question_larger_than_any_buffer_arrives_whole_after_small_ones(secured_by: str) -> None:
    async with two_nodes(secured_by) as (dialler, listener):
        stream = await dialler.open(listener)
        for _ in range(3):
            assert await echoes_on(stream, b"a question")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, bytes(2 << 20))
            assert await read_exactly(stream, 2 << 20) == bytes(2 << 20)

        assert await echoes_on(stream, b"and again")


async def echoes_on(stream: NetStream, payload: bytes) -> bool:
    await stream.write(payload)
    return await read_exactly(stream, len(payload)) == payload
