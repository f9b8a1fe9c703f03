"""The frames of yamux: their bytes, and a reader that takes them apart as they arrive.

    0         1      2       4           8        12
    | version | kind | flags | stream id | length | payload (DATA only)

    kind            stream id       length means
    DATA            the stream's    bytes of payload that follow
    WINDOW_UPDATE   the stream's    bytes the other side may send beyond what it may already
    PING            0               any number, returned in the answer
    GOAWAY          0               why: one of the three reasons below

    SYN opens a stream (on PING: asks), ACK accepts it (on PING: answers), FIN ends the
    sender's half, RST ends both. SYN, ACK and FIN ride on DATA or WINDOW_UPDATE alike.

Rule 1: a payload is passed on in the pieces it came in and never collected here, so a frame
costs no memory, however long its header says it is.
Rule 2: only what no stream could make right is judged here; windows and flags are judged
where the streams are (`yamux`).

Spec: https://github.com/hashicorp/yamux/blob/master/spec.md, as libp2p uses it:
https://github.com/libp2p/specs/tree/master/yamux.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from cocoon_p2p.errors import MalformedMessage

# Plain numbers and not enums: a message of 100 bytes costs 5 us in all, and an enum's `&` half of one.
DATA, WINDOW_UPDATE, PING, GOAWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
NORMAL, PROTOCOL_ERROR, INTERNAL_ERROR = range(3)

WINDOW_INITIAL_BYTES = 256 * 1024
"What each side may send on a new stream before it hears of a window. Fixed by the specification."

WINDOW_MAX = STREAM_ID_MAX = 0xFFFFFFFF
"What the 32 bits of a stream id, or of a window that has not been used up, can hold."

_HEADER = struct.Struct("!BBHII")
HEADER_SIZE_BYTES = _HEADER.size


class Header(NamedTuple):
    """The twelve bytes before a payload, without the version, which is 0."""

    kind: int
    flags: int
    stream_id: int
    length: int


class Payload(NamedTuple):
    """A piece of the payload of the DATA frame whose header came last."""

    piece: memoryview
    is_last: bool


def encode(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """Write a frame's header; a DATA frame's payload follows it on the wire."""
    return _HEADER.pack(0, kind, flags, stream_id, length)


class FrameReader:
    """Takes the peer's bytes apart, wherever they were cut."""

    def __init__(self) -> None:
        self._partial: bytes = b""
        self._payload_owed_bytes = 0
        self._in_payload = False

    @property
    def owed_bytes(self) -> int:
        """How much of the last payload has not come yet."""
        return self._payload_owed_bytes

    def feed(self, data: bytes) -> Iterator[Header | Payload]:
        """Yield what these bytes complete. Take all of it before you feed more.

        A DATA header is followed by one payload piece or more, the last of which says so;
        an empty payload is one empty piece. The pieces are views into `data`: copy them.

        Raises:
            MalformedMessage: A version or kind of frame that yamux does not have. Nothing
                that follows can be understood.
        """
        data = self._partial + data
        view = memoryview(data)
        position, end = 0, len(data)
        while True:
            if self._in_payload:
                size = min(self._payload_owed_bytes, end - position)
                self._payload_owed_bytes -= size
                self._in_payload = self._payload_owed_bytes > 0
                if size or not self._in_payload:
                    yield Payload(view[position : position + size], not self._in_payload)
                position += size
            if end - position < HEADER_SIZE_BYTES:
                self._partial = data[position:]
                return
            version, kind, flags, stream_id, length = _HEADER.unpack_from(data, position)
            position += HEADER_SIZE_BYTES
            if version or kind > GOAWAY:
                raise MalformedMessage(f"not a yamux frame (version={version} kind={kind})")
            if kind == DATA:
                self._payload_owed_bytes, self._in_payload = length, True
            yield Header(kind, flags, stream_id, length)
