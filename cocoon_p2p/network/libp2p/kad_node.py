"""A node of the DHT on real streams: it asks, it looks up, and it serves.

Clients and workers only ask; proxies and bootstraps also serve. Nobody enters a routing
table but servers that answered at an address that we dialled (`kad_proving`). How a node
enters the network and stays in it is told in `kad_upkeep`.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Literal

import trio
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID

from cocoon_p2p.errors import ConfigurationError, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.addresses import Address, address_range, parse_address, parse_peer_address
from cocoon_p2p.network.libp2p.announced import is_public
from cocoon_p2p.network.libp2p.disjoint import PATHS, DisjointLookup
from cocoon_p2p.network.libp2p.hearsay import Hearsay
from cocoon_p2p.network.libp2p.host import Libp2pTransport
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_proving import Proving, may_be_dialled
from cocoon_p2p.network.libp2p.kad_server import KadServer
from cocoon_p2p.network.libp2p.kad_walk import Walk
from cocoon_p2p.network.libp2p.kad_wire import ADDRESSES_MAX, Answer, encode, judge, read_message
from cocoon_p2p.network.libp2p.kept_peers import KeptPeers
from cocoon_p2p.network.libp2p.places import Places
from cocoon_p2p.network.libp2p.refresh import Refresh
from cocoon_p2p.network.libp2p.routing_table import BUCKET_SIZE, Entry, RoutingTable
from cocoon_p2p.network.transport import Stream

log = logging.getLogger(__name__)

Mode = Literal["server", "client"]

ASK_SECONDS = 6.0
"How long one question may take, with the dial before it, which has five of them."

UNANSWERED_SECONDS = 1.0
"""When an announcement counts as taken. Ours answer it or reset the stream; the specification, js-libp2p
and go-libp2p have no answer. To close our side and wait for theirs would not do: py-libp2p drops it then."""

ASKED_AT_ONCE_MAX = 8
"Questions under way to one peer. Half of what a server lets one peer ask at once."

SERVED_AT_ONCE_MAX = 256
SERVED_PER_PEER_MAX = 16
SERVED_SECONDS = 30.0
"Streams that a server answers at once, of all peers and of one, and for how long."

LATE_MAX = 1024
"Servers that were late and are asked again."

OnAnswer = Callable[[PeerId, Answer], None]


def _ignore(_peer: PeerId, _answer: Answer) -> None:
    pass


class KadNode:
    """Asks and, as a server, answers.

    Args:
        transport: Our place in the network.
        keys: Of our network.
        bootstrap: Multiaddrs of servers that are always worth asking.
        table: Whom we know; `server` names them to others.
        server: What we keep, if we serve; None for a client.
        kept: Whom we knew when we ran last.

    Raises:
        ConfigurationError: A bootstrap address is malformed, or names no peer.
    """

    def __init__(
        self,
        transport: Libp2pTransport,
        keys: KadKeys,
        bootstrap: Sequence[str],
        table: RoutingTable,
        server: KadServer | None,
        kept: KeptPeers,
    ) -> None:
        self.keys = keys
        self.table = table
        self.server = server
        self.transport = transport
        self.kept = kept
        self.refresh = Refresh(transport.peer_id)
        self.proving = Proving(transport.swarm, table)
        self.late: set[PeerId] = set()
        "Servers that held a lookup up; whoever looks around asks them again, with patience."
        self.reached: dict[PeerId, bool] = {}
        "Of each bootstrap that was asked, whether it answered last."
        self.reached_changed = trio.Event()
        "Set when `reached` changes, and replaced by then: take it before you look."
        self._bootstrap = _by_peer(bootstrap, transport.peer_id)
        self._hearsay = Hearsay()
        self._turns: dict[PeerId, trio.Semaphore] = {}
        self._places = Places(
            in_all_max=SERVED_AT_ONCE_MAX, per_peer_max=SERVED_PER_PEER_MAX, seconds=SERVED_SECONDS
        )

    @property
    def own(self) -> Entry:
        """Where we say that we are, now: without addresses if we are only reached through relays."""
        return Entry(self.transport.peer_id, tuple(_direct(self.transport.addresses)))

    @property
    def bootstraps(self) -> tuple[PeerId, ...]:
        """The servers to begin with, ourselves not among them."""
        return tuple(self._bootstrap)

    def bootstrap_addresses(self, peer: PeerId) -> tuple[Address, ...]:
        """Where a bootstrap is, as configured."""
        return self._bootstrap.get(peer, ())

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve if we do, and get to know servers, until cancelled. Started once we serve."""
        host = self.transport.host
        host.on_identified = self._note_identified
        if self.server is not None:
            self.transport.accept_streams(self.keys.protocol, self._serve)
        task_status.started()
        try:
            await self.proving.run()
        finally:
            host.on_identified = None
            host.remove_stream_handler(TProtocol(self.keys.protocol))

    async def ask(self, peer: PeerId, question: Message) -> Answer:
        """Ask one peer, dialling it if need be. A cancel leaves the connection unharmed.

        Asking ourselves is asking nobody: it is `Unavailable` like any peer without an address.

        Raises:
            Unavailable: It cannot be reached, does not serve, refused, or took too long.
            RemoteProtocolError: What it answered is no answer.
        """
        turn = self._turns.setdefault(peer, trio.Semaphore(ASKED_AT_ONCE_MAX))
        try:
            async with turn:
                with trio.fail_after(ASK_SECONDS):
                    answer = await self._converse(peer, question)
        except trio.TooSlowError:
            self._note_gone(peer)
            raise Unavailable(f"no answer in time (peer={peer_id_text(peer)})") from None
        except RemoteProtocolError:
            self._note_gone(peer)
            raise
        finally:
            if turn.value == ASKED_AT_ONCE_MAX and self._turns.get(peer) is turn:
                del self._turns[peer]
        self.late.discard(peer)
        self.proving.heard(peer)
        if peer in self._bootstrap:
            self._note_reached(peer)
        said_from = self.transport.swarm.range_of(peer)
        for entry in answer.closer:
            if entry.peer != self.transport.peer_id:
                usable = [each for each in entry.addresses if may_be_dialled(each, said_from)]
                self._hearsay.note(entry.peer, usable, sayer=peer)
        return answer

    async def look_up(
        self, question: Message, *, closest: int, on_answer: OnAnswer = _ignore
    ) -> tuple[PeerId, ...]:
        """Ask the servers nearest to the question's key, nearer and nearer ones, along several paths.

        What we keep ourselves, as a server, counts as the first answer.

        Args:
            question: Put to each of them.
            closest: How many of the nearest must have answered on each path.
            on_answer: Gets every answer as it comes, with who gave it.

        Returns:
            Who answered among the nearest of each path, nearest first; nobody if none can be reached.
        """
        lookup = DisjointLookup(question.key, closest, paths=PATHS, range_of=self._range_of)
        lookup.begin(self._known(question.key), self.bootstraps)
        self.refresh.looked_up(question.key, trio.current_time())
        if self.server is not None:
            own_answer = self.server.answer(question, self.own.peer, where="here", now=time.time())
            on_answer(self.own.peer, judge(own_answer, question))

        async def ask(peer: PeerId) -> list[PeerId]:
            answer = await self.ask(peer, question)
            on_answer(peer, answer)
            return [entry.peer for entry in answer.closer if entry.peer != self.transport.peer_id]

        await Walk(lookup, ask, self.note_late).run()
        return lookup.found()

    def note_late(self, peer: PeerId) -> None:
        """Note that a server held a lookup up."""
        if len(self.late) < LATE_MAX:
            self.late.add(peer)

    def _known(self, key: bytes) -> list[PeerId]:
        known = [entry.peer for entry in self.table.nearest(key, BUCKET_SIZE)]
        # Few that we know may be few that are left: whom we knew before may be there too.
        return known if len(known) >= PATHS else [*known, *self.kept.peers]

    async def _converse(self, peer: PeerId, question: Message) -> Answer:
        try:
            if not self.transport.is_connected(peer):
                await self.transport.swarm.dialler.dial(peer, self._addresses_of(peer))
            stream = await self.transport.open_stream(peer, self.keys.protocol)
        except Unavailable:
            self._note_gone(peer)
            raise
        try:
            await stream.write(encode(question))
            answer = None
            is_announcement = question.type == Message.MessageType.ADD_PROVIDER
            with trio.move_on_after(UNANSWERED_SECONDS if is_announcement else math.inf):
                answer = await read_message(stream)
            return judge(answer, question)
        finally:
            stream.reset()

    async def _serve(self, stream: Stream) -> None:
        assert self.server is not None
        with self._places.take(stream.peer):
            try:
                while (question := await read_message(stream)) is not None:
                    where = self.transport.swarm.range_of(stream.peer)
                    answer = self.server.answer(question, stream.peer, where=where, now=time.time())
                    await stream.write(encode(answer))
                await stream.close_write()
            except (RemoteProtocolError, Unavailable) as exc:
                log.debug("kad stream ended", extra={"peer": peer_id_text(stream.peer), "reason": str(exc)})

    # ------------------------------------------------------------ who is where

    async def _note_identified(self, peer_id: ID) -> None:
        await trio.lowlevel.checkpoint()
        peer = PeerId(peer_id.to_bytes())
        if self.transport.host.is_known_to_speak(peer, self.keys.protocol):
            self.proving.heard(peer)
        else:
            self.table.remove(peer)

    def _note_gone(self, peer: PeerId) -> None:
        self.late.discard(peer)
        self.table.remove(peer)
        if peer in self._bootstrap:
            self._turn_reached(peer, is_reached=False)

    def _note_reached(self, peer: PeerId) -> None:
        if self.reached.get(peer) is False:
            # It may have been in another island meanwhile.
            self.refresh.forget_neighbourhood()
        self._turn_reached(peer, is_reached=True)

    def _turn_reached(self, peer: PeerId, *, is_reached: bool) -> None:
        if self.reached.get(peer) is not is_reached:
            self.reached[peer] = is_reached
            self.reached_changed.set()
            self.reached_changed = trio.Event()

    def _addresses_of(self, peer: PeerId) -> tuple[Address, ...]:
        # What we were configured with first, then what worked, what the peer says itself, what we heard.
        entry = self.table.entry(peer)
        sources = (
            self._bootstrap.get(peer, ()),
            entry.addresses if entry is not None else self.kept.addresses_of(peer),
            self.transport.swarm.known_addresses(peer),
            self._hearsay.about(peer),
        )
        return tuple(dict.fromkeys(chain.from_iterable(sources)))[:ADDRESSES_MAX]

    def _range_of(self, peer: PeerId) -> str:
        entry = self.table.entry(peer)
        return agreed_range(self._hearsay.each_about(peer) if entry is None else (entry.addresses,))


def agreed_range(said: Sequence[Sequence[Address]]) -> str:
    """Name the public address range that a server is in by all that is said of it; empty if there is none.

    Of a range few are asked: whoever could count others among his own by a lie would hide them.
    """
    ranges = [dict.fromkeys(map(_public_range, addresses)) for addresses in said]
    agreed = (where for where in chain(*ranges[:1]) if all(where in each for each in ranges))
    return next(filter(None, agreed), "")


def _by_peer(texts: Sequence[str], own: PeerId) -> dict[PeerId, tuple[Address, ...]]:
    places: dict[PeerId, tuple[Address, ...]] = {}
    for text in texts:
        address, peer = parse_peer_address(text)
        if peer != own:
            places[peer] = (*places.get(peer, ()), address)
    return places


def _direct(texts: Sequence[str]) -> list[Address]:
    addresses: list[Address] = []
    for text in texts:
        try:
            addresses.append(parse_address(text)[0])
        except ConfigurationError:
            # Through a relay: no address for the directory.
            continue
    return addresses


@lru_cache(4096)
def _public_range(address: Address) -> str:
    return "" if address.is_name or not is_public(address) else address_range(address.host)
