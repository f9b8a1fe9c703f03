"""How many pixels a picture has, by its file's header alone: what it would unfold to in memory.

PNG (ISO/IEC 15948): the IHDR chunk is the first. JPEG (ITU-T T.81, B.2.2): the frame header is
the first segment with a marker SOF0 to SOF15, but for the tables DHT, JPG and DAC among them.
"""

import re
import struct

from cocoon_p2p.errors import MalformedMessage

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}
"Markers without a segment: restarts, the start, TEM."

_MARKER = re.compile(rb"\xff++[^\xff\x00]", re.DOTALL)
"Before 0 it is a byte of data, which some decoders skip to look on, and no marker."

_SEGMENTS_MAX = 1000
"A camera writes some twenty."


def pixels_of(data: bytes) -> int:
    """Read a picture's width by its height.

    Raises:
        MalformedMessage: It is neither PNG nor JPEG, or its header is cut short or of no size.
    """
    if data.startswith(_PNG) and len(data) >= 24 and data[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16)
    elif data.startswith(_JPEG):
        height, width = _jpeg_size(data)
    else:
        raise MalformedMessage("image: neither PNG nor JPEG")
    if not width or not height:
        raise MalformedMessage("image: of no size")
    return int(width) * int(height)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(_SEGMENTS_MAX):
        # Any number of fill bytes may stand before a marker.
        marked = _MARKER.match(data, at)
        if marked is None or len(data) < marked.end() + 7:
            break
        at = marked.end() - 2
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        at += 2 if marker in _BARE else 2 + int.from_bytes(data[at + 2 : at + 4])
    raise MalformedMessage("image: no frame header")
