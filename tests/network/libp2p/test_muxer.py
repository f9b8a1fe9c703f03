"""The muxer's tasks over memory, under a clock that jumps: deadlines, cancels, slow and silent peers."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.abc import ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)
from trio.testing import MockClock

from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.network.libp2p.budget import Budget
from cocoon_p2p.network.libp2p.muxed_stream import MuxedStream
from cocoon_p2p.network.libp2p.muxer import (
    DEAD_SECONDS,
    PING_SECONDS,
    PROBE_SECONDS,
    TICK_SECONDS,
    MuxedConnection,
)
from cocoon_p2p.network.libp2p.yamux_frames import (
    DATA,
    FIN,
    GOAWAY,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    WINDOW_INITIAL_BYTES,
    WINDOW_UPDATE,
    encode,
)
from cocoon_p2p.network.libp2p.yamux_stream import Limits

TEST_SECONDS = 10_000
"Of the clock that jumps: a test that hangs ends."

KEYS = create_new_key_pair()
PEER = ID.from_pubkey(KEYS.public_key)


class MemoryConn(ISecureConn):
    """A secured connection of py-libp2p whose cable is in memory, of a socket's size."""

    def __init__(self, stream: trio.StapledStream[Any, Any], *, is_initiator: bool) -> None:
        self.stream = stream
        self.is_initiator = is_initiator

    async def read(self, n: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(n))

    async def write(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def close(self) -> None:
        await self.stream.aclose()

    def get_local_peer(self) -> ID:
        return PEER

    def get_local_private_key(self) -> Any:
        return KEYS.private_key

    def get_remote_peer(self) -> ID:
        return PEER

    def get_remote_public_key(self) -> Any:
        return KEYS.public_key

    def get_remote_address(self) -> tuple[str, int] | None:
        return ("192.0.2.1", 4001)

    def get_transport_addresses(self) -> list[Any]:
        return []

    def get_connection_type(self) -> ConnectionType:
        return ConnectionType.DIRECT


def muxed(conn: ISecureConn, limits: Limits) -> MuxedConnection:
    class Limited(MuxedConnection):
        pass

    Limited.limits = limits
    return Limited(conn, PEER)


@asynccontextmanager
async def two_ends(
    limits: Limits = Limits(), other_limits: Limits | None = None
) -> AsyncIterator[tuple[MuxedConnection, MuxedConnection]]:
    """Both ends of a connection, running."""
    one_end, other_end = trio.testing.memory_stream_pair()
    one = muxed(MemoryConn(one_end, is_initiator=True), limits)
    other = muxed(MemoryConn(other_end, is_initiator=False), other_limits or limits)
    with trio.fail_after(TEST_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.start)
            nursery.start_soon(other.start)
            await one.event_started.wait()
            await other.event_started.wait()
            yield one, other
            await one.close()
            await other.close()


@asynccontextmanager
async def one_end(limits: Limits = Limits()) -> AsyncIterator[tuple[MuxedConnection, Any]]:
    """One end of a connection, the listener's, running; the peer is bytes that the test sends."""
    ours, theirs = trio.testing.memory_stream_pair()
    connection = muxed(MemoryConn(ours, is_initiator=False), limits)
    with trio.fail_after(TEST_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.start)
            await connection.event_started.wait()
            yield connection, theirs
            await connection.close()


async def opened(one: MuxedConnection, other: MuxedConnection) -> tuple[MuxedStream, MuxedStream]:
    """A stream that `one` opened, seen from both ends."""
    stream = await one.open_stream()
    await stream.write(b"!")
    twin = await other.accept_stream()
    assert await twin.read(1) == b"!"
    return stream, twin


async def read_all(stream: MuxedStream) -> bytes:
    data = b""
    while True:
        try:
            data += await stream.read()
        except MuxedStreamEOF:
            return data


async def echo_for_ever(connection: MuxedConnection) -> None:
    async def echo(stream: MuxedStream) -> None:
        try:
            while True:
                await stream.write(await stream.read())
        except MuxedStreamEOF:
            await stream.close()
        except MuxedStreamError:
            pass

    async with trio.open_nursery() as nursery:
        try:
            while True:
                nursery.start_soon(echo, await connection.accept_stream())
        except MuxedConnUnavailable:
            return


async def is_alive(connection: MuxedConnection) -> bool:
    """Whether a new stream still carries bytes there and back."""
    with trio.move_on_after(5):
        stream = await connection.open_stream()
        await stream.write(b"alive?")
        answer = await stream.read(6)
        await stream.close()
        return answer == b"alive?"
    return False


# --- What streams carry.


async def test_bytes_and_ends_cross_in_both_directions() -> None:
    async with two_ends() as (one, other):
        stream, twin = await opened(one, other)

        await stream.write(b"question")
        await stream.close_write()
        assert await read_all(twin) == b"question"
        await twin.write(b"answer")
        await twin.close()

        assert await read_all(stream) == b"answer"
        assert stream.is_closed
        assert twin.is_closed


async def test_a_large_write_arrives_whole_through_windows_and_buffers() -> None:
    payload = bytes(range(256)) * 12_000
    async with two_ends() as (one, other), trio.open_nursery() as nursery:
        stream, twin = await opened(one, other)

        async def write() -> None:
            await stream.write(payload)
            await stream.close()

        nursery.start_soon(write)

        assert await read_all(twin) == payload


async def test_a_read_brings_at_most_what_was_asked_for() -> None:
    async with two_ends() as (one, other):
        stream, twin = await opened(one, other)
        await stream.write(b"abcdef")
        await trio.testing.wait_all_tasks_blocked()

        assert await twin.read(0) == b""
        assert await twin.read(2) == b"ab"
        assert await twin.read(-1) == b"cdef"


async def test_a_stream_that_waits_to_read_is_heard_of() -> None:
    async with two_ends() as (one, other), trio.open_nursery() as nursery:
        stream = await one.open_stream()
        nursery.start_soon(stream.read)

        twin = await other.accept_stream()

        await twin.write(b"hello")


@pytest.mark.parametrize("what", ["read", "write"])
async def test_a_reset_reaches_whoever_waits_at_either_end(what: str) -> None:
    async with two_ends() as (one, other):
        stream, twin = await opened(one, other)

        async def wait(end: MuxedStream) -> None:
            with pytest.raises(MuxedStreamReset):
                await (end.read() if what == "read" else end.write(bytes(1 << 20)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, stream)
            nursery.start_soon(wait, twin)
            await trio.testing.wait_all_tasks_blocked()
            stream.reset_nowait()


async def test_a_greeting_goes_before_the_first_bytes_and_its_echo_is_not_read() -> None:
    async with two_ends() as (one, other):
        stream = await one.open_stream()
        stream.greet(b"hello")
        await stream.write(b" world")
        twin = await other.accept_stream()
        await twin.write(b"hel")
        await twin.write(b"lo, you")

        assert await twin.read(100) == b"hello world"
        assert await stream.read(100) == b", you"


async def test_a_greeting_leaves_alone_when_nothing_is_written() -> None:
    async with two_ends() as (one, other), trio.open_nursery() as nursery:
        stream = await one.open_stream()
        stream.greet(b"hello")
        nursery.start_soon(stream.read)

        twin = await other.accept_stream()

        assert await twin.read() == b"hello"
        await twin.write(b"hello!")


async def test_a_greeting_that_is_not_returned_resets_the_stream() -> None:
    async with two_ends() as (one, other):
        stream = await one.open_stream()
        stream.greet(b"hello")
        await stream.write(b"!")
        twin = await other.accept_stream()
        await twin.write(b"help")

        with pytest.raises(MuxedStreamReset, match="refused"):
            await stream.read()

        assert await twin.read() == b"hello!"
        with pytest.raises(MuxedStreamReset):
            await twin.read()


async def test_closing_our_side_ends_a_write_that_waits() -> None:
    async with two_ends() as (one, other):
        stream, _ = await opened(one, other)

        async def write() -> None:
            with pytest.raises(MuxedStreamClosed):
                await stream.write(bytes(1 << 20))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            await stream.close_write()


async def test_a_stream_has_no_deadline_of_its_own() -> None:
    async with two_ends() as (one, _):
        stream = await one.open_stream()

        with pytest.raises(LocalProtocolError):
            stream.set_deadline(5)


# --- Cancels.


async def cancelled(call: Callable[[], Awaitable[object]], after_seconds: float) -> bool:
    """Start `call`, cancel it after so long, and say whether the cancel was in time."""
    with trio.move_on_after(after_seconds) as scope:
        await call()
    return scope.cancelled_caught


@pytest.mark.parametrize("after_seconds", [0, 0.001])
async def test_cancelled_opens_reads_and_writes_leave_the_connection_alive(
    autojump_clock: MockClock, after_seconds: float
) -> None:
    async with two_ends(Limits(unacknowledged_max=3)) as (one, other), trio.open_nursery() as nursery:
        stream, twin = await opened(one, other)
        held = [await one.open_stream() for _ in range(2)]

        for _ in range(60):
            assert await cancelled(one.open_stream, after_seconds)
            assert await cancelled(stream.read, after_seconds)
            assert await cancelled(lambda: stream.write(bytes(1 << 20)), after_seconds)
            assert await cancelled(other.accept_stream, after_seconds)

        for each in (*held, stream, twin):
            each.reset_nowait()
        nursery.start_soon(echo_for_ever, other)
        assert await is_alive(one)
        await trio.testing.wait_all_tasks_blocked()
        assert not one.session.streams
        assert not other.session.streams
        nursery.cancel_scope.cancel()


async def test_a_cancelled_write_leaves_a_first_part_of_its_bytes(autojump_clock: MockClock) -> None:
    payload = bytes(range(251)) * 4000
    async with two_ends() as (one, other):
        stream, twin = await opened(one, other)

        assert await cancelled(lambda: stream.write(payload), 1)
        await stream.close_write()
        arrived = await read_all(twin)

    assert 0 < len(arrived) < len(payload)
    assert payload.startswith(arrived)


async def test_a_close_that_is_cancelled_has_closed_all_the_same() -> None:
    async with two_ends() as (one, other):
        stream, twin = await opened(one, other)

        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.close_write()

        assert await read_all(twin) == b""


async def test_many_small_reads_let_other_tasks_run() -> None:
    async with two_ends() as (one, other):
        stream, twin = await opened(one, other)
        await stream.write(bytes(10_000))
        await trio.testing.wait_all_tasks_blocked()
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            for _ in range(6400):
                await twin.read(1)
            nursery.cancel_scope.cancel()

        assert turns >= 99  # Of 6,400 reads one in 64, but the first yield lets nobody start who counts.


# --- Slow, stuck, silent and hostile peers.


async def test_a_reader_that_pauses_for_ten_minutes_loses_nothing(autojump_clock: MockClock) -> None:
    payload = bytes(range(256)) * 8000
    async with two_ends() as (one, other), trio.open_nursery() as nursery:
        stream, twin = await opened(one, other)

        async def write() -> None:
            await stream.write(payload)
            await stream.close_write()

        nursery.start_soon(write)
        await trio.sleep(600)
        resumed = trio.current_time()

        assert await read_all(twin) == payload
        assert trio.current_time() == resumed


async def test_a_stalled_reader_costs_its_window_and_holds_up_nobody_else(autojump_clock: MockClock) -> None:
    async with two_ends() as (one, other), trio.open_nursery() as nursery:
        stream, stalled = await opened(one, other)
        nursery.start_soon(echo_for_ever, other)

        assert await cancelled(lambda: stream.write(bytes(16 << 20)), 60)

        assert other.session.unread_bytes == WINDOW_INITIAL_BYTES - 1
        assert len(stream._stream.unsent) <= one.limits.unsent_max_bytes
        assert await is_alive(one)
        stalled.reset_nowait()
        nursery.cancel_scope.cancel()


async def test_a_peer_that_takes_no_answer_loses_its_streams_when_memory_is_short(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MuxedConnection, "budget", Budget(3 * WINDOW_INITIAL_BYTES))
    async with two_ends() as (greedy, other), two_ends() as (honest, host), trio.open_nursery() as nursery:
        _, kept = await opened(honest, host)
        lost = 0

        async def answer(stream: MuxedStream) -> None:
            nonlocal lost
            with pytest.raises(MuxedStreamReset):
                await stream.write(bytes(8 * WINDOW_INITIAL_BYTES))
            lost += 1

        # Each takes its window full, and then nothing: what was written waits at our end.
        for _ in range(6):
            _, twin = await opened(greedy, other)
            nursery.start_soon(answer, twin)
        await trio.testing.wait_all_tasks_blocked()

        assert 1 <= lost < 6
        assert greedy.held_bytes + other.held_bytes <= 3 * WINDOW_INITIAL_BYTES
        await kept.write(b"still here")
        assert not host.is_closed
        for stream in tuple(other.session.streams.values()):
            other.session.reset(stream)
        nursery.cancel_scope.cancel()


async def test_a_peer_that_ignores_its_window_is_told_and_left() -> None:
    async with one_end() as (connection, peer):
        await peer.send_all(encode(WINDOW_UPDATE, SYN, 1, 0))
        stream = await connection.accept_stream()
        chunk = encode(DATA, 0, 1, 65536) + bytes(65536)

        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.send_all(chunk)
                await trio.testing.wait_all_tasks_blocked()

        assert connection.session.unread_bytes == 0
        assert len(stream._stream.unread) == WINDOW_INITIAL_BYTES
        assert (await peer.receive_some()).endswith(encode(GOAWAY, 0, 0, PROTOCOL_ERROR))


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 100, encode(WINDOW_UPDATE, SYN, 2, 0)],
    ids=["no frame", "a frame that is not allowed"],
)
async def test_garbage_ends_the_connection_and_resets_its_streams(
    autojump_clock: MockClock, garbage: bytes
) -> None:
    async with one_end() as (connection, peer):
        await peer.send_all(encode(WINDOW_UPDATE, SYN, 1, 0))
        stream = await connection.accept_stream()

        await peer.send_all(garbage)
        await connection.event_closed.wait()

        with pytest.raises(MuxedStreamReset):
            await stream.read()
        with pytest.raises(MuxedStreamReset):
            await stream.write(b"x")
        with pytest.raises(MuxedStreamError):
            await connection.open_stream()
        with pytest.raises(MuxedConnUnavailable):
            await connection.accept_stream()


