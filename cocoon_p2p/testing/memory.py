"""A network inside one process: the four verbs of `network.transport`, deterministic.

It keeps the promises of the real one (ordered bytes, back-pressure, resets, lost
connections) and can be told to break them: delay, cut, partition, crash, and a fault that
picks out any single write. With trio's `autojump_clock` nothing here waits for real.

    async with MemoryNetwork() as network:
        alice = network.transport(Identity.from_seed(bytes(32)))
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

import trio

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity, PeerId, parse_peer_id, peer_id_text
from cocoon_p2p.network.transport import StreamAcceptor

log = logging.getLogger(__name__)

BUFFER_SIZE_BYTES = 256 * 1024
"A writer waits while this much is unread, as it would for a yamux window."


class Fate(Enum):
    """What becomes of one write."""

    DELIVER = "deliver"
    LOSE = "lose"
    "It and everything after it in this direction vanish without a word, as behind a dead link."

    RESET = "reset"
    "The connection breaks at this very point."


@dataclass(frozen=True, slots=True)
class Write:
    """One write as a fault sees it."""

    source: PeerId
    target: PeerId
    protocol: str
    number: int
    "Counts every write on the network from 0, so that each can be hit in turn."

    data: bytes


Fault = Callable[[Write], tuple[Fate, float]]
"Decides a write's fate, and by how many seconds its delivery is late."


class _Pipe:
    """One direction of a stream."""

    def __init__(self) -> None:
        self.blocks: deque[tuple[float, bytes]] = deque()
        self.buffered_bytes = 0
        self.last_ready = 0.0
        self.ended_at: float | None = None
        self.broken = False
        self.silent = False
        self.changed = trio.Event()

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class MemoryStream:
    """One end of a stream (`network.transport.Stream`)."""

    def __init__(
        self, connection: "_Connection", owner: PeerId, protocol: str, outgoing: _Pipe, incoming: _Pipe
    ) -> None:
        self._connection = connection
        self.owner = owner
        self._protocol = protocol
        self.outgoing = outgoing
        self.incoming = incoming

    @property
    def peer(self) -> PeerId:
        return self._connection.other(self.owner)

    @property
    def protocol(self) -> str:
        return self._protocol

    @property
    def is_superseded(self) -> bool:
        return False

    async def read(self, size_max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        pipe = self.incoming
        while True:
            if pipe.broken:
                raise Unavailable("the stream was reset")
            now = trio.current_time()
            if pipe.blocks and pipe.blocks[0][0] <= now:
                return self._take(pipe, size_max_bytes)
            if not pipe.blocks and pipe.ended_at is not None and pipe.ended_at <= now:
                return b""
            ready = pipe.blocks[0][0] if pipe.blocks else pipe.ended_at
            changed = pipe.changed
            if ready is None:
                await changed.wait()
                continue
            with trio.move_on_at(ready):
                await changed.wait()

    @staticmethod
    def _take(pipe: _Pipe, size_max_bytes: int) -> bytes:
        ready, block = pipe.blocks.popleft()
        head, rest = block[:size_max_bytes], block[size_max_bytes:]
        if rest:
            pipe.blocks.appendleft((ready, rest))
        pipe.buffered_bytes -= len(head)
        pipe.wake()
        return head

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        pipe = self.outgoing
        while pipe.buffered_bytes >= BUFFER_SIZE_BYTES and not pipe.broken:
            await pipe.changed.wait()
        if pipe.broken:
            raise Unavailable("the stream was reset")
        if pipe.ended_at is not None:
            raise Unavailable("the stream was closed for writing")
        if data:
            self._connection.carry(self, pipe, data)

    async def close_write(self) -> None:
        await trio.lowlevel.checkpoint()
        pipe = self.outgoing
        if pipe.ended_at is None and not pipe.silent:
            pipe.ended_at = max(trio.current_time(), pipe.last_ready)
            pipe.wake()

    def reset(self) -> None:
        for pipe in (self.outgoing, self.incoming):
            # A reset cannot cross a dead link either: only our own side learns of it.
            if pipe is self.incoming or not pipe.silent:
                pipe.broken = True
                pipe.wake()
        self._connection.forget(self)


class _Connection:
    def __init__(self, network: "MemoryNetwork", first: PeerId, second: PeerId) -> None:
        self.network = network
        self.peers = (first, second)
        self.lost = trio.Event()
        self.streams: set[MemoryStream] = set()

    def other(self, peer: PeerId) -> PeerId:
        return self.peers[1] if peer == self.peers[0] else self.peers[0]

    def open(self, opener: PeerId, protocol: str) -> tuple[MemoryStream, MemoryStream]:
        there, back = _Pipe(), _Pipe()
        there.silent = back.silent = self.network.is_partitioned(*self.peers)
        near = MemoryStream(self, opener, protocol, there, back)
        far = MemoryStream(self, self.other(opener), protocol, back, there)
        self.streams |= {near, far}
        return near, far

    def forget(self, stream: MemoryStream) -> None:
        self.streams.discard(stream)

    def carry(self, stream: MemoryStream, pipe: _Pipe, data: bytes) -> None:
        fate, late_seconds = self.network.judge(stream, data)
        if pipe.silent:
            return
        if fate is Fate.RESET:
            self.lose()
            return
        if fate is Fate.LOSE:
            pipe.silent = True
            return
        pipe.last_ready = max(pipe.last_ready, trio.current_time() + late_seconds)
        pipe.blocks.append((pipe.last_ready, data))
        pipe.buffered_bytes += len(data)
        pipe.wake()

    def silence(self, silent: bool) -> None:
        for stream in self.streams:
            stream.outgoing.silent = silent

    def lose(self) -> None:
        self.lost.set()
        for stream in tuple(self.streams):
            stream.outgoing.broken = stream.incoming.broken = True
            stream.outgoing.wake()
            stream.incoming.wake()
        self.streams.clear()
        self.network.connections.pop(frozenset(self.peers), None)


class MemoryTransport:
    """A node on a `MemoryNetwork` (`network.transport.Transport`)."""

    def __init__(self, network: "MemoryNetwork", peer_id: PeerId, listens: bool) -> None:
        self._network = network
        self._peer_id = peer_id
        self._addresses: tuple[str, ...] = (f"/memory/1/p2p/{peer_id_text(peer_id)}",) if listens else ()
        self._addresses_changed = trio.Event()
        self.acceptors: dict[str, StreamAcceptor] = {}
        self.protected: set[tuple[PeerId, str]] = set()
        "Which peers are protected, and why. There is always room here, so nothing follows from it."

    @property
    def peer_id(self) -> PeerId:
        return self._peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._addresses

    @property
    def addresses_changed(self) -> trio.Event:
        return self._addresses_changed

    def move(self, *places: str) -> None:
        """Be reached elsewhere from now on (`move("/memory/2")`), or, with no place, nowhere."""
        self._addresses = tuple(f"{place}/p2p/{peer_id_text(self._peer_id)}" for place in places)
        event, self._addresses_changed = self._addresses_changed, trio.Event()
        event.set()

    async def dial(self, addresses: Sequence[str]) -> PeerId:
        await trio.sleep(self._network.delay_seconds())
        peers = {parse_peer_id(address.rpartition("/p2p/")[2]) for address in addresses}
        if len(peers) != 1:
            raise Unavailable(f"the addresses name {len(peers)} peers, not one")
        (peer,) = peers
        self._network.connect(self._peer_id, peer)
        return peer

    async def open_stream(self, peer: PeerId, protocol: str) -> MemoryStream:
        await trio.sleep(self._network.delay_seconds())
        connection = self._network.connections.get(frozenset((self._peer_id, peer)))
        target = self._network.transports.get(peer)
        if connection is None or target is None:
            raise Unavailable(f"not connected (peer={peer_id_text(peer)})")
        acceptor = target.acceptors.get(protocol)
        if acceptor is None:
            raise Unavailable(f"the peer does not speak {protocol}")
        near, far = connection.open(self._peer_id, protocol)
        self._network.nursery.start_soon(target.run_acceptor, acceptor, far)
        return near

    async def run_acceptor(self, acceptor: StreamAcceptor, stream: MemoryStream) -> None:
        with trio.CancelScope() as scope:
            self._network.scopes.setdefault(self._peer_id, set()).add(scope)
            try:
                await acceptor(stream)
            except Exception as exc:
                self._network.failures.append(exc)
                log.warning("a stream's task failed", extra={"protocol": stream.protocol}, exc_info=True)
                stream.reset()
            finally:
                self._network.scopes[self._peer_id].discard(scope)
        if scope.cancelled_caught or stream.outgoing.ended_at is None:
            stream.reset()

    def accept_streams(self, protocol: str, acceptor: StreamAcceptor) -> None:
        self.acceptors[protocol] = acceptor

    def is_connected(self, peer: PeerId) -> bool:
        return frozenset((self._peer_id, peer)) in self._network.connections

    async def wait_disconnected(self, peer: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        connection = self._network.connections.get(frozenset((self._peer_id, peer)))
        if connection is not None:
            await connection.lost.wait()

    def protect(self, peer: PeerId, tag: str) -> None:
        self.protected.add((peer, tag))

    def unprotect(self, peer: PeerId, tag: str) -> None:
        self.protected.discard((peer, tag))


class MemoryNetwork:
    """The links among the nodes of one test, and the power to break them.

    Args:
        seed: Of the random delays; equal seeds give equal runs.
        delay_seconds: Range from which each write, dial and opening draws its delay.
    """

    def __init__(self, *, seed: int = 0, delay_seconds: tuple[float, float] = (0.0, 0.0)) -> None:
        self.transports: dict[PeerId, MemoryTransport] = {}
        self.connections: dict[frozenset[PeerId], _Connection] = {}
        self.scopes: dict[PeerId, set[trio.CancelScope]] = {}
        self.nursery: trio.Nursery
        self.fault: Fault | None = None
        self.writes = 0
        self.failures: list[Exception] = []
        "What accepted streams' tasks ended with."

        self._random = random.Random(seed)
        self._delay = delay_seconds
        self._partitions: set[frozenset[PeerId]] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.nursery = await self._stack.enter_async_context(trio.open_nursery())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self.nursery.cancel_scope.cancel()
        return await self._stack.__aexit__(kind, exc, trace)

    def transport(self, identity: Identity, *, listen: bool = True) -> MemoryTransport:
        """Put a node on the network (again, after a crash: with nothing left of its old streams)."""
        transport = MemoryTransport(self, identity.peer_id, listen)
        self.transports[identity.peer_id] = transport
        return transport

    def delay_seconds(self) -> float:
        """Draw one delay."""
        return self._random.uniform(*self._delay)

    def connect(self, dialler: PeerId, peer: PeerId) -> None:
        """Connect two nodes; nothing happens if they are. Raises `Unavailable` where a dial would fail."""
        pair = frozenset((dialler, peer))
        target = self.transports.get(peer)
        if target is None or not target.addresses or pair in self._partitions:
            raise Unavailable(f"nobody answers (peer={peer_id_text(peer)})")
        if pair not in self.connections:
            self.connections[pair] = _Connection(self, dialler, peer)

    def is_partitioned(self, first: PeerId, second: PeerId) -> bool:
        """Say whether the link between two nodes is dead."""
        return frozenset((first, second)) in self._partitions

    def judge(self, stream: MemoryStream, data: bytes) -> tuple[Fate, float]:
        """Ask the fault, if there is one, about the next write."""
        number, self.writes = self.writes, self.writes + 1
        fate, late = Fate.DELIVER, 0.0
        if self.fault is not None:
            source = stream.owner
            fate, late = self.fault(Write(source, stream.peer, stream.protocol, number, data))
        return fate, late + self.delay_seconds()

    def cut(self, first: PeerId, second: PeerId) -> None:
        """Break the connection: both ends see their streams reset. They may dial again."""
        connection = self.connections.get(frozenset((first, second)))
        if connection is not None:
            connection.lose()

    def partition(self, first: PeerId, second: PeerId) -> None:
        """Let the link die silently: what is written vanishes, and nobody is told."""
        pair = frozenset((first, second))
        self._partitions.add(pair)
        if pair in self.connections:
            self.connections[pair].silence(True)

    def heal(self, first: PeerId, second: PeerId) -> None:
        """Bring a dead link back. Old streams have lost bytes, so their connection is reset."""
        self._partitions.discard(frozenset((first, second)))
        self.cut(first, second)

    def crash(self, peer: PeerId) -> None:
        """Take a node off the network at once: its accepted streams' tasks end, its connections break."""
        self.transports.pop(peer, None)
        for scope in tuple(self.scopes.get(peer, ())):
            scope.cancel()
        for pair, connection in tuple(self.connections.items()):
            if peer in pair:
                connection.lose()


class MemoryDirectory:
    """A directory that all nodes of a test share (`network.directory.Directory`)."""

    def __init__(self) -> None:
        self.records: dict[PeerId, bytes] = {}

    def of(self, transport: MemoryTransport) -> "MemoryDirectoryView":
        """Give one node's door to it."""
        return MemoryDirectoryView(self, transport.peer_id)


@dataclass(frozen=True, slots=True)
class MemoryDirectoryView:
    """One node's door to a `MemoryDirectory`."""

    directory: MemoryDirectory
    peer_id: PeerId

    async def publish(self, record: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.directory.records[self.peer_id] = record

    async def find_proxies(self) -> tuple[bytes, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(self.directory.records.values())
