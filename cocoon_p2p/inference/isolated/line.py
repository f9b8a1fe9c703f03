"""A socket between a node and an engine's process: messages in both directions, for trio.

What is said in one turn of trio's loop leaves in one system call, and what has come is taken in
one: with several answers under way, a token costs a fraction of a wake-up at each end.
"""

import socket
from typing import Final, Generic

import msgspec
import trio

from cocoon_p2p.inference.isolated.frames import Frames, FromChild, M, ToChild, encode_frame

RECEIVE_SIZE_BYTES: Final = 256 << 10


class Line(Generic[M]):
    """One end. `receive` is for one task; `send` is for any code on trio's thread.

    Args:
        end: A stream socket; the line closes it.
        decoder: What the other end may say.
    """

    def __init__(self, end: socket.socket, decoder: "msgspec.msgpack.Decoder[M]") -> None:
        end.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(end))
        self._frames = Frames(decoder)
        self._unsent = bytearray()
        self._has_unsent = trio.Event()

    def send(self, message: ToChild | FromChild) -> int:
        """Queue a message; `write` sends it. Never waits: who sends much keeps to credit.

        Returns:
            The size of its frame in bytes.

        Raises:
            ValueError: It cannot be a frame (`encode_frame`); nothing was queued.
        """
        frame = encode_frame(message)
        self._unsent += frame
        self._has_unsent.set()
        return len(frame)

    async def write(self) -> None:
        """Send what is queued, until the other end is gone. A cancel may leave half a frame sent."""
        try:
            while True:
                await self._has_unsent.wait()
                data, self._unsent = self._unsent, bytearray()
                self._has_unsent = trio.Event()
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The reader of this line learns it too, and says it.
            return

    async def receive(self) -> list[tuple[M, int]]:
        """Wait for messages; each comes with its size in bytes. Cancelled, it takes nothing.

        Returns:
            Those that are there; none once the other end is gone.

        Raises:
            LineBroken: What came is no message.
        """
        while True:
            try:
                data = await self._stream.receive_some(RECEIVE_SIZE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return []
            if not data:
                return []
            if messages := self._frames.feed(bytes(data)):
                return messages

    def close(self) -> None:
        self._stream.socket.close()
