"""Frames: a 4-byte big-endian length and one message, one after another on a stream.

Bytes in, messages out; however the bytes are cut on their way, the messages are the same.

Spec: protocols/README.md (Framing). Vectors: protocols/vectors/framing.json.
"""

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.protocols.ids import FRAME_SIZE_MAX_BYTES, FRAME_SIZE_MAX_NEWCOMER_BYTES
from cocoon_p2p.protocols.schema import decode_message, encode_message

LENGTH_SIZE_BYTES = 4


def frame(message: object) -> bytes:
    """Spell one message with its length in front. Frames may be concatenated and written at once.

    Raises:
        LocalProtocolError: It is no message, or a field is outside its bound.
    """
    body = encode_message(message)
    assert len(body) <= FRAME_SIZE_MAX_BYTES, "a message whose fields are within their bounds fits a frame"
    return len(body).to_bytes(LENGTH_SIZE_BYTES, "big") + body


class FrameReader:
    """Cuts one stream's bytes into messages.

    It holds one incomplete frame at most: a frame above `limit` is refused as soon as its
    length is known. A reader that has raised raises the same for ever: whatever follows a
    malformed frame has no known beginning.

    Attributes:
        limit: The largest body accepted from now on, in bytes. Raise it once the peer has
            credit or was attested.
    """

    __slots__ = ("_buffer", "_fault", "limit")

    def __init__(self, *, limit: int = FRAME_SIZE_MAX_NEWCOMER_BYTES) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._fault: MalformedMessage | None = None

    @property
    def at_boundary(self) -> bool:
        """Whether the stream may end here: no frame is incomplete, and none was malformed."""
        return not self._buffer and self._fault is None

    @property
    def fault(self) -> MalformedMessage | None:
        """What is wrong with the stream, as soon as it is known; it counts after the messages before it."""
        return self._fault

    def feed(self, data: bytes) -> list[object]:
        """Take the next bytes of the stream and give the messages that they complete, in order.

        Messages before a malformed one are still given. The fault is then raised by the next
        call (`feed(b"")` will do), so that what counts does not depend on how the bytes were cut.

        Raises:
            MalformedMessage: The first bytes not yet given out are no frame within `limit`,
                or no message.
        """
        if self._fault is not None:
            raise self._fault
        buffer = self._buffer
        buffer += data
        complete: list[object] = []
        start = 0
        try:
            while len(buffer) - start >= LENGTH_SIZE_BYTES:
                size = int.from_bytes(buffer[start : start + LENGTH_SIZE_BYTES], "big")
                if size > self.limit:
                    raise MalformedMessage(f"frame above the limit (size={size} limit={self.limit} bytes)")
                end = start + LENGTH_SIZE_BYTES + size
                if len(buffer) < end:
                    break
                complete.append(decode_message(bytes(buffer[start + LENGTH_SIZE_BYTES : end])))
                start = end
        except MalformedMessage as fault:
            self._fault = fault
            buffer.clear()
            if not complete:
                raise
            return complete
        del buffer[:start]
        return complete
