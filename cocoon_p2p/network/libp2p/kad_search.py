"""One search for proxies: a lookup for each shard, and one more for each proxy that is named there.

What comes is united, not chosen among: whatever one server hides, another may name. Bootstraps
are asked besides the servers nearest to a key, since a nearer server that has just joined has
not been told yet.
"""

import logging
from functools import partial

import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.kad_node import KadNode, OnAnswer
from cocoon_p2p.network.libp2p.kad_server import Validate
from cocoon_p2p.network.libp2p.kad_wire import Answer, get_providers, get_value

log = logging.getLogger(__name__)

ASKED_FOR = 3
"Servers nearest to a key that must have answered."

BOOTSTRAPS_ASKED = 2

PROXIES_MAX = 400
"Proxies in one search; who is named after them is found in the next."

FETCHED_AT_ONCE_MAX = 16

SEARCH_SECONDS = 10.0
QUIET_SECONDS = 1.0
"How long a search may take, and how long it goes on without a new record once it has one."


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
        self._named_by: dict[PeerId, PeerId] = {}
        self._values: dict[PeerId, list[bytes]] = {}
        self._fetches = trio.Semaphore(FETCHED_AT_ONCE_MAX)

    async def run(self) -> tuple[tuple[bytes, ...], ...]:
        """Search, and return the different valid records of each proxy that was found."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                for shard in self._node.keys.shards:
                    nursery.start_soon(self._search_shard, nursery, shard)
        return tuple(map(tuple, self._values.values()))

    async def _search_shard(self, nursery: trio.Nursery, shard: bytes) -> None:
        question = get_providers(shard)
        on_answer = partial(self._fetch_named, nursery, shard)
        for bootstrap in self._node.bootstraps[:BOOTSTRAPS_ASKED]:
            nursery.start_soon(self._ask, bootstrap, question, on_answer)
        await self._node.look_up(question, closest=ASKED_FOR, on_answer=on_answer)

    def _fetch_named(self, nursery: trio.Nursery, shard: bytes, namer: PeerId, answer: Answer) -> None:
        for peer in answer.providers:
            # A proxy belongs to one shard, so nobody can stand in all of them by one key.
            is_new = peer not in self._named_by and self._node.keys.shard_of(peer) == shard
            if is_new and len(self._named_by) < PROXIES_MAX:
                self._named_by[peer] = namer
                nursery.start_soon(self._fetch, peer)

    async def _fetch(self, peer: PeerId) -> None:
        question = get_value(self._node.keys.record_of(peer))
        on_answer = partial(self._take, peer)
        async with self._fetches:
            await self._node.look_up(question, closest=ASKED_FOR, on_answer=on_answer)
            for keeper in (self._named_by[peer], *self._node.bootstraps[:BOOTSTRAPS_ASKED]):
                if peer not in self._values:
                    await self._ask(keeper, question, on_answer)

    def _take(self, peer: PeerId, _keeper: PeerId, answer: Answer) -> None:
        if answer.value is None or answer.value in self._values.get(peer, ()):
            return
        try:
            self._validate(peer, answer.value)
        except RemoteProtocolError as exc:
            log.debug("record passed over", extra={"reason": str(exc)})
            return
        self._values.setdefault(peer, []).append(answer.value)
        self._scope.deadline = min(self._latest, trio.current_time() + QUIET_SECONDS)

    async def _ask(self, peer: PeerId, question: Message, on_answer: OnAnswer) -> None:
        try:
            on_answer(peer, await self._node.ask(peer, question))
        except (Unavailable, RemoteProtocolError) as exc:
            log.debug("kad question failed", extra={"reason": str(exc)})
