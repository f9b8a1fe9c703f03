"""TL's plain values, read and written: little-endian numbers, and bytes padded to four.

Both ends of a lite server's talk stand on it: `lite`, which asks, and `devchain`, which answers.

Spec: https://docs.ton.org, TL.
"""

from cocoon_p2p.errors import MalformedMessage

_LONG_LENGTH = 254
_SHORT_MAX = 253


class Reader:
    """Reads a message's bytes in order. What is asked for and not there raises `MalformedMessage`."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise MalformedMessage("a TL message is cut short")
        self._at += size
        return part

    def number(self, size: int, *, signed: bool) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def octets(self) -> bytes:
        """Read `bytes`: a length of one byte, or of three after a 254, and padding to four."""
        size, head = self.take(1)[0], 1
        if size == _LONG_LENGTH:
            size, head = self.number(3, signed=False), 4
        elif size > _SHORT_MAX:
            raise MalformedMessage("a TL length of more than four bytes")
        data = self.take(size)
        self.take(-(head + size) % 4)
        return data

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Raise if anything is left."""
        if self._at != len(self._data):
            raise MalformedMessage("bytes are left after a TL message")


def write_octets(data: bytes) -> bytes:
    """Write `bytes`."""
    size = len(data)
    head = bytes((size,)) if size <= _SHORT_MAX else b"\xfe" + size.to_bytes(3, "little")
    return head + data + bytes(-(len(head) + size) % 4)
