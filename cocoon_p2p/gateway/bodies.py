"""A request's body, read within bounds: of one body, of all together, and of time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from starlette.types import Receive, Send

from cocoon_p2p.gateway.flights import BUSY
from cocoon_p2p.gateway.refusals import Refusal, RequestRefused
from cocoon_p2p.gateway.settings import Settings
from cocoon_p2p.gateway.telling import send_refusal
from cocoon_p2p.web.bodies import unread

SIZE_MAX_BYTES = 20 * 1024 * 1024
"The longest request the network takes (12 MiB), as JSON spells pictures: a third longer, and some room."

_TOO_LARGE = Refusal(
    413, f"the body is too large (max={SIZE_MAX_BYTES} bytes)", "too-large", must_not_retry=True
)
_TOO_SLOW = Refusal(408, "the body did not arrive in time", "too-slow")


class ClientGone(Exception):
    """The client hung up before it had asked anything."""


class Bodies:
    """What all requests hold in memory.

    Args:
        settings: How much that may be, and how long one may take to arrive.
    """

    def __init__(self, settings: Settings) -> None:
        self.held_bytes = 0
        self._settings = settings

    @asynccontextmanager
    async def read(self, receive: Receive, said_bytes: int | None) -> AsyncIterator[bytes]:
        """Read a body; it counts as held until the block is left.

        Args:
            receive: ASGI's.
            said_bytes: What the request says is coming (`content-length`), if it does.

        Raises:
            RequestRefused: It is too large, too slow, or there is no room for it now.
            ClientGone: The rest will not come.
        """
        if said_bytes is not None and said_bytes > SIZE_MAX_BYTES:
            raise RequestRefused(_TOO_LARGE)
        held = 0
        pieces: list[bytes] = []
        try:
            with trio.move_on_after(self._settings.body_seconds) as scope:
                is_more = True
                while is_more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    piece: bytes = message.get("body", b"")
                    held += len(piece)
                    self.held_bytes += len(piece)
                    if held > SIZE_MAX_BYTES:
                        raise RequestRefused(_TOO_LARGE)
                    if self.held_bytes > self._settings.bodies_max_bytes:
                        raise RequestRefused(BUSY)
                    pieces.append(piece)
                    is_more = message.get("more_body", False)
            if scope.cancelled_caught:
                raise RequestRefused(_TOO_SLOW)
            yield b"".join(pieces)
        finally:
            self.held_bytes -= held


async def refuse_unread(receive: Receive, send: Send, refusal: Refusal) -> None:
    """Refuse a request whose body may still be coming."""
    async with unread(receive):
        await send_refusal(send, refusal)
