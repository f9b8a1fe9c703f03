"""Connections as hypercorn serves them, each within bounds that it does not set itself.

Hypercorn waits without end for a client that does not read, even when it is told to stop, and it takes as
many connections as come. Here a client has its time, and connections have their number.
"""

import logging
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from starlette.types import ASGIApp

from cocoon_p2p.gateway.faults import fault_facts
from cocoon_p2p.gateway.settings import Settings

log = logging.getLogger(__name__)

_HTTP_LOG = logging.getLogger("cocoon_p2p.gateway.hypercorn")


class Connections:
    """Serves an app on connections.

    Args:
        app: What is served.
        settings: The gateway's.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.open = 0
        self._closed = trio.Event()
        self._settings = settings
        # Foreign types: hypercorn spells ASGI in its own.
        self._app = ASGIWrapper(cast("Any", app))
        self._context = WorkerContext(None)
        self._config = Config()
        self._config.keep_alive_timeout = settings.idle_seconds
        # Each of them is one more way to take a connection away from a client that is about to use it.
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
        try:
            bounded = _BoundedStream(stream, self._settings.send_seconds)
            await TCPServer(self._app, self._config, self._context, ConnectionState({}), cast("Any", bounded))
        except Exception as error:  # noqa: BLE001 (a task ends here)
            # Its text may quote what was asked or answered.
            log.error("a connection failed by a fault of ours", extra=fault_facts(error))
        finally:
            self.open -= 1
            self._closed.set()

    async def close(self) -> None:
        """Close idle connections now, each other one after its answer, and wait until all are."""
        await self._context.terminated.set()
        while self.open:
            self._closed = trio.Event()
            await self._closed.wait()


class _BoundedStream:
    """What hypercorn wants of a stream; one that is not read is broken."""

    def __init__(self, stream: trio.SocketStream, send_seconds: float) -> None:
        self._stream = stream
        self._send_seconds = send_seconds

    @property
    def socket(self) -> "trio.socket.SocketType":
        return self._stream.socket

    async def receive_some(self, size_max_bytes: int) -> bytes:
        return bytes(await self._stream.receive_some(size_max_bytes))

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
