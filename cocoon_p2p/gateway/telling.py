"""An answer over HTTP: its head, what comes, and a word now and then that it is still coming.

The client is watched meanwhile: one that hangs up ends the telling, whatever is being waited for.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio
from starlette.types import Message, Receive, Send

from cocoon_p2p.gateway.flights import Seat
from cocoon_p2p.gateway.refusals import Headers, Refusal
from cocoon_p2p.gateway.settings import Settings
from cocoon_p2p.gateway.spelling import COMMENT, DONE, STREAM
from cocoon_p2p.nursery import open_service_nursery


async def send_whole(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
    """Send a response in one piece."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_refusal(send: Send, refusal: Refusal) -> None:
    """Send an error in place of an answer."""
    await send_whole(send, refusal.status, refusal.head(), refusal.body())


class Telling:
    """One answer, told to one client.

    Args:
        seat: The client's share in the answer.
        settings: How long things may take.
        receive: ASGI's, after the body.
        send: ASGI's.
    """

    def __init__(self, seat: Seat, settings: Settings, receive: Receive, send: Send) -> None:
        self.was_told = False
        "Whether the client has got all of a response, or the beginning of a stream."

        self._seat = seat
        self._settings = settings
        self._receive = receive
        self._send = send

    async def run(self, *, is_stream: bool) -> None:
        """Tell it to its end, or until the client is gone. A cancel leaves it half told."""
        async with open_service_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            if is_stream:
                await self._tell_as_it_comes()
            else:
                await self._tell_whole()

    async def _watch(self, scope: trio.CancelScope) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _tell_whole(self) -> None:
        reader, flow = self._seat.reader, self._seat.flight.flow
        pieces: list[bytes] = []
        while (piece := await reader.take()) is not None:
            pieces.append(piece)
        if flow.head is None or flow.refusal is not None:
            await self._refuse()
            return
        headers, body = self._headers(flow.head), b"".join(pieces)
        await self._in_time(partial(send_whole, self._send, 200, headers, body))
        self.was_told = True

    async def _tell_as_it_comes(self) -> None:
        flow = self._seat.flight.flow
        await self._await_head()
        if not self.was_told:
            if flow.head is None:
                await self._refuse()
                return
            await self._start(self._headers(flow.head))
        while (piece := await self._next()) is not None:
            await self._say(piece)
        if flow.refusal is not None:
            await self._say(b"data: " + flow.refusal.body() + b"\n\n" + DONE)
        await self._in_time(partial(self._send, {"type": "http.response.body", "body": b""}))

    async def _await_head(self) -> None:
        """Wait until the answer begins. If that takes long, begin to stream, and say that we are there."""
        reader, flow = self._seat.reader, self._seat.flight.flow
        while flow.head is None and not flow.is_ended:
            with trio.move_on_after(self._settings.silence_seconds):
                await reader.begun()
                return
            if not self.was_told:
                await self._start(STREAM)
            await self._say(COMMENT)

    async def _next(self) -> bytes | None:
        while True:
            with trio.move_on_after(self._settings.silence_seconds):
                return await self._seat.reader.take()
            await self._say(COMMENT)

    def _headers(self, head: Headers) -> Headers:
        return [*head, (b"x-cocoon-replay", b"true")] if self._seat.is_replay else head

    async def _refuse(self) -> None:
        refusal = self._seat.flight.flow.refusal
        assert refusal is not None, "it ended without a word"
        await self._in_time(partial(send_refusal, self._send, refusal))
        self.was_told = True

    async def _start(self, headers: Headers) -> None:
        self.was_told = True
        start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
        await self._in_time(partial(self._send, start))

    async def _say(self, piece: bytes) -> None:
        message: Message = {"type": "http.response.body", "body": piece, "more_body": True}
        await self._in_time(partial(self._send, message))

    async def _in_time(self, send: Callable[[], Awaitable[None]]) -> None:
        """Send something; one who does not take it is gone."""
        with trio.move_on_after(self._settings.send_seconds) as scope:
            await send()
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the client does not read")
