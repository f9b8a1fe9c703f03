"""The directory of proxies in the DHT: published by each, found by all, believed by nobody.

    async with open_directory(transport, network_name="mainnet", mode="client", bootstrap=[...]) as directory:
        records = await directory.find_proxies()

A proxy puts its signed record under its own key and announces itself under one of sixteen
shard keys. Who looks for proxies asks all sixteen, and then for the record of each that is
named there. Nothing is taken from memory: upstream answers from what it fetched once.

Spec: protocols/records.md; network/directory.py says what is promised.
"""

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message, Record

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId, network_id
from cocoon_p2p.network.health import Health
from cocoon_p2p.network.libp2p.host import Libp2pTransport
from cocoon_p2p.network.libp2p.kad_health import health_of
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_node import KadNode, Mode
from cocoon_p2p.network.libp2p.kad_search import ASKED_FOR, SEARCH_SECONDS, Search
from cocoon_p2p.network.libp2p.kad_server import KadServer, Select, Validate
from cocoon_p2p.network.libp2p.kad_survey import Survey, Surveyed
from cocoon_p2p.network.libp2p.kad_upkeep import Upkeep
from cocoon_p2p.network.libp2p.kad_wire import (
    Answer,
    add_provider,
    get_providers,
    get_value,
    put_value,
)
from cocoon_p2p.network.libp2p.kept_peers import KeptPeers
from cocoon_p2p.network.libp2p.routing_table import RoutingTable
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.records import select_newest, validate_dht

log = logging.getLogger(__name__)

KEPT_ON_PATH = 3
"""Servers nearest to a key, on each of four paths, that are asked to keep what belongs there: one more than
readers ask, so that some may leave and nearer newcomers come before it is published anew."""

BOOTSTRAPS_MAX = 3
"Bootstraps that are asked too: readers' paths begin at them."


