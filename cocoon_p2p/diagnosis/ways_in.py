"""How others come to a node: the ports it listens on, and what its router makes of them."""

import errno
import ipaddress
import socket
from collections.abc import Iterable, Sequence

import trio

from cocoon_p2p.config import NetworkSection
from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.network.reachability import ReachabilityView

Host = ipaddress.IPv4Address | ipaddress.IPv6Address

CARRIER = ipaddress.ip_network("100.64.0.0/10")
"Addresses behind a provider's own router (RFC 6598): nobody there can have a port forwarded."


async def check_ports(patient: Patient) -> Sequence[Finding]:
    """Say whether others reach the ports of a node; of one that does not run, whether they are free."""
    network: NetworkSection = patient.section("network")
    if not network.listen:
        await trio.lowlevel.checkpoint()
        return [Finding("ports", Severity.FINE, "it only dials out: no port is open")]
    if patient.snapshot is not None:
        await trio.lowlevel.checkpoint()
        return judge_ports(patient.snapshot.reach)
    return [
        await trio.to_thread.run_sync(_bind, address, abandon_on_cancel=True) for address in network.listen
    ]


def _bind(address: str) -> Finding:
    """Try whether a node could listen at an address."""
    host, port = _place(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            # As a server does it: what an ended connection left is in nobody's way.
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except OSError as exc:
        remedy = {
            errno.EADDRINUSE: "stop what uses it (ss -ltnp), or choose another port: [network] listen",
            errno.EACCES: "choose a port above 1023, or let this user open it: [network] listen",
            errno.EADDRNOTAVAIL: "name an address of this machine, or 0.0.0.0: [network] listen",
        }.get(exc.errno or 0, "check [network] listen")
        return Finding("ports", Severity.FAILURE, f"{address} cannot be opened: {exc.strerror}", remedy)
    return Finding("ports", Severity.FINE, f"{address} is free")


def _place(address: str) -> tuple[str, int]:
    parts = address.split("/")
    try:
        kind, host, protocol, port = parts[1:5]
        ipaddress.ip_address(host)
        if kind in ("ip4", "ip6") and protocol == "tcp" and 0 <= int(port) <= 65535:
            return host, int(port)
    except ValueError:
        pass
    raise ConfigurationError(
        f"no address to listen on: {address[:100]!r}", hint='for example listen = ["/ip4/0.0.0.0/tcp/4001"]'
    )


def judge_ports(reach: ReachabilityView) -> Sequence[Finding]:
    """Judge what others found where a node may be dialled."""
    missed = [each for each in reach.seen if each.missed_by and not each.reached_by]
    reached = [each for each in reach.seen if each.reached_by]
    if reached:
        text = f"{reached[0].address} was reached by {reached[0].reached_by} others"
        return [Finding("ports", Severity.FINE, text)]
    if missed:
        text = f"{missed[0].address} was reached by nobody of {missed[0].missed_by} who tried"
        remedy = reach.advice or "forward the port in the router, or let it through the firewall"
        return [Finding("ports", Severity.WARNING, text, remedy)]
    return [Finding("ports", Severity.FINE, "nobody has tried yet whether they are reached")]


async def check_nat(patient: Patient) -> Sequence[Finding]:
    """Say what stands between a running node and the others."""
    await trio.lowlevel.checkpoint()
    network: NetworkSection = patient.section("network")
    if patient.snapshot is None or not network.listen:
        return []
    return [judge_nat(patient.snapshot.reach)]


def judge_nat(reach: ReachabilityView) -> Finding:
    """Judge which kind of router stands before a node, by where it listens and where others see it."""
    own = set(_hosts(each.address for each in reach.seen if each.source == "listening"))
    mapped = set(_hosts(each.address for each in reach.seen if each.source == "upnp"))
    seen = set(filter(None, map(_host, reach.observed)))
    if any(host in CARRIER for host in own | mapped if host.version == CARRIER.version):
        text = "the provider's own router stands between: no port can be forwarded there"
        remedy = "have a relay stand in (a bootstrap node with `relay`), or run the node elsewhere"
        return Finding("nat", Severity.WARNING, text, remedy)
    for version in (4, 6):
        ways = sorted(str(host) for host in seen if host.version == version)
        if len(ways) > 1:
            text = f"others see it come from {len(ways)} addresses: {' '.join(ways)}"
            remedy = "say in [network] announce which of them is forwarded to it"
            return Finding("nat", Severity.WARNING, text, remedy)
    if own & seen or any(host.is_global for host in own):
        return Finding("nat", Severity.FINE, "no router changes its address")
    if not seen:
        return Finding("nat", Severity.FINE, "nobody has said yet where it is seen")
    if reach.reachability == "public":
        way = "which it told to (UPnP)" if mapped else "which lets its port through"
        return Finding("nat", Severity.FINE, f"behind a router, {way}")
    text = f"behind a router that lets nobody in, seen at {min(map(str, seen))}"
    return Finding("nat", Severity.WARNING, text, reach.advice or "forward its port in the router")


def _hosts(addresses: Iterable[str]) -> Iterable[Host]:
    return filter(None, (_host(address.split("/")[2]) for address in addresses if address.count("/") > 1))


def _host(text: str) -> Host | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
