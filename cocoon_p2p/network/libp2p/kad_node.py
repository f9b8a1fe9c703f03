"""A node of the DHT on real streams: it asks, it looks up, it serves, and it stays in the network.

Clients and workers only ask; proxies and bootstraps also serve. Nobody enters a routing
table but servers that answered us, or that told us on a connection of theirs that they serve.

A node that reaches nobody goes on trying, ever more slowly, up to once a minute; one that is in
the network looks around once a minute, and drops who stopped answering.
"""

import logging
import math
import os
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Literal

import trio
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID

from cocoon_p2p.errors import ConfigurationError, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_of, peer_id_text
from cocoon_p2p.network.libp2p.addresses import Address, parse_address, parse_peer_address
from cocoon_p2p.network.libp2p.host import Libp2pTransport
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_server import KadServer
from cocoon_p2p.network.libp2p.kad_wire import ADDRESSES_MAX, Answer, encode, find_node, judge, read_message
from cocoon_p2p.network.libp2p.lookup import Lookup
from cocoon_p2p.network.libp2p.places import Places
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

RETRY_FIRST_SECONDS = 1.0
LOOK_AROUND_SECONDS = 60.0

HEARSAY_MAX = 1024
"Peers whose addresses we only heard of."

OnAnswer = Callable[[PeerId, Answer], None]


def _ignore(_peer: PeerId, _answer: Answer) -> None:
    pass


