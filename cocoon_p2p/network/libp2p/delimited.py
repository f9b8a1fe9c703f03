"""Messages with their length before them, as libp2p's own protocols send them on a stream.

Spec: libp2p specs/README, "protobuf"; multiformats unsigned-varint.
"""

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.network.transport import Stream


def delimit(body: bytes) -> bytes:
    """Put the length of a message before it."""
    length, size = bytearray(), len(body)
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*length, size)) + body


async def read_delimited(stream: Stream, *, size_max_bytes: int) -> bytes:
    """Read one message and not a byte more: what follows may belong to another protocol.

    Raises:
        MalformedMessage: It is too long, or breaks off.
        Unavailable: The stream was lost.
    """
    size = 0
    for shift in (0, 7, 14):
        byte = (await _read_exactly(stream, 1))[0]
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    else:
        size = size_max_bytes + 1
    if size > size_max_bytes:
        raise MalformedMessage(f"message too long (max={size_max_bytes} bytes)")
    return await _read_exactly(stream, size)


async def _read_exactly(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.read(size - len(data))
        if not piece:
            raise MalformedMessage(f"message breaks off (got={len(data)} expected={size} bytes)")
        data += piece
    return data
