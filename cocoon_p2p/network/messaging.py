"""Messages over a stream: framing and codec on one side, a `Stream` on the other."""

from collections import deque

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.protocols.framing import FrameReader, frame
from cocoon_p2p.protocols.ids import FRAME_SIZE_MAX_BYTES

_READ_SIZE_BYTES = 64 * 1024


class MessageStream:
    """A stream that speaks in messages of the closed set.

    A cancelled `receive` loses nothing: what had arrived is there for the next one. A
    cancelled `send` resets the stream, because half a frame may be on its way.
    """

    def __init__(self, stream: Stream, *, frame_size_max_bytes: int = FRAME_SIZE_MAX_BYTES) -> None:
        self._stream = stream
        self._frames = FrameReader(limit=frame_size_max_bytes)
        self._arrived: deque[object] = deque()

    @property
    def peer(self) -> PeerId:
        return self._stream.peer

    @property
    def is_superseded(self) -> bool:
        """Whether another stream to the peer would run on a better connection."""
        return self._stream.is_superseded

    @property
    def has_message(self) -> bool:
        """Whether `receive` gives a message without waiting: it came along with one that was received."""
        return bool(self._arrived)

    def allow(self, frame_size_max_bytes: int) -> None:
        """Take frames of this size from now on: the peer is no newcomer any more."""
        self._frames.limit = frame_size_max_bytes

    async def receive(self) -> object | None:
        """Wait for the next message; None once the peer has closed its side between two frames.

        Raises:
            MalformedMessage: What came is no message, or the stream ended inside one.
            Unavailable: The stream was reset or the connection lost.
        """
        while not self._arrived:
            if self._frames.fault is not None:
                raise self._frames.fault
            data = await self._stream.read(_READ_SIZE_BYTES)
            if not data:
                if not self._frames.at_boundary:
                    raise MalformedMessage("the stream ended inside a frame")
                return None
            self._arrived.extend(self._frames.feed(data))
        return self._arrived.popleft()

    async def send(self, *messages: object) -> None:
        """Send messages, in order, in one write.

        Raises:
            Unavailable: The stream was reset or the connection lost.
        """
        done = False
        try:
            await self._stream.write(b"".join(map(frame, messages)))
            done = True
        finally:
            if not done:
                self._stream.reset()

    def reset(self) -> None:
        """Give the stream up at once, both ways."""
        self._stream.reset()

    async def close(self) -> None:
        """Tell the peer that nothing more comes, and forget the stream; a lost peer is no error."""
        try:
            await self._stream.close_write()
        except Unavailable:
            self._stream.reset()
