"""A site on a socket: where it listens, and how much it bears."""

import ipaddress
import logging
import re
from dataclasses import dataclass
from functools import partial

import trio
from starlette.types import ASGIApp

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.web.connections import Connections
from cocoon_p2p.web.names import is_loopback

log = logging.getLogger(__name__)

_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:]+)):([0-9]{1,5})")
_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on."""

    host: str
    "An IP address."

    port: int
    "0: the system chooses."

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a site bears. A page that one person looks at needs little."""

    connections_max: int = 64
    "Connections that are open at once; one more is closed."

    send_seconds: float = 20.0
    "How long a reader may leave what it was sent unread, before it is taken for gone."

    idle_seconds: float = 75.0
    "How long a connection is kept that nothing is asked on."


def read_listen(text: str) -> Listen:
    """Read `HOST:PORT`, such as `127.0.0.1:8910`, `localhost:0` or `[::1]:8910`.

    Raises:
        ConfigurationError: It is none.
    """
    found = _LISTEN.fullmatch(text)
    if found is not None:
        host, port = found[1] or found[2], int(found[3])
        host = "127.0.0.1" if host == "localhost" else host
        try:
            ipaddress.ip_address(host)
        except ValueError:
            port = _PORT_MAX + 1
        if port <= _PORT_MAX:
            return Listen(host, port)
    raise ConfigurationError(
        f"not an address to listen on: {text[:64]!r}", hint="write an IP address and a port: 127.0.0.1:8910"
    )


async def serve_site(
    app: ASGIApp,
    listen: Listen,
    bounds: Bounds | None = None,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a site until cancelled, which ends answers at once.

    Args:
        app: What is served, behind a `Guard`.
        listen: Where.
        bounds: How much to bear.
        task_status: Told the URL once it listens: `http://127.0.0.1:8910`.

    Raises:
        ConfigurationError: It cannot listen there.
    """
    try:
        listeners = await trio.open_tcp_listeners(listen.port, host=listen.host)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot listen on {listen.host} port {listen.port}: {exc.strerror or exc}",
            hint="does something else listen there? Choose another port; 0 takes any that is free",
        ) from exc
    served = Connections(app, bounds or Bounds())
    url = _url(listeners[0])
    async with trio.open_nursery() as connecting:
        await connecting.start(
            partial(trio.serve_listeners, served.serve, listeners, handler_nursery=connecting)
        )
        log.info("page listening", extra={"url": url})
        task_status.started(url)


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
