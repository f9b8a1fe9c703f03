"""Server-sent events, for as long as their reader is there.

The work is done inside of the answer and not in a generator beside it: when the reader hangs up the work
is cancelled where it stands, and is left in good order, before the connection is given up.

Spec: html.spec.whatwg.org (Server-sent events).
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio
from starlette.types import Receive, Scope, Send

Say = Callable[[bytes], Awaitable[None]]
"Sends an event that `spell_event` has spelled, or several of them."

_START = {
    "type": "http.response.start",
    "status": 200,
    # A proxy before us that collected the stream would show an answer all at once.
    "headers": [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}


def spell_event(name: str, data: Mapping[str, Any]) -> bytes:
    """Spell an event: its name, and its data as JSON."""
    # JSON has no line breaks of its own, so one line of data holds it.
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class EventStream:
    """An ASGI answer that is told while it is worked out.

    Args:
        work: Does it. It ends by returning; it is cancelled when the reader hangs up.
    """

    def __init__(self, work: Callable[[Say], Awaitable[None]]) -> None:
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(events: bytes) -> None:
            await send({"type": "http.response.body", "body": events, "more_body": True})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
            await send(_START)
            await self._work(say)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
