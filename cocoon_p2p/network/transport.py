"""What a role needs of the network: listen, dial, open a stream, accept a stream.

`network/libp2p/` gives it over real sockets, `testing/memory.py` in one process. Both keep
the same promises, so a role never knows which one it runs on.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from cocoon_p2p.identity import PeerId

StreamAcceptor = Callable[["Stream"], Awaitable[None]]


class Stream(Protocol):
    """A reliable, ordered, two-way flow of bytes to one authenticated peer.

    A cancel leaves the connection and its other streams unharmed. A cancelled `write` may
    have sent any prefix of its data, so whoever cancels a write must `reset` the stream.
    """

    @property
    def peer(self) -> PeerId:
        """Who is at the other end, proved by the secure channel's handshake."""
        ...

    @property
    def protocol(self) -> str:
        """The libp2p protocol id that was agreed on."""
        ...

    @property
    def is_superseded(self) -> bool:
        """Whether a better connection to the peer stands than the one that the stream runs on.

        The stream goes on, but what comes next is better said on another.
        """
        ...

    async def read(self, size_max_bytes: int) -> bytes:
        """Wait for bytes: 1 to `size_max_bytes` of them, or b"" once the peer closed its side.

        Raises:
            Unavailable: The stream was reset or the connection lost.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Hand bytes over, in order; waits while the peer reads too slowly.

        Raises:
            Unavailable: The stream was reset or the connection lost.
        """
        ...

    async def close_write(self) -> None:
        """Tell the peer that nothing more comes. Reading goes on."""
        ...

    def reset(self) -> None:
        """Give the stream up at once, both ways. Never blocks; doing it twice is harmless."""
        ...


class Transport(Protocol):
    """One node's place in the network, from when it listens until its `async with` ends."""

    @property
    def peer_id(self) -> PeerId: ...

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where others reach this node, as far as is known now: multiaddrs that end in `/p2p/<peer id>`.

        Empty if it only dials, or if nobody can dial it and no relay stands in. They change while it runs.
        """
        ...

    @property
    def addresses_changed(self) -> trio.Event:
        """Set when `addresses` has changed; ask for it again after each wait."""
        ...

    async def dial(self, addresses: Sequence[str]) -> PeerId:
        """Connect to the peer that all these multiaddrs (with `/p2p/`) name; the first that works wins.

        Raises:
            Unavailable: None of them answered with that peer's key in time.
        """
        ...

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        """Open a stream over the connection that stands (whoever dialled it).

        Raises:
            Unavailable: There is no connection, or the peer does not speak this protocol.
        """
        ...

    def accept_streams(self, protocol: str, acceptor: StreamAcceptor) -> None:
        """Let peers open streams of this protocol; each runs `acceptor` in a task of the transport.

        What the acceptor raises ends its stream, never the node. The stream is reset when it
        returns without having closed it.
        """
        ...

    def is_connected(self, peer: PeerId) -> bool:
        """Say whether a connection to this peer stands right now."""
        ...

    async def wait_disconnected(self, peer: PeerId) -> None:
        """Return once no connection to this peer stands (at once if there is none)."""
        ...

    def protect(self, peer: PeerId, tag: str) -> None:
        """Keep this peer's connections when places run out, for a reason that has a name.

        Connected or not: it holds for connections that are yet to come. The number of peers for one
        reason is bounded; one more, and the peer confirmed longest ago is protected no longer.
        """
        ...

    def unprotect(self, peer: PeerId, tag: str) -> None:
        """Let this reason no longer count. Others still do; nothing happens if it did not."""
        ...
