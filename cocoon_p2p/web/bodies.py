"""Requests' bodies, where they are short or not wanted at all.

Hypercorn hands bodies on through a short queue. Nobody may stop taking from it before the answer is out:
the server would wait for room in it, and never close the connection.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from starlette.types import Message, Receive

from cocoon_p2p.nursery import open_service_nursery


class BodyRefused(Exception):
    """A body is too long, or too slow. What is still to come is to be left `unread`."""


class ReaderGone(Exception):
    """Whoever asked hung up first."""


@asynccontextmanager
async def unread(receive: Receive) -> AsyncIterator[None]:
    """Answer in this block what is not read."""
    async with open_service_nursery() as nursery:
        nursery.start_soon(_discard, receive)
        yield


async def _discard(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_ahead(receive: Receive, size_max_bytes: int, seconds: float) -> Receive:
    """Read a whole body, and give what an app receives in its place: that, and then the end.

    Raises:
        BodyRefused: It is longer than `size_max_bytes`, or takes more than `seconds`.
        ReaderGone: The rest will not come.
    """
    body = b""
    with trio.move_on_after(seconds) as scope:
        is_more = True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ReaderGone
            body += message.get("body", b"")
            if len(body) > size_max_bytes:
                raise BodyRefused
            is_more = message.get("more_body", False)
    if scope.cancelled_caught:
        raise BodyRefused
    is_told = False

    async def receive_read() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_read
