"""Searches for proxies: a lookup for each shard, and the record of each proxy that is named there.

What comes is united, not chosen among: whatever one server hides, another may name, and each lookup
has several paths. A proxy's record is with whoever names it; where it is not (others than ours
keep the two apart) it is looked up under its own key.
"""

import logging
from collections import Counter
from functools import partial

import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.kad_node import KadNode
from cocoon_p2p.network.libp2p.kad_server import Validate
from cocoon_p2p.network.libp2p.kad_wire import Answer, get_providers, get_value

log = logging.getLogger(__name__)

ASKED_FOR = 2
"Servers nearest to a key that must have answered on each path."

NAMERS_ASKED = 3
"Of those who name a proxy, so many are asked for its record, so that one may be silent and one out of date."

PROXIES_MAX = 400
"Proxies that one search brings."

NAMED_MAX = 2048
NAMED_BY_ONE_MAX = 256
"""Proxies that are followed up in one search, and those that one server may be the first to name: whoever
makes them up must not leave others nothing to name."""

LOOKED_UP_AT_ONCE_MAX = 16
LOOKED_UP_MAX = 16
"""Records that are looked up under their own keys; and of one shard, because nobody who named the proxy gave
it. Those that most servers name come first."""

FETCH_SECONDS = 2.0
"How long one who names a proxy may take to give its record."

SEARCH_SECONDS = 10.0
QUIET_SECONDS = 1.5
"""How long a search may take, and how long it goes on without a new record once it has one: half a second
longer than a lookup waits for a silent server."""


class Search:
    """One search, run once.

    Args:
        node: Asks.
        validate: Judges what comes.
    """

    def __init__(self, node: KadNode, validate: Validate) -> None:
        self._node = node
        self._validate = validate
        self._latest = trio.current_time() + SEARCH_SECONDS
        self._scope = trio.CancelScope(deadline=self._latest)
        self._namers: dict[PeerId, set[PeerId]] = {}
        self._first_named_by = Counter[PeerId]()
        self._values: dict[PeerId, list[bytes]] = {}
        self._look_ups = trio.Semaphore(LOOKED_UP_AT_ONCE_MAX)

    async def run(self) -> tuple[tuple[bytes, ...], ...]:
        """Search for all proxies, and return the different valid records of each that was found."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                for shard in self._node.keys.shards:
                    nursery.start_soon(self._search_shard, shard)
        return tuple(map(tuple, self._values.values()))[:PROXIES_MAX]

    async def run_for(self, peer: PeerId) -> tuple[bytes, ...]:
        """Search for the records of one proxy."""
        with self._scope:
            await self._look_up(peer)
        return tuple(self._values.get(peer, ()))

    async def _search_shard(self, shard: bytes) -> None:
        named: set[PeerId] = set()
        async with trio.open_nursery() as nursery:
            await self._node.look_up(
                get_providers(shard),
                closest=ASKED_FOR,
                on_answer=partial(self._note_named, nursery, shard, named),
            )
        async with trio.open_nursery() as nursery:
            missing = named.difference(self._values)
            most_named = sorted(missing, key=lambda peer: len(self._namers[peer]), reverse=True)
            for peer in most_named[:LOOKED_UP_MAX]:
                nursery.start_soon(self._look_up, peer)

    def _note_named(
        self, nursery: trio.Nursery, shard: bytes, named: set[PeerId], namer: PeerId, answer: Answer
    ) -> None:
        for peer in answer.providers:
            # A proxy belongs to one shard, so nobody can stand in all of them by one key.
            if self._node.keys.shard_of(peer) != shard or not self._is_followed_up(peer, namer):
                continue
            named.add(peer)
            namers = self._namers.setdefault(peer, set())
            if len(namers) < NAMERS_ASKED:
                namers.add(namer)
                nursery.start_soon(self._fetch, peer, namer)

    def _is_followed_up(self, peer: PeerId, namer: PeerId) -> bool:
        if peer in self._namers:
            return True
        if len(self._namers) >= NAMED_MAX or self._first_named_by[namer] >= NAMED_BY_ONE_MAX:
            return False
        self._first_named_by[namer] += 1
        return True

    async def _fetch(self, peer: PeerId, namer: PeerId) -> None:
        key = self._node.keys.record_of(peer)
        if namer == self._node.transport.peer_id and self._node.server is not None:
            self._take(peer, self._node.server.value(key))
            return
        # Each waits for its own namer only, of whom few things are asked at once: who hangs delays no other.
        with trio.move_on_after(FETCH_SECONDS):
            try:
                self._take(peer, (await self._node.ask(namer, get_value(key))).value)
            except (Unavailable, RemoteProtocolError) as exc:
                log.debug("kad question failed", extra={"reason": str(exc)})

    async def _look_up(self, peer: PeerId) -> None:
        def take(_keeper: PeerId, answer: Answer) -> None:
            self._take(peer, answer.value)

        question: Message = get_value(self._node.keys.record_of(peer))
        async with self._look_ups:
            await self._node.look_up(question, closest=ASKED_FOR, on_answer=take)

    def _take(self, peer: PeerId, value: bytes | None) -> None:
        if value is None or value in self._values.get(peer, ()):
            return
        try:
            self._validate(peer, value)
        except RemoteProtocolError as exc:
            log.debug("record passed over", extra={"reason": str(exc)})
            return
        self._values.setdefault(peer, []).append(value)
        self._scope.deadline = min(self._latest, trio.current_time() + QUIET_SECONDS)
