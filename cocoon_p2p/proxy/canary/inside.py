"""A stream between two ends that are both ours, so that what a client would say can be said in here."""

import trio

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import EXCHANGE

WRITES_MAX = 64
"That lie unread before a writer waits."


class InsideStream:
    """One end (`network.transport.Stream`). What one side resets, breaks for the other."""

    is_superseded = False
    protocol = EXCHANGE

    def __init__(
        self,
        peer: PeerId,
        sending: trio.MemorySendChannel[bytes],
        receiving: trio.MemoryReceiveChannel[bytes],
    ) -> None:
        self.peer = peer
        self._sending = sending
        self._receiving = receiving
        self._rest = b""

    async def read(self, size_max_bytes: int) -> bytes:
        """Wait for bytes. Raises `Unavailable` once either side has reset."""
        if not self._rest:
            try:
                self._rest = await self._receiving.receive()
            except (trio.EndOfChannel, trio.ClosedResourceError) as exc:
                raise Unavailable("the stream was reset") from exc
        taken, self._rest = self._rest[:size_max_bytes], self._rest[size_max_bytes:]
        return taken

    async def write(self, data: bytes) -> None:
        """Hand bytes over. Raises `Unavailable` once either side has reset."""
        try:
            await self._sending.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise Unavailable("the stream was reset") from exc

    async def close_write(self) -> None:
        """Say nothing more."""
        await trio.lowlevel.checkpoint()
        self._sending.close()

    def reset(self) -> None:
        """Give up both directions."""
        self._sending.close()
        self._receiving.close()


def open_inside(peer: PeerId) -> tuple[InsideStream, InsideStream]:
    """Make both ends; each takes the other for this peer."""
    there, here = trio.open_memory_channel[bytes](WRITES_MAX), trio.open_memory_channel[bytes](WRITES_MAX)
    return InsideStream(peer, there[0], here[1]), InsideStream(peer, here[0], there[1])
