"""Addresses in the bytes that libp2p's messages carry.

Spec: multiformats/multiaddr, protocols.csv. Each part is a varint code and a value; names and
peer ids have their length before them.
"""

import ipaddress

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.network.libp2p.addresses import Address, HostKind, host_of_kind

_CODES: dict[HostKind, int] = {"ip4": 4, "ip6": 41, "dns": 53, "dns4": 54, "dns6": 55}
_KINDS: dict[int, HostKind] = {code: kind for kind, code in _CODES.items()}
_IP_SIZES_BYTES: dict[HostKind, int] = {"ip4": 4, "ip6": 16}
_TCP = 6
_P2P = 421


def encode_address(address: Address) -> bytes:
    """Spell an address, without who answers there."""
    if address.is_name:
        name = address.host.encode()
        host = _varint(len(name)) + name
    else:
        host = ipaddress.ip_address(address.host).packed
    return _varint(_CODES[address.kind]) + host + _varint(_TCP) + address.port.to_bytes(2, "big")


def decode_address(raw: bytes) -> Address:
    """Read an address. A `/p2p/...` after it is passed over: the message says whose address it is.

    Raises:
        MalformedMessage: It is not a TCP multiaddr.
    """
    code, rest = _read_varint(raw)
    kind = _KINDS.get(code)
    if kind is None:
        raise MalformedMessage(f"not a TCP multiaddr (protocol={code})")
    size, rest = (_IP_SIZES_BYTES[kind], rest) if kind in _IP_SIZES_BYTES else _read_varint(rest)
    host, rest = rest[:size], rest[size:]
    code, rest = _read_varint(rest)
    port, rest = rest[:2], rest[2:]
    if len(host) != size or code != _TCP or len(port) != 2 or (rest and not _is_peer(rest)):
        raise MalformedMessage(f"not a TCP multiaddr ({raw[:64].hex()})")
    try:
        text = str(ipaddress.ip_address(host)) if kind in _IP_SIZES_BYTES else host.decode("ascii")
        return Address(kind, host_of_kind(kind, text), int.from_bytes(port, "big"))
    except ValueError as exc:
        raise MalformedMessage(f"not a TCP multiaddr ({raw[:64].hex()})") from exc


def _is_peer(rest: bytes) -> bool:
    code, rest = _read_varint(rest)
    if code != _P2P:
        return False
    size, rest = _read_varint(rest)
    return size == len(rest)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _read_varint(raw: bytes) -> tuple[int, bytes]:
    # Two bytes hold every code and length that is known here.
    if raw[:1] and raw[0] < 0x80:
        return raw[0], raw[1:]
    if len(raw) >= 2 and raw[1] < 0x80:
        return raw[0] & 0x7F | raw[1] << 7, raw[2:]
    raise MalformedMessage(f"not a multiaddr ({raw[:64].hex()})")