@pytest.mark.parametrize("cut", [3, 12, 15])
async def test_a_peer_that_vanishes_in_mid_frame_leaves_what_came_and_then_a_reset(
    autojump_clock: MockClock, cut: int
) -> None:
    async with one_end() as (connection, peer):
        await peer.send_all(encode(DATA, SYN, 1, 4) + b"half")
        stream = await connection.accept_stream()

        await peer.send_all((encode(DATA, 0, 1, 100) + b"of a sentence")[:cut])
        await peer.aclose()
        await connection.event_closed.wait()

        came = await stream.read()
        assert came == b"half" + b"of a sentence"[: max(0, cut - 12)]
        with pytest.raises(MuxedStreamReset):
            await stream.read()


async def test_a_peer_that_answers_no_ping_is_given_up(autojump_clock: MockClock) -> None:
    async with one_end() as (connection, _):
        began = trio.current_time()

        await connection.event_closed.wait()

        assert DEAD_SECONDS <= trio.current_time() - began <= DEAD_SECONDS + 2 * TICK_SECONDS


async def test_a_peer_in_doubt_that_shows_no_life_is_given_up_soon(autojump_clock: MockClock) -> None:
    async with one_end() as (connection, peer):
        await peer.send_all(encode(PING, SYN, 0, 7))
        await trio.sleep(1)
        began = trio.current_time()

        await connection.probe()
        await connection.event_closed.wait()

        assert trio.current_time() - began == PROBE_SECONDS


