"""What two peers tell each other over a relay before they dial each other at once (DCUtR).

Spec: libp2p specs/relay/DCUtR.md, "RPC messages".
"""

import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.network.libp2p.address_bytes import decode_address, encode_address
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.announced import is_public_host
from cocoon_p2p.network.libp2p.delimited import delimit

DCUTR = "/libp2p/dcutr"

MESSAGE_MAX_BYTES = 4096
"The specification's."

ADDRESSES_MAX = 4
"Addresses that are dialled for one stranger: each costs whoever is there a few packets."


@dataclass(frozen=True, slots=True)
class Observed:
    """Where others saw the sender (`CONNECT`)."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Sync:
    """Dial now."""


def observed(addresses: Iterable[Address]) -> bytes:
    """Tell where others see us."""
    spelled = [encode_address(address) for address in addresses]
    return delimit(HolePunch(type=HolePunch.CONNECT, ObsAddrs=spelled).SerializeToString())


def sync() -> bytes:
    """Have the other dial now."""
    return delimit(HolePunch(type=HolePunch.SYNC).SerializeToString())


def judge(body: bytes) -> Observed | Sync:
    """Read a message; addresses that are none of ours are passed over. Raises `MalformedMessage`."""
    message = HolePunch()
    try:
        message.ParseFromString(body)
    except DecodeError as exc:
        raise MalformedMessage(f"not a hole punching message ({len(body)} bytes)") from exc
    if message.type == HolePunch.SYNC:
        return Sync()
    found: list[Address] = []
    for raw in message.ObsAddrs:
        with suppress(MalformedMessage):
            found.append(decode_address(raw))
    return Observed(tuple(found))


def worth_dialling(addresses: Iterable[Address], relay_host: str) -> tuple[Address, ...]:
    """Choose what to dial of the addresses that a peer behind a relay names.

    Of a peer that comes through a relay on the internet only addresses of the internet's are taken: a
    stranger has no business having us knock about in our own network, or on our own machine. Names are
    not looked up for it.

    Args:
        addresses: What it named.
        relay_host: Where the relay is; empty if that is not known, and then nothing is taken.
    """
    if not relay_host:
        return ()
    reach = _reach(ipaddress.ip_address(relay_host))
    fit = (each for each in dict.fromkeys(addresses) if _is_fit(each, at_least=reach))
    return tuple(fit)[:ADDRESSES_MAX]


def _is_fit(address: Address, *, at_least: int) -> bool:
    if address.is_name or not address.port:
        return False
    ip = ipaddress.ip_address(address.host)
    # Link-local is where a cloud's machines ask for their secrets; nobody is reached there through a relay.
    is_nobodys = ip.is_unspecified or ip.is_multicast or ip.is_link_local
    return not is_nobodys and _reach(ip) >= at_least


def _reach(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    """Say from how far away an address can be meant: this machine, some private network, anywhere."""
    if ip.is_loopback:
        return 0
    # IPv6 that stands for an IPv4 address may lead into our own network.
    return 2 if ip.is_global and (ip.version == 4 or is_public_host(str(ip))) else 1