class KadDirectory:
    """One node's door to the directory (`network.directory.Directory`); made by `open_directory`."""

    def __init__(self, node: KadNode, validate: Validate, select: Select) -> None:
        self._node = node
        self._validate = validate
        self._select = select

    @property
    def servers_known(self) -> int:
        """How many servers of the DHT we know: 0 for a node that is alone."""
        return len(self._node.table)

    @property
    def table(self) -> RoutingTable:
        """The servers that we know."""
        return self._node.table

    def health(self) -> Health:
        """Say how this node stands in the network now."""
        return health_of(self._node)

    async def publish(self, record: bytes) -> None:
        """Make our own signed record findable until it expires. A cancel may leave it with some servers only.

        Raises:
            Unavailable: No other server kept it, or none took our announcement.
            LocalProtocolError: We are a client, or the record is not valid here.
        """
        node, own = self._node, self._node.own
        if node.server is None:
            raise LocalProtocolError("only a node that serves the directory can publish in it")
        key, shard = node.keys.record_of(own.peer), node.keys.shard_of(own.peer)
        try:
            expires = node.server.keep(key, record, now=time.time())
        except RemoteProtocolError as exc:
            raise LocalProtocolError(f"our own record is not fit to be published: {exc}") from exc
        node.server.announce(own, where="here", expires=expires)
        kept = await self._tell(get_value(key), put_value(key, record))
        announcement = add_provider(shard, own, Record(key=key, value=record))
        took = await self._tell(get_providers(shard), announcement)
        if not kept or not took:
            raise Unavailable(
                f"no server of the directory took our record (kept={kept} announced={took})", retry_after=5.0
            )
        log.info("record published", extra={"kept": kept, "announced": took})

    async def find_proxies(self) -> tuple[bytes, ...]:
        """Collect the newest valid record of every proxy that can be found, at most a few hundred.

        Takes ten seconds at most; less if a second and a half go by without a new one. Never raises for
        lack of peers. A cancel leaves nothing behind.
        """
        found = await Search(self._node, self._validate).run()
        return tuple(values[self._select(values)] for values in found)

    async def find(self, peer: PeerId) -> bytes | None:
        """Find the newest valid record of one proxy; None if nobody gives any. Else as `find_proxies`."""
        values = await Search(self._node, self._validate).run_for(peer)
        return values[self._select(values)] if values else None

    async def keepers(self, peer: PeerId) -> Mapping[PeerId, bytes]:
        """Ask for one proxy's record where it belongs, and give what each server keeps of it that is valid.

        Neither that proxy nor this node is among them: whoever is hands out what somebody else gave it.
        Takes ten seconds at most, and never raises for lack of peers. A cancel leaves nothing behind.
        """
        node, kept = self._node, dict[PeerId, bytes]()

        def take(keeper: PeerId, answer: Answer) -> None:
            if answer.value is None or keeper in (peer, node.own.peer):
                return
            with suppress(RemoteProtocolError):
                self._validate(peer, answer.value)
                kept[keeper] = answer.value

        with trio.move_on_after(SEARCH_SECONDS):
            await node.look_up(get_value(node.keys.record_of(peer)), closest=ASKED_FOR, on_answer=take)
        return kept

    async def wait_bootstrap(self) -> PeerId | None:
        """Return the first bootstrap that answers, or one that did; None at once if none is configured."""
        node = self._node
        while node.bootstraps:
            changed = node.reached_changed
            answered = next((peer for peer, is_reached in node.reached.items() if is_reached), None)
            if answered is not None:
                return answered
            await changed.wait()
        return None

    async def survey(self) -> Surveyed:
        """Walk over all servers that can be found. Takes three minutes at most; else as `find_proxies`."""
        return await Survey(self._node).run()

    async def _tell(self, where: Message, what: Message) -> int:
        told = 0

        async def tell(peer: PeerId) -> None:
            nonlocal told
            try:
                await self._node.ask(peer, what)
            except (Unavailable, RemoteProtocolError) as exc:
                log.debug("server did not take it", extra={"reason": str(exc)})
            else:
                told += 1

        nearest = await self._node.look_up(where, closest=KEPT_ON_PATH)
        async with trio.open_nursery() as nursery:
            for peer in {*nearest, *self._node.bootstraps[:BOOTSTRAPS_MAX]}:
                nursery.start_soon(tell, peer)
        return told


@asynccontextmanager
async def open_directory(
    transport: Libp2pTransport,
    *,
    network_name: str,
    mode: Mode,
    bootstrap: Sequence[str] = (),
    validate: Validate | None = None,
    select: Select = select_newest,
    keep_in: Path | None = None,
) -> AsyncIterator[KadDirectory]:
    """Take part in the DHT of a network for as long as the block lasts.

    It starts at once and does not wait for a bootstrap node: who reaches none goes on trying.

    Args:
        transport: Our place in the network; one directory for each.
        network_name: Names the network, and so its protocol and its keys.
        mode: `server` for proxies and bootstraps, which must be dialable; `client` for all others.
        bootstrap: Multiaddrs with `/p2p/` of servers to begin with; empty for the very first one.
        validate: Judges a record under the key of a peer; by default by `records.validate_dht`, now.
        select: Ranks valid records of one peer.
        keep_in: A file of our own for good servers, so that the next start needs no bootstrap.

    Raises:
        ConfigurationError: A bootstrap address is malformed, or the network's name is.
    """
    network = network_id(network_name)
    keys = KadKeys(network_name)

    def validate_now(peer: PeerId, value: bytes) -> float:
        return validate_dht(keys.record_of(peer), value, network=network, now=time.time()).expires

    judge = validate or validate_now
    table = RoutingTable(transport.peer_id)
    server = KadServer(transport.peer_id, keys, table, judge, select) if mode == "server" else None
    kept = KeptPeers(keep_in, network_name)
    node = KadNode(transport, keys, bootstrap, table, server, kept)
    kept.read(time.time())

    async with open_service_nursery() as nursery:
        await nursery.start(node.run)
        nursery.start_soon(Upkeep(node).run)
        yield KadDirectory(node, judge, select)
