"""The gateway as a service: where it listens, how long it runs, how it ends."""

import ipaddress
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from cocoon_p2p.client import Client
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.gateway.app import Gateway, build_app
from cocoon_p2p.gateway.door import Door
from cocoon_p2p.gateway.flights import Flights
from cocoon_p2p.gateway.keys import Keys
from cocoon_p2p.gateway.settings import Settings
from cocoon_p2p.web.connections import Connections
from cocoon_p2p.web.names import is_loopback

log = logging.getLogger(__name__)

TELL_SECONDS = 2.0
"What answers that are cut off at the end have to tell their clients so."

_DEFAULT = Settings()


async def serve(
    client: Client,
    settings: Settings = _DEFAULT,
    *,
    keys: Keys | None = None,
    stop: trio.Event | None = None,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve OpenAI's API until told to stop; then running answers have `settings.grace_seconds` to end.

    A cancel ends running answers at once. What they have cost is settled first, as leaving them has it.

    Args:
        client: Buys what is asked for.
        settings: Where to listen, and how much to bear.
        keys: Who may ask; None, or none made yet: whoever reaches it, which only this machine does.
        stop: Ends it when set.
        clock: Seconds since the Unix epoch.
        task_status: Told the URL when it listens: `http://127.0.0.1:8900`.

    Raises:
        ConfigurationError: It cannot listen there, or would serve strangers for nothing.
    """
    settings = _checked(settings, keys)
    stop = trio.Event() if stop is None else stop
    listeners = await _listen(settings)
    async with trio.open_nursery() as answering:
        # Those that nobody waits for any more are settled beside those that somebody does.
        flights = Flights(answering, running_max=2 * settings.requests_max)
        door = Door(build_app(Gateway(client, settings, flights, clock)), settings, keys)
        served = Connections(door, settings)
        async with trio.open_nursery() as connecting:
            url = _url(listeners[0])
            accepting = await connecting.start(partial(_accept, served, listeners, connecting))
            log.info("gateway listening", extra={"url": url})
            task_status.started(url)
            await stop.wait()
            accepting.cancel()
            connecting.start_soon(_end_in_time, flights, settings.grace_seconds, connecting.cancel_scope)
            await served.close()
            connecting.cancel_scope.cancel()
        flights.end()


async def _accept(
    served: Connections,
    listeners: list[trio.SocketListener],
    connecting: trio.Nursery,
    *,
    task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await trio.serve_listeners(served.serve, listeners, handler_nursery=connecting)


async def _end_in_time(flights: Flights, grace_seconds: float, connections: trio.CancelScope) -> None:
    await trio.sleep(grace_seconds)
    flights.end()
    await trio.sleep(TELL_SECONDS)
    connections.cancel()


def _checked(settings: Settings, keys: Keys | None) -> Settings:
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ConfigurationError(
            f"not an address to listen on: {host[:64]!r}", hint="give an IP address, such as 127.0.0.1"
        ) from None
    if not is_loopback(host) and not (keys is not None and keys.list()):
        raise ConfigurationError(
            f"others can reach {host}, and there is no API key: they would spend your money",
            hint="make a key first (`cocoon gateway key create`), or listen on 127.0.0.1",
        )
    return replace(settings, host=host)


async def _listen(settings: Settings) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(settings.port, host=settings.host)
    except (OSError, OverflowError) as exc:
        raise ConfigurationError(
            f"cannot listen on {settings.host} port {settings.port}: {exc}",
            hint="does something else listen there? --port chooses another",
        ) from exc


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
