"""Connections as hypercorn serves them, each within bounds that it does not set itself.

Hypercorn waits without end for a client that does not read, even when it is told to stop; it takes as many
connections as come; and it does not hear a client hang up that had sent more than one request. Here a
client has its time, connections have their number, and who hangs up is always heard. HTTP/2, which would
need all of that again, is not spoken: hypercorn would change to it for whoever offers it.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper, WorkerContext
from hypercorn.typing import ConnectionState
from starlette.types import ASGIApp

from cocoon_p2p.web.faults import fault_facts

log = logging.getLogger(__name__)

AHEAD_MAX_BYTES = 64 * 1024
"What a client may send while it waits for an answer. Clients do not, as a rule."

_HTTP_LOG = logging.getLogger("cocoon_p2p.web.hypercorn")


class Bearable(Protocol):
    """How much is borne of those who connect."""

    @property
    def connections_max(self) -> int:
        """Connections that are open at once; one more is closed."""
        ...

    @property
    def send_seconds(self) -> float:
        """How long a client may leave what it was sent unread, before it is taken for gone."""
        ...

    @property
    def idle_seconds(self) -> float:
        """How long a connection is kept that nothing is asked on."""
        ...


class Connections:
    """Serves an app on connections.

    Args:
        app: What is served.
        settings: How much to bear.
    """

    def __init__(self, app: ASGIApp, settings: Bearable) -> None:
        self.open = 0
        self._closed = trio.Event()
        self._ending = EventWrapper()
        self._settings = settings
        # Foreign types: hypercorn spells ASGI in its own.
        self._app = ASGIWrapper(cast("Any", app))
        self._config = Config()
        self._config.keep_alive_timeout = settings.idle_seconds
        # A connection that is closed under a client that is about to use it costs it an error.
        self._config.keep_alive_max_requests = 1_000_000
        self._config.include_server_header = False
        self._config.accesslog = None
        self._config.errorlog = _HTTP_LOG

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection (a handler of `trio.serve_listeners`): raises nothing."""
        if self.open >= self._settings.connections_max:
            await stream.aclose()
            return
        self.open += 1
        bounded = _BoundedStream(stream, self._settings.send_seconds)
        context = WorkerContext(None)
        context.terminated = self._ending
        # Hypercorn reads no further while it waits for such an event.
        context.event_class = cast("Any", partial(_Pause, bounded))
        try:
            await _Http1Server(self._app, self._config, context, ConnectionState({}), cast("Any", bounded))
        except* _HungUp:
            log.debug("a client hung up that had sent more than it was answered")
        except* Exception as errors:  # noqa: BLE001 (a task ends here)
            # Their text may quote what was asked or answered.
            log.error("a connection failed by a fault of ours", extra=fault_facts(errors.exceptions[0]))
        finally:
            self.open -= 1
            self._closed.set()

    async def close(self) -> None:
        """Close idle connections now, each other one after its answer, and wait until all are."""
        await self._ending.set()
        while self.open:
            self._closed = trio.Event()
            await self._closed.wait()


class _Http1Server(TCPServer):
    """A connection that stays what it is: an `Upgrade` is an offer, and may be ignored (RFC 9110, 7.8).

    One to WebSocket, when it is malformed, hypercorn refuses and never closes. And a client that has left it
    takes for an idle one, until its time is over.
    """

    _has_left = False

    async def _read_data(self) -> None:
        # Hypercorn has no setting for it.
        protocol = cast("Any", self.protocol).protocol
        protocol._check_protocol = _stay
        protocol._create_stream = partial(_ignore_offer, protocol._create_stream)
        await super()._read_data()
        self._has_left = True
        await self.idle_task.stop()

    async def _idle_timeout(self) -> None:
        # An answer that ends only now counts as idle, too.
        if not self._has_left:
            await super()._idle_timeout()


async def _stay(_request: object) -> None:
    pass


async def _ignore_offer(begin: Callable[[Any], Awaitable[None]], request: Any) -> None:
    await begin(replace(request, headers=[each for each in request.headers if each[0] != b"upgrade"]))


class _HungUp(Exception):
    """The client is gone, or sends without waiting for what it asked."""


class _BoundedStream:
    """What hypercorn wants of a stream; one that is not read is broken."""

    def __init__(self, stream: trio.SocketStream, send_seconds: float) -> None:
        self._stream = stream
        self._send_seconds = send_seconds
        self._ahead = bytearray()

    @property
    def socket(self) -> "trio.socket.SocketType":
        return self._stream.socket

    async def receive_some(self, size_max_bytes: int) -> bytes:
        if self._ahead:
            ahead, self._ahead = bytes(self._ahead), bytearray()
            return ahead
        return bytes(await self._stream.receive_some(size_max_bytes))

    async def read_ahead(self) -> None:
        """Read until the client hangs up.

        Raises:
            _HungUp: It did, or has sent too much.
        """
        while piece := await self._stream.receive_some(AHEAD_MAX_BYTES):
            self._ahead += piece
            if len(self._ahead) > AHEAD_MAX_BYTES:
                raise _HungUp
        raise _HungUp

    async def send_all(self, data: bytes) -> None:
        if not data:
            # The end of a body whose length was said.
            return
        with trio.move_on_after(self._send_seconds) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the client does not read")

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Pause(EventWrapper):
    """What hypercorn waits for before it reads on: the end of an answer, or the client's."""

    def __init__(self, stream: _BoundedStream) -> None:
        super().__init__()
        self._stream = stream

    async def wait(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stream.read_ahead)
            await super().wait()
            nursery.cancel_scope.cancel()