async def test_a_peer_in_doubt_that_shows_life_is_kept(autojump_clock: MockClock) -> None:
    async with two_ends() as (one, other):
        await one.probe()

        assert one.is_established
        assert other.is_established


async def test_a_peer_that_says_anything_is_kept_without_an_answer_to_a_ping(
    autojump_clock: MockClock,
) -> None:
    async with one_end() as (connection, peer):
        for _ in range(20):
            await trio.sleep(20)
            await peer.send_all(encode(PING, 0, 0, 0))

        assert not connection.is_closed


async def test_whoever_waits_when_the_connection_is_lost_is_told(autojump_clock: MockClock) -> None:
    async with one_end(Limits(outbound_max=1)) as (connection, peer):
        stream = await connection.open_stream()

        async def wait(call: Callable[[], Awaitable[object]], error: type[Exception]) -> None:
            with pytest.raises(error):
                await call()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, connection.open_stream, MuxedStreamError)
            nursery.start_soon(wait, connection.accept_stream, MuxedConnUnavailable)
            nursery.start_soon(wait, stream.read, MuxedStreamReset)
            nursery.start_soon(wait, lambda: stream.write(bytes(1 << 20)), MuxedStreamReset)
            await trio.testing.wait_all_tasks_blocked()
            await peer.aclose()


