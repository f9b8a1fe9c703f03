"""What hypercorn sends through: whole, in order, and not for ever to one who does not read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from cocoon_p2p.web.connections import _BoundedStream

MORE_THAN_A_SOCKET_HOLDS = bytes(n * n % 251 for n in range(1 << 16)) * 256


@asynccontextmanager
async def connected(send_seconds: float) -> AsyncIterator[tuple[_BoundedStream, trio.SocketStream]]:
    """A stream as hypercorn has it, and the client's end."""
    ours, theirs = (trio.SocketStream(each) for each in trio.socket.socketpair())
    with trio.fail_after(60):
        async with ours, theirs:
            yield _BoundedStream(ours, send_seconds), theirs


async def test_what_no_socket_holds_arrives_whole_and_in_order() -> None:
    async with connected(60) as (stream, client), trio.open_nursery() as nursery:

        async def send() -> None:
            await stream.send_all(MORE_THAN_A_SOCKET_HOLDS)
            await stream.send_all(b"the end")
            await stream.send_eof()

        nursery.start_soon(send)
        got = b"".join([piece async for piece in client])

    assert got == MORE_THAN_A_SOCKET_HOLDS + b"the end"


async def test_a_client_that_does_not_read_is_given_up() -> None:
    async with connected(0.01) as (stream, client):
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(MORE_THAN_A_SOCKET_HOLDS)

        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            await stream.send_all(b"more")
        assert await client.receive_some()


async def test_a_client_that_is_gone_is_found_out() -> None:
    async with connected(60) as (stream, client):
        await client.aclose()

        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"an answer")