class KadNode:
    """Asks and, as a server, answers.

    Args:
        transport: Our place in the network.
        keys: Of our network.
        bootstrap: Multiaddrs of servers that are always worth asking.
        server: What we keep, if we serve; None for a client.
        table: Whom we know; `server` names them to others.

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
    ) -> None:
        self.keys = keys
        self.table = table
        self.server = server
        self._own = Entry(transport.peer_id, ())
        self._own_told: tuple[str, ...] = ()
        self._transport = transport
        self._bootstrap = _by_peer(bootstrap, transport.peer_id)
        self._hearsay: OrderedDict[PeerId, tuple[Address, ...]] = OrderedDict()
        self._turns: dict[PeerId, trio.Semaphore] = {}
        self._places = Places(
            in_all_max=SERVED_AT_ONCE_MAX, per_peer_max=SERVED_PER_PEER_MAX, seconds=SERVED_SECONDS
        )

    @property
    def own(self) -> Entry:
        """Ourselves, where we are now."""
        if self._own_told != (told := self._transport.addresses):
            self._own_told = told
            self._own = Entry(self._transport.peer_id, tuple(_dialable(told)))
        return self._own

    @property
    def bootstraps(self) -> tuple[PeerId, ...]:
        """The servers to begin with, ourselves not among them."""
        return tuple(self._bootstrap)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve if we do, enter the network, and stay in it until cancelled. Started once we serve."""
        host = self._transport.host
        host.on_identified = self._note_identified
        if self.server is not None:
            self._transport.accept_streams(self.keys.protocol, self._serve)
        task_status.started()
        try:
            await self._stay_in()
        finally:
            host.on_identified = None
            host.remove_stream_handler(TProtocol(self.keys.protocol))

    async def _stay_in(self) -> None:
        pause = RETRY_FIRST_SECONDS
        while True:
            is_in = await self._look_around() or not self._bootstrap
            if not is_in:
                log.warning("no bootstrap node answers", extra={"retry_seconds": pause})
            await trio.sleep((LOOK_AROUND_SECONDS if is_in else pause) * random.uniform(1.0, 1.2))
            pause = RETRY_FIRST_SECONDS if is_in else min(pause * 2, LOOK_AROUND_SECONDS)

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
            self.table.remove(peer)
            raise Unavailable(f"no answer in time (peer={peer_id_text(peer)})") from None
        finally:
            if turn.value == ASKED_AT_ONCE_MAX and self._turns.get(peer) is turn:
                del self._turns[peer]
        seen_from = self._transport.swarm.range_of(peer)
        self.table.heard(peer, self._addresses_of(peer), seen_from=seen_from)
        for entry in answer.closer:
            self._remember(entry)
        return answer

    async def look_up(
        self, question: Message, *, closest: int, on_answer: OnAnswer = _ignore
    ) -> tuple[PeerId, ...]:
        """Ask the servers nearest to the question's key, nearer and nearer ones.

        What we keep ourselves, as a server, counts as the first answer.

        Args:
            question: Put to each of them.
            closest: How many of the nearest must have answered.
            on_answer: Gets every answer as it comes, with who gave it.

        Returns:
            Who answered among the nearest; nobody if the network cannot be reached.
        """
        lookup = Lookup(question.key, closest)
        lookup.learn(entry.peer for entry in self.table.nearest(question.key, BUCKET_SIZE))
        lookup.learn(self._bootstrap)

        async def one(peer: PeerId) -> None:
            try:
                answer = await self.ask(peer, question)
            except (Unavailable, RemoteProtocolError) as exc:
                log.debug("kad question failed", extra={"reason": str(exc)})
                lookup.failed(peer)
            else:
                on_answer(peer, answer)
                lookup.answered(peer, [entry.peer for entry in answer.closer if entry.peer != self.own.peer])
            advance()

        def advance() -> None:
            for peer in lookup.take():
                nursery.start_soon(one, peer)

        if self.server is not None:
            own_answer = self.server.answer(question, self.own.peer, where="here", now=time.time())
            on_answer(self.own.peer, judge(own_answer, question))
        async with trio.open_nursery() as nursery:
            advance()
        return lookup.found()

    async def _converse(self, peer: PeerId, question: Message) -> Answer:
        try:
            await self._transport.swarm.dialler.dial(peer, self._addresses_of(peer))
            stream = await self._transport.open_stream(peer, self.keys.protocol)
        except Unavailable:
            self.table.remove(peer)
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
                    where = self._transport.swarm.range_of(stream.peer)
                    answer = self.server.answer(question, stream.peer, where=where, now=time.time())
                    await stream.write(encode(answer))
                await stream.close_write()
            except (RemoteProtocolError, Unavailable) as exc:
                log.debug("kad stream ended", extra={"peer": peer_id_text(stream.peer), "reason": str(exc)})

    async def _look_around(self) -> bool:
        async with trio.open_nursery() as nursery:
            for entry in self.table.stalest():
                nursery.start_soon(self._check, entry.peer)
        # Ourselves first: who is near to us must know us. Then anywhere, to fill the far buckets.
        near = await self.look_up(find_node(self.own.peer), closest=BUCKET_SIZE if self.server else 3)
        far = await self.look_up(find_node(peer_id_of(os.urandom(32))), closest=3)
        return bool(near or far)

    async def _check(self, peer: PeerId) -> None:
        try:
            await self.ask(peer, Message(type=Message.MessageType.PING))
        except (Unavailable, RemoteProtocolError) as exc:
            log.debug("kad server is gone", extra={"peer": peer_id_text(peer), "reason": str(exc)})

    async def _note_identified(self, peer_id: ID) -> None:
        await trio.lowlevel.checkpoint()
        peer = PeerId(peer_id.to_bytes())
        if self._transport.host.is_known_to_speak(peer, self.keys.protocol):
            swarm = self._transport.swarm
            addresses = swarm.known_addresses(peer)[:ADDRESSES_MAX]
            self.table.heard(peer, addresses, seen_from=swarm.range_of(peer))
        else:
            self.table.remove(peer)

    def _addresses_of(self, peer: PeerId) -> tuple[Address, ...]:
        # What we were configured with first, then what the peer says itself, then what we heard.
        entry = self.table.entry(peer)
        sources = (
            self._bootstrap.get(peer, ()),
            self._transport.swarm.known_addresses(peer),
            entry.addresses if entry is not None else (),
            self._hearsay.get(peer, ()),
        )
        return tuple(dict.fromkeys(chain.from_iterable(sources)))[:ADDRESSES_MAX]

    def _remember(self, entry: Entry) -> None:
        if entry.addresses and entry.peer != self.own.peer:
            self._hearsay[entry.peer] = entry.addresses
            self._hearsay.move_to_end(entry.peer)
            if len(self._hearsay) > HEARSAY_MAX:
                self._hearsay.popitem(last=False)


def _dialable(texts: Sequence[str]) -> Iterator[Address]:
    for text in texts:
        with suppress(ConfigurationError):
            yield parse_address(text)[0]


def _by_peer(texts: Sequence[str], own: PeerId) -> dict[PeerId, tuple[Address, ...]]:
    places: dict[PeerId, tuple[Address, ...]] = {}
    for text in texts:
        address, peer = parse_peer_address(text)
        if peer != own:
            places[peer] = (*places.get(peer, ()), address)
    return places