async def test_a_stream_that_the_peer_had_closed_cannot_be_written_once_the_connection_is_lost(
    autojump_clock: MockClock,
) -> None:
    async with one_end() as (connection, peer):
        await peer.send_all(encode(DATA, SYN | FIN, 1, 4) + b"last")
        stream = await connection.accept_stream()
        await peer.aclose()
        await connection.event_closed.wait()

        assert await stream.read() == b"last"
        with pytest.raises(MuxedStreamEOF):
            await stream.read()
        with pytest.raises(MuxedStreamReset):
            await stream.write(b"answer")


class ForgedConn(MemoryConn):
    """A connection whose first record was forged."""

    async def read(self, n: int | None = None) -> bytes:
        raise ssl.SSLError("bad record mac")


async def test_a_peer_that_forges_a_record_is_told_and_left_at_once(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    began = trio.current_time()

    await muxed(ForgedConn(ours, is_initiator=True), Limits()).start()

    assert trio.current_time() == began
    assert encode(GOAWAY, 0, 0, PROTOCOL_ERROR) in await theirs.receive_some()


class StuckConn(MemoryConn):
    """A connection into whose socket nothing goes any more."""

    async def write(self, data: bytes) -> None:
        await trio.sleep_forever()


async def test_a_socket_that_takes_nothing_for_thirty_seconds_is_closed_though_the_peer_talks(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    connection = muxed(StuckConn(ours, is_initiator=False), Limits())

    async def talk() -> None:
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await theirs.send_all(encode(PING, 0, 0, 0))
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.start)
        nursery.start_soon(talk)
        began = trio.current_time()
        with trio.fail_after(TEST_SECONDS):
            await connection.event_closed.wait()

    assert DEAD_SECONDS <= trio.current_time() - began <= DEAD_SECONDS + TICK_SECONDS + 2


async def test_an_idle_connection_is_kept_and_its_round_trip_known(autojump_clock: MockClock) -> None:
    async with two_ends() as (one, other):
        await trio.sleep(3600)

        assert one.is_established
        assert other.is_established
        assert one.session.pinged_at is None or trio.current_time() - one.session.pinged_at < PING_SECONDS


async def test_a_closed_stream_that_the_peer_leaves_half_open_is_reset_at_both_ends(
    autojump_clock: MockClock,
) -> None:
    async with two_ends() as (one, other):
        stream, twin = await opened(one, other)
        await stream.close()

        await trio.sleep(90)

        assert stream.is_closed
        assert await read_or_reset(twin) == "reset"


async def read_or_reset(stream: MuxedStream) -> object:
    try:
        return await stream.read()
    except MuxedStreamReset:
        return "reset"


# --- Limits and ends.


async def test_an_open_beyond_the_limit_waits_until_the_peer_accepts(autojump_clock: MockClock) -> None:
    async with two_ends(Limits(unacknowledged_max=1)) as (one, other):
        first = await one.open_stream()
        assert await cancelled(one.open_stream, 60)

        await first.write(b"x")
        await (await other.accept_stream()).write(b"x")

        with trio.fail_after(1):
            await one.open_stream()


async def test_streams_beyond_the_peers_limit_are_reset_and_the_others_live() -> None:
    async with two_ends(other_limits=Limits(inbound_max=2)) as (one, _):
        streams = [await one.open_stream() for _ in range(3)]
        for stream in streams:
            await stream.write(b"x")
        await trio.testing.wait_all_tasks_blocked()

        assert [stream.is_closed for stream in streams] == [False, False, True]


async def test_streams_that_nobody_accepts_are_reset_when_too_many_wait() -> None:
    async with one_end(Limits(inbound_max=2)) as (_, peer):
        for flags in (SYN, RST):
            await peer.send_all(b"".join(encode(WINDOW_UPDATE, flags, stream_id, 0) for stream_id in (1, 3)))
            await trio.testing.wait_all_tasks_blocked()

        await peer.send_all(encode(WINDOW_UPDATE, SYN, 5, 0))
        await trio.testing.wait_all_tasks_blocked()

        assert encode(WINDOW_UPDATE, RST, 5, 0) in await peer.receive_some()


async def test_what_was_written_before_a_close_arrives(autojump_clock: MockClock) -> None:
    async with two_ends() as (one, other):
        stream, twin = await opened(one, other)
        await stream.write(bytes(100_000))

        await one.close()

        assert one.is_closed
        await other.event_closed.wait()
        assert len(await twin.read()) == 100_000
        with pytest.raises(MuxedStreamReset):
            await twin.read()


async def test_a_close_takes_no_time_when_nothing_is_buffered(autojump_clock: MockClock) -> None:
    async with two_ends() as (one, other):
        began = trio.current_time()

        await one.close()
        await other.event_closed.wait()

        assert trio.current_time() == began


async def test_a_close_waits_a_second_for_a_stuck_socket_and_no_longer(autojump_clock: MockClock) -> None:
    ours, _ = trio.testing.memory_stream_pair()
    connection = muxed(StuckConn(ours, is_initiator=True), Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.start)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()

        await connection.close()

        assert trio.current_time() - began == pytest.approx(1)
        assert connection.is_closed


async def test_a_connection_is_closed_once_by_however_many() -> None:
    async with two_ends() as (one, _), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one.close)


