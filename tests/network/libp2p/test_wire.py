"""The bytes below a secured connection: sockets without upstream's locks, and anything else with them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection

from cocoon_p2p.network.libp2p.wire import Wire
from tests.network.libp2p.test_secured_io import Cable

MORE_THAN_A_SOCKET_HOLDS = bytes(n * n % 251 for n in range(1 << 16)) * 256


@asynccontextmanager
async def wired() -> AsyncIterator[tuple[Wire, trio.SocketStream, trio.SocketStream]]:
    """A wire over one end of a socket, that end, and the other."""
    one, other = (trio.SocketStream(each) for each in trio.socket.socketpair())
    with trio.fail_after(60):
        async with one, other:
            yield Wire(RawConnection(TrioTCPStream(one), True)), one, other


async def read_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = await stream.receive_some(1 << 20)
        assert piece, "closed too early"
        data += piece
    return bytes(data)


async def test_what_is_written_now_needs_nobodys_turn() -> None:
    async with wired() as (wire, _, other):
        assert wire.is_free

        wire.write_now(b"a question")

        assert os.read(other.socket.fileno(), 100) == b"a question"
        assert wire.is_free
        assert not wire.is_behind


async def test_what_the_socket_did_not_take_leaves_before_what_is_written_later() -> None:
    async with wired() as (wire, _, other), trio.open_nursery() as nursery:
        wire.write_now(MORE_THAN_A_SOCKET_HOLDS)
        assert wire.is_behind
        assert not wire.is_free

        nursery.start_soon(wire.write, b"the end")

        size = len(MORE_THAN_A_SOCKET_HOLDS)
        assert await read_exactly(other, size + 7) == MORE_THAN_A_SOCKET_HOLDS + b"the end"
        await trio.testing.wait_all_tasks_blocked()
        assert wire.is_free


async def test_nothing_is_written_now_into_the_middle_of_a_write() -> None:
    async with wired() as (wire, _, other), trio.open_nursery() as nursery:
        nursery.start_soon(wire.write, MORE_THAN_A_SOCKET_HOLDS)
        await trio.testing.wait_all_tasks_blocked()

        assert not wire.is_free
        assert not wire.is_behind

        await read_exactly(other, len(MORE_THAN_A_SOCKET_HOLDS))
        await trio.testing.wait_all_tasks_blocked()
        assert wire.is_free


async def test_two_writers_do_not_mix_their_bytes() -> None:
    async with wired() as (wire, _, other), trio.open_nursery() as nursery:
        for letter in b"ab":
            nursery.start_soon(wire.write, bytes([letter]) * (1 << 23))
            await trio.testing.wait_all_tasks_blocked()

        assert await read_exactly(other, 1 << 24) == b"a" * (1 << 23) + b"b" * (1 << 23)


@pytest.mark.parametrize("who", ["we", "the peer"])
async def test_that_a_connection_is_lost_is_found_out_by_the_next_write(who: str) -> None:
    async with wired() as (wire, one, other):
        await (one if who == "we" else other).aclose()

        wire.write_now(b"in vain")

        assert wire.is_behind
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            await wire.write(b"")


async def test_who_waits_to_read_from_a_socket_that_we_close_is_told() -> None:
    async with wired() as (wire, one, _), trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await wire.read(100)
            with pytest.raises(trio.ClosedResourceError):
                await wire.read(100)

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()

        await one.aclose()


async def test_a_socket_closed_just_after_bytes_came_is_not_read_by_its_number() -> None:
    async with wired() as (wire, one, other), trio.open_nursery() as nursery:
        refused = trio.Event()

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await wire.read(100)
            refused.set()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        os.write(other.socket.fileno(), b"x")

        one.socket.close()

        await refused.wait()


async def test_what_is_not_a_socket_is_never_written_to_out_of_turn() -> None:
    one, other = trio.testing.memory_stream_pair()
    wire = Wire(Cable(one, is_initiator=True))

    await wire.write(b"hello")

    assert not wire.is_free
    assert bytes(await other.receive_some(100)) == b"hello"
    await other.send_all(b"back")
    assert await wire.read(100) == b"back"
