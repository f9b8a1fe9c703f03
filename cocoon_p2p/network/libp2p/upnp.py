"""Has the router at home let others in: a TCP port forwarded to us by UPnP, for as long as we run.

    SEARCHING --a router answers--> MAPPED --half the lease--> renewed ... --we stop--> taken back
        ^                              |
        +---- after a while ---- the router refuses, or is gone

The talking is miniupnpc's, which blocks: it runs in a thread, one at a time and never waited for longer
than a bounded time. A router may be as old, slow and wrong as it likes; the worst it can do is not to be
of use. What it says of the address that the world sees is a hint to be tried like any other.

Spec: UPnP Forum, InternetGatewayDevice:1 and WANIPConnection:1.
"""

import ipaddress
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, cast

import miniupnpc  # type: ignore[import-not-found]  # it ships no types
import trio

from cocoon_p2p.network.libp2p.addresses import Address, HostKind
from cocoon_p2p.network.libp2p.announced import Announced, is_public, is_public_host

log = logging.getLogger(__name__)

T = TypeVar("T")

SEARCH_SECONDS = 2.0
"How long routers have to answer a search, which asks all of them at once."

CALL_SECONDS = 30.0
"How long one exchange with a router may take; miniupnpc gives up on a silent one after some five."

LEASE_SECONDS = 3600
"How long a router keeps a forwarded port that is not renewed: after a crash it closes by itself."

RETRY_SECONDS = 900.0
"When a router is searched for again, or asked again: one may be new, or allow it now."

TAKE_BACK_SECONDS = 5.0
"How long we wait for the router when we stop."

PORTS_MAX = 4
OTHER_PORTS = (20_000, 60_000)
OTHER_PORTS_TRIED = 3
"Ports that are asked for; and where and how often another one is, if somebody at home has it already."

DESCRIPTION = "cocoon"
"What the router's own page shows."


class Gateway(Protocol):
    """What we use of a router, as `miniupnpc.UPnP` has it. Each call blocks, and raises `Exception`."""

    lanaddr: str

    def discover(self) -> int: ...
    def selectigd(self) -> str: ...
    def externalipaddress(self) -> str | None: ...
    def addportmapping(
        self, outside: int, protocol: str, host: str, port: int, description: str, remote: str, lease: int
    ) -> bool: ...
    def deleteportmapping(self, outside: int, protocol: str) -> bool: ...


def gateway(interface: str = "") -> Gateway:
    """Prepare to search for a router.

    Args:
        interface: Where: an IP address of ours; empty: where the system sends multicasts.
    """
    milliseconds = int(SEARCH_SECONDS * 1000)
    make = cast(Callable[..., Gateway], miniupnpc.UPnP)  # pyright: ignore[reportUnknownMemberType]
    return make(multicastif=interface, discoverdelay=milliseconds)


@dataclass(frozen=True, slots=True)
class _Taken:
    """One port that a router forwards to us."""

    router: Gateway
    outside: int


class RouterFailed(Exception):
    """There is no router that helps, and why."""


def wants_mapping(announced: Announced) -> bool:
    """Say whether a forwarded port could be of use: not to who is on the internet, or on loopback alone."""
    listening = announced.listening
    has_public = any(is_public(address) for address in listening)
    return bool(_ports(listening)) and not has_public and not announced.offered("configured")


async def keep_mapped(announced: Announced, find: Callable[[], Gateway] = gateway) -> None:
    """Keep our ports forwarded, and say where the world sees them, until cancelled.

    A cancel takes them back, which may take some seconds; the router forgets what is left after an hour.
    """
    thread = trio.CapacityLimiter(1)
    taken = dict[int, _Taken]()
    try:
        while True:
            mapped: tuple[Address, ...] = ()
            try:
                router = find()
                blocking = partial(_map_all, router, announced.listening, taken)
                mapped = await _in_thread(blocking, thread, CALL_SECONDS)
            except (RouterFailed, trio.TooSlowError) as exc:
                log.info("no port forwarded", extra={"why": str(exc) or "the router is too slow"})
            if mapped:
                log.info("port forwarded by the router", extra={"addresses": [*map(str, mapped)]})
            announced.offer("upnp", map(str, mapped))
            await trio.sleep(LEASE_SECONDS / 2 if mapped else RETRY_SECONDS)
    finally:
        announced.offer("upnp", ())
        with trio.CancelScope(shield=True), trio.move_on_after(TAKE_BACK_SECONDS):
            await trio.to_thread.run_sync(partial(_take_back, taken), limiter=thread, abandon_on_cancel=True)


async def _in_thread(blocking: Callable[[], T], thread: trio.CapacityLimiter, seconds: float) -> T:
    # A thread cannot be ended. Whoever gives up leaves it behind, and the next call waits for it.
    with trio.fail_after(seconds):
        return await trio.to_thread.run_sync(blocking, limiter=thread, abandon_on_cancel=True)


def _map_all(
    router: Gateway, listening: tuple[Address, ...], taken: dict[int, _Taken]
) -> tuple[Address, ...]:
    """Find the router and have it forward each port; what it took is in `taken` in any case."""
    try:
        router.discover()
        router.selectigd()
        host = router.externalipaddress() or ""
    except Exception as exc:
        raise RouterFailed(f"no router answers ({exc})") from exc
    if not _is_usable(host):
        raise RouterFailed(f"the router is behind another one (its address outside is {host[:64]!r})")
    ports = _ports(listening, router.lanaddr)
    if not ports:
        raise RouterFailed(f"we do not listen where the router is (our address there is {router.lanaddr})")
    for port in ports:
        before = taken.get(port)
        outside = _map(router, port, port if before is None else before.outside)
        taken[port] = _Taken(router, outside)
    kind: HostKind = "ip6" if ":" in host else "ip4"
    return tuple(Address(kind, host, taken[port].outside) for port in ports)


def _map(router: Gateway, port: int, wanted: int) -> int:
    """Have a port forwarded, from the wanted one outside or from another; give that."""
    refused = ""
    for outside in (wanted, *(random.randint(*OTHER_PORTS) for _ in range(OTHER_PORTS_TRIED))):
        # Some routers know no leases: 0 is until they are switched off, or we take it back.
        for lease in (LEASE_SECONDS, 0):
            try:
                router.addportmapping(outside, "TCP", router.lanaddr, port, DESCRIPTION, "", lease)
            except Exception as exc:  # noqa: BLE001  (miniupnpc raises nothing else)
                refused = str(exc)
            else:
                return outside
    raise RouterFailed(f"the router refuses to forward port {port} ({refused})")


def _take_back(taken: dict[int, _Taken]) -> None:
    for each in taken.values():
        try:
            each.router.deleteportmapping(each.outside, "TCP")
        except Exception as exc:  # noqa: BLE001  (miniupnpc raises nothing else)
            log.info("port not taken back", extra={"why": str(exc)})


def _ports(listening: tuple[Address, ...], host: str | None = None) -> tuple[int, ...]:
    """List the ports that could be forwarded to us, at one of our addresses or at any."""
    found = (
        address.port
        for address in listening
        if address.kind == "ip4"
        and (address.host == host or (host is None and not ipaddress.ip_address(address.host).is_loopback))
    )
    return tuple(dict.fromkeys(found))[:PORTS_MAX]


def _is_usable(host: str) -> bool:
    try:
        return is_public_host(host)
    except ValueError:
        return False
