"""One exchange stream with a reader and a writer, so that neither direction waits for the other.

    stream --> reader --> listener.hear        asked before each message whether it wants more
    stream <-- writer <-- outbox <-- send      never waits; `is_full` tells who fills it to pause

Whoever listens changes from exchange to exchange; the stream stays.
"""

from collections import deque
from typing import Protocol

import trio

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.protocols.ids import TAKE_SECONDS
from cocoon_p2p.protocols.messages import Chunk, Heartbeat, Part

UNSENT_MAX_BYTES = 256 * 1024
"Sealed bytes that wait for a slow peer before its other side is read no more: about one stream window."

UNSENT_MAX = 256
"Messages that wait, likewise."


class Listener(Protocol):
    """Who hears what comes on a link."""

    def wants(self, link: "Link", /) -> bool:
        """Say whether to read on."""
        ...

    def hear(self, link: "Link", message: object, /) -> None:
        """Take a message. Raises `RemoteProtocolError` if the peer may not send it here: the link ends."""
        ...

    def lose(self, link: "Link", why: str, /) -> None:
        """Learn, once, that nothing more comes or goes."""
        ...

    def resume(self, link: "Link", /) -> None:
        """Learn that the outbox has room again."""
        ...


class Link:
    """A stream to one peer, and who listens to it now.

    Attributes:
        listener: Hears what comes. Replace it between two messages.
        is_open: Whether anything can still come or go.
        is_reading: Whether the reader waits for the peer, so that silence is the peer's.
        is_at_fault: Whether it ended because the peer broke the rules.
        is_given_up: Whether it ended because we do, as a whole.
    """

    def __init__(self, stream: MessageStream, listener: Listener) -> None:
        self.listener = listener
        self.is_open = True
        self.is_reading = False
        self.is_at_fault = False
        self.is_given_up = False
        self._stream = stream
        self._outbox: deque[object] = deque()
        self._unsent_bytes = 0
        self._filled = trio.Event()
        self._poked = trio.Event()
        self._scope = trio.CancelScope()

    @property
    def peer(self) -> PeerId:
        return self._stream.peer

    @property
    def is_superseded(self) -> bool:
        """Whether another stream to the peer would run on a better connection."""
        return self._stream.is_superseded

    @property
    def is_full(self) -> bool:
        """Whether the peer leaves so much unread that whoever sends to it should pause."""
        is_much = self._unsent_bytes >= UNSENT_MAX_BYTES or len(self._outbox) >= UNSENT_MAX
        return is_much and self.is_open

    def send(self, message: object) -> None:
        """Queue a message. A heartbeat is dropped if something else is under way to the peer."""
        if not self.is_open or (isinstance(message, Heartbeat) and self._outbox):
            return
        self._outbox.append(message)
        self._unsent_bytes += _size(message)
        self._filled.set()

    def poke(self) -> None:
        """Let the reader ask its listener again."""
        self._poked.set()

    def allow(self, frame_size_max_bytes: int) -> None:
        """Take larger frames from now on."""
        self._stream.allow(frame_size_max_bytes)

    def end(self, why: str) -> None:
        """Give the stream up at once; the listener is told unless it was before."""
        if self.is_open:
            self.is_open = False
            self._stream.reset()
            self._scope.cancel()
            self.listener.lose(self, why)

    async def run(self) -> None:
        """Read and write until the stream ends. A cancel gives it up."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    self.end(await self._read())
        finally:
            self.is_given_up = self.is_open
            self.end("the proxy ends")

    async def _read(self) -> str:
        """Read until nothing more comes, and say why."""
        while True:
            while not self.listener.wants(self):
                self._poked = trio.Event()
                await self._poked.wait()
            try:
                self.is_reading = True
                message = await self._stream.receive()
                self.is_reading = False
                if message is None:
                    return "it closed the stream"
                self.listener.hear(self, message)
            except RemoteProtocolError as exc:
                self.is_at_fault = True
                return str(exc)
            except Unavailable as exc:
                return str(exc)

    async def _write(self) -> None:
        while True:
            while not self._outbox:
                self._filled = trio.Event()
                await self._filled.wait()
            messages = tuple(self._outbox)
            self._outbox.clear()
            try:
                with trio.fail_after(TAKE_SECONDS):
                    await self._stream.send(*messages)
            except Unavailable as exc:
                self.end(str(exc))
            except trio.TooSlowError:
                self.end(f"it left what was sent unread for {TAKE_SECONDS:.0f} s")
            was_full = self._unsent_bytes >= UNSENT_MAX_BYTES or len(messages) >= UNSENT_MAX
            self._unsent_bytes -= sum(map(_size, messages))
            if was_full and not self.is_full:
                self.listener.resume(self)


def _size(message: object) -> int:
    return len(message.sealed) if isinstance(message, Part | Chunk) else 0
