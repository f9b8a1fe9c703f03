"""The messages of AutoNAT v2: a node asks another to dial it, and is told how that went.

    asker                                            server
      | -- DialRequest (addresses, nonce) -------------> |   /libp2p/autonat/2/dial-request
      | <- DataWanted (which address, how many bytes) -- |   unless that is where it comes from
      | -- Data, again and again ----------------------> |
      | <======= a connection of its own ==============> |
      | <- nonce -------------------------- Proved -> == |   /libp2p/autonat/2/dial-back, on that connection
      | <- DialResponse -------------------------------- |

Spec: libp2p specs/autonat/autonat-v2.md, "RPC Messages". Each is a protobuf with its length before
it; written out here by hand, since there are eight fields in all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.network.libp2p.delimited import delimit, read_delimited
from cocoon_p2p.network.transport import Stream

DIAL_REQUEST = "/libp2p/autonat/2/dial-request"
DIAL_BACK = "/libp2p/autonat/2/dial-back"

MESSAGE_MAX_BYTES = 8 * 1024
"A request names a few dozen addresses at most, and data comes in pieces of 4 KiB."

DATA_MAX_BYTES = 4096
"In one `Data`, by the specification."

ADDRESSES_MAX = 32
"Of one request, as far as we read it: no node has more."


class ResponseStatus(IntEnum):
    """What became of a request."""

    INTERNAL_ERROR = 0
    REJECTED = 100
    "Too many at the moment, from this asker or in all."

    REFUSED = 101
    "None of the addresses is one that this server dials."

    OK = 200
    "It dialled one; the `DialStatus` says how that went."


class DialStatus(IntEnum):
    """How a dial went."""

    UNUSED = 0
    DIAL_ERROR = 100
    "Nobody answered there who has the asker's key."

    BACK_ERROR = 101
    "The asker answered, but did not take the nonce."

    OK = 200


@dataclass(frozen=True, slots=True)
class DialRequest:
    """Dial me at the first of these that you would dial at all."""

    addresses: tuple[bytes, ...]
    "Multiaddrs as they came: whoever reads them passes over those that it does not know."

    nonce: int
    "What proves to the asker that it was dialled."


@dataclass(frozen=True, slots=True)
class DataWanted:
    """First show that this is worth as much to you as the dial costs."""

    address: int
    "Its place in the request, from 0."

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of that; what it holds means nothing."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class DialResponse:
    """How it went."""

    status: ResponseStatus
    address: int = 0
    "Whose place in the request this is about; means something if the status is OK."

    dial: DialStatus = DialStatus.UNUSED


S = TypeVar("S", ResponseStatus, DialStatus)

Message = DialRequest | DataWanted | Data | DialResponse


def encode(message: Message) -> bytes:
    """Spell a message, with its length before it."""
    return delimit(_body(message))


def _body(message: Message) -> bytes:
    match message:
        case DialRequest(addresses, nonce):
            parts = (_bytes(1, raw) for raw in addresses)
            return _bytes(1, b"".join(parts) + _fixed(2, nonce))
        case DialResponse(status, address, dial):
            return _bytes(2, _number(1, status) + _number(2, address) + _number(3, dial))
        case DataWanted(address, size_bytes):
            return _bytes(3, _number(1, address) + _number(2, size_bytes))
        case Data(size_bytes):
            return _bytes(4, _bytes(1, bytes(size_bytes)))


def decode(raw: bytes) -> Message:
    """Read a message.

    Raises:
        MalformedMessage: It is none, or says something that this version does not know.
    """
    # Of a `oneof` the last counts, as of any field.
    kind, body = 0, b""
    for number, value in _fields(raw):
        if 1 <= number <= 4 and isinstance(value, bytes):
            kind, body = number, value
    fields = dict(_fields(body))
    match kind:
        case 1:
            raws = (value for number, value in _fields(body) if number == 1)
            addresses = tuple(value for value in raws if isinstance(value, bytes))
            return DialRequest(addresses[:ADDRESSES_MAX], _int(fields, 2))
        case 2:
            return DialResponse(
                _status(ResponseStatus, _int(fields, 1)),
                _int(fields, 2),
                _status(DialStatus, _int(fields, 3)),
            )
        case 3:
            return DataWanted(_int(fields, 1), _int(fields, 2))
        case 4:
            data = fields.get(1, b"")
            return Data(len(data) if isinstance(data, bytes) else 0)
        case _:
            raise MalformedMessage(f"not an autonat message ({len(raw)} bytes)")


async def receive(stream: Stream) -> Message:
    """Read one message. Raises as `read_delimited` and `decode` do."""
    return decode(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))


def encode_dial_back(nonce: int) -> bytes:
    """Spell the proof that a server dialled, with its length before it."""
    return delimit(_fixed(1, nonce))


def decode_dial_back(raw: bytes) -> int:
    """Read that proof. Raises `MalformedMessage`."""
    return _int(dict(_fields(raw)), 1)


DIAL_BACK_TAKEN = delimit(b"")
"The answer to it: a protobuf whose only field has the value that is left out, `OK`."


# ---------------------------------------------------------------- protobuf

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"Wire types (protobuf.dev, Encoding)."


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _number(field: int, value: int) -> bytes:
    # A value of 0 is left out, as every writer of proto3 does.
    return _varint(field << 3 | _VARINT) + _varint(value) if value else b""


def _fixed(field: int, value: int) -> bytes:
    return _varint(field << 3 | _FIXED64) + value.to_bytes(8, "little") if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(value)) + value


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Read the fields of a protobuf in their order; unknown ones are the caller's to pass over."""
    at = 0
    while at < len(raw):
        tag, at = _read_varint(raw, at)
        match tag & 7:
            case 0:
                value, at = _read_varint(raw, at)
                yield tag >> 3, value
            case 1 | 5 as wire:
                size = 8 if wire == _FIXED64 else 4
                yield tag >> 3, int.from_bytes(_cut(raw, at, size), "little")
                at += size
            case 2:
                size, at = _read_varint(raw, at)
                yield tag >> 3, _cut(raw, at, size)
                at += size
            case wire:
                raise MalformedMessage(f"not a protobuf (wire_type={wire})")


def _cut(raw: bytes, at: int, size: int) -> bytes:
    if at + size > len(raw):
        raise MalformedMessage(f"a protobuf breaks off (at={at} field={size} all={len(raw)} bytes)")
    return raw[at : at + size]


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    number = 0
    for index in range(10):
        if at + index >= len(raw):
            raise MalformedMessage("a protobuf breaks off inside a number")
        number |= (raw[at + index] & 0x7F) << 7 * index
        if raw[at + index] < 0x80:
            return number & (1 << 64) - 1, at + index + 1
    raise MalformedMessage("a number in a protobuf has more than ten bytes")


def _int(fields: dict[int, int | bytes], number: int) -> int:
    value = fields.get(number, 0)
    if isinstance(value, bytes):
        raise MalformedMessage(f"a field of a protobuf has another type (field={number})")
    return value


def _status(kind: type[S], value: int) -> S:
    try:
        return kind(value)
    except ValueError as exc:
        raise MalformedMessage(f"a status that nobody knows ({kind.__name__}={value})") from exc
