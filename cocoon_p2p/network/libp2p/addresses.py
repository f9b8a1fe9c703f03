"""Multiaddrs as far as this network uses them: TCP to a host, and the key that answers there.

    /ip4/203.0.113.7/tcp/4001/p2p/12D3KooW...     /ip6/...     /dns/... /dns4/... /dns6/...
    /ip4/203.0.113.7/tcp/4001/p2p/<relay>/p2p-circuit/p2p/12D3KooW...

Spec: libp2p specs/addressing and specs/relay, multiformats/multiaddr. Anything else (QUIC,
websockets) is not an address to us, and is refused here so that nothing dials it.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from cocoon_p2p.errors import ConfigurationError, RecordRejected
from cocoon_p2p.identity import PeerId, parse_peer_id, peer_id_text

HostKind = Literal["ip4", "ip6", "dns", "dns4", "dns6"]

_SHAPE = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/([^/]{1,253})/tcp/(0|[1-9][0-9]{0,4})(?:/p2p/([^/]{1,64}))?")
_CIRCUIT = "/p2p-circuit"
_DNS_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to knock, without who should answer."""

    kind: HostKind
    host: str
    port: int

    @property
    def is_name(self) -> bool:
        return self.kind.startswith("dns")

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every interface: something to listen on, not to tell others."""
        return not self.is_name and ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        return f"/{self.kind}/{self.host}/tcp/{self.port}"

    def of(self, peer: PeerId) -> str:
        """Spell the address as that of `peer`."""
        return f"{self}/p2p/{peer_id_text(peer)}"


@dataclass(frozen=True, slots=True)
class CircuitAddress:
    """Which relay to ask for a peer that nobody can dial."""

    relay_address: Address
    relay: PeerId

    def __str__(self) -> str:
        return f"{self.relay_address.of(self.relay)}{_CIRCUIT}"

    def of(self, peer: PeerId) -> str:
        """Spell the address as that of `peer`."""
        return f"{self}/p2p/{peer_id_text(peer)}"


Route = Address | CircuitAddress
"A way to a peer: to its own door, or through a relay."


def parse_address(text: str) -> tuple[Address, PeerId | None]:
    """Read a multiaddr, and the peer it names if it names one.

    Raises:
        ConfigurationError: It is not a TCP multiaddr, or names something else than an Ed25519 key.
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _not_an_address(text)
    kind, host, port, peer = shape.groups()
    try:
        address = Address(_kind(kind), host_of_kind(kind, host), int(port))
        named = parse_peer_id(peer) if peer else None
    except (ValueError, RecordRejected) as exc:
        raise _not_an_address(text) from exc
    if address.port > 65535:
        raise _not_an_address(text)
    return address, named


def parse_peer_address(text: str) -> tuple[Address, PeerId]:
    """Read a multiaddr that must say who answers there (`.../p2p/12D3KooW...`).

    Raises:
        ConfigurationError: As `parse_address`, or nobody is named.
    """
    address, peer = parse_address(text)
    if peer is None:
        raise ConfigurationError(
            f"the address names no peer: {text[:128]!r}",
            hint="append /p2p/ and the peer id of who answers there",
        )
    return address, peer


def parse_route(text: str) -> tuple[Route, PeerId]:
    """Read a multiaddr that says who answers there, at a door of its own or behind a relay.

    Raises:
        ConfigurationError: As `parse_peer_address`, of the relay's part too.
    """
    at_relay, circuit, behind = text.partition(_CIRCUIT)
    if not circuit:
        return parse_peer_address(text)
    relay_address, relay = parse_peer_address(at_relay)
    try:
        if not behind.startswith("/p2p/"):
            raise _not_an_address(text)
        return CircuitAddress(relay_address, relay), parse_peer_id(behind.removeprefix("/p2p/"))
    except RecordRejected as exc:
        raise _not_an_address(text) from exc


def address_range(host: str) -> str:
    """Name the range an IP address belongs to: what one operator gets at once (IPv4 /24, IPv6 /48)."""
    # A dual-stack listener sees IPv4 peers as ::ffff:a.b.c.d; they share one /48 otherwise.
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))


def _kind(text: str) -> HostKind:
    match text:
        case "ip4" | "ip6" | "dns" | "dns4" | "dns6":
            return text
        case _:
            raise ValueError(text)


def host_of_kind(kind: str, host: str) -> str:
    """Bring a host into the one spelling it has as `ip4`, `ip6` or a name; `ValueError` if it is none."""
    if kind == "ip4":
        return str(ipaddress.IPv4Address(host))
    if kind == "ip6":
        return str(ipaddress.IPv6Address(host))
    if not _DNS_NAME.fullmatch(host):
        raise ValueError(host)
    return host


def _not_an_address(text: str) -> ConfigurationError:
    return ConfigurationError(
        f"not a TCP multiaddr: {text[:128]!r}", hint="write it as /ip4/203.0.113.7/tcp/4001/p2p/12D3KooW..."
    )