async def test_a_connection_that_never_started_can_be_closed() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    connection = muxed(MemoryConn(ours, is_initiator=True), Limits())

    await connection.close()

    assert connection.is_closed
    assert await theirs.receive_some() == b""
    await connection.start()


async def test_a_peer_that_says_goodbye_is_let_finish_its_streams(autojump_clock: MockClock) -> None:
    async with one_end() as (connection, peer):
        await peer.send_all(encode(WINDOW_UPDATE, SYN, 1, 0) + encode(GOAWAY, 0, 0, NORMAL))
        stream = await connection.accept_stream()
        with pytest.raises(MuxedStreamError, match="ending"):
            await connection.open_stream()

        await peer.send_all(encode(DATA, 0, 1, 4) + b"last")

        assert await stream.read() == b"last"
        assert not connection.is_closed
        stream.reset_nowait()
        with trio.fail_after(TICK_SECONDS + 1):
            await connection.event_closed.wait()


async def test_a_peer_that_goes_away_for_an_error_is_left_at_once(autojump_clock: MockClock) -> None:
    async with one_end() as (connection, peer):
        await peer.send_all(encode(WINDOW_UPDATE, SYN, 1, 0) + encode(GOAWAY, 0, 0, PROTOCOL_ERROR))

        with trio.fail_after(1):
            await connection.event_closed.wait()


async def test_a_close_hook_that_fails_ends_nothing_else(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_ends() as (one, other):

        async def fail() -> None:
            raise RuntimeError("a fault of the hook's")

        one.on_close = fail
        await one.close()
        await other.event_closed.wait()

    assert "close hook failed" in caplog.text


class BrokenConn(MemoryConn):
    """A connection that fails in a way nobody thought of."""

    async def read(self, n: int | None = None) -> bytes:
        raise KeyError("nobody thought of this")


async def test_a_fault_of_ours_ends_the_connection_and_not_the_node(caplog: pytest.LogCaptureFixture) -> None:
    ours, _ = trio.testing.memory_stream_pair()
    connection = muxed(BrokenConn(ours, is_initiator=True), Limits())

    await connection.start()

    assert connection.is_closed
    assert "connection failed" in caplog.text


async def test_cancelling_the_tasks_of_a_connection_closes_it(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    connection = muxed(MemoryConn(ours, is_initiator=True), Limits())

    with trio.move_on_after(1):
        await connection.start()

    assert connection.is_closed
    assert await theirs.receive_some() != b""  # The first ping.
    assert await theirs.receive_some() == b""
