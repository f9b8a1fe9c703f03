"""How a node enters the DHT and stays in it.

A node that reaches nobody goes on trying, ever more slowly, up to once a minute, at its bootstraps
and at the servers that it kept from before. One that is in looks around by the rules of `refresh`,
drops who stopped answering, and keeps the good ones for its next start.
"""

import logging
import random
import time
from collections.abc import Iterable

import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p import refresh
from cocoon_p2p.network.libp2p.kad_node import KadNode
from cocoon_p2p.network.libp2p.kad_wire import find_node

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS = 1.0

KEEP_SECONDS = 300.0
"How often the good servers are written down."

DIALLED_SECONDS = 3600.0
"After this long a server that only keeps its own connection to us is dialled back again."

NEIGHBOURS = 5
"Servers nearest to us that must have answered on each path, so that they know us: 20 in all."

FOUND_IN_BUCKET = 2
"The same for a far bucket."


class Upkeep:
    """Looks around for one node."""

    def __init__(self, node: KadNode) -> None:
        self._node = node
        self._kept_at = trio.current_time()
        self._looked_at = time.time()

    async def run(self) -> None:
        """Enter the network, and stay in it until cancelled; then the good servers are written down."""
        node, pause = self._node, RETRY_FIRST_SECONDS
        try:
            while True:
                await self.look_around()
                is_in = len(node.table) > 0 or not (node.bootstraps or node.kept.peers)
                if not is_in:
                    log.warning("no server of the directory answers", extra={"retry_seconds": pause})
                await trio.sleep((refresh.TICK_SECONDS if is_in else pause) * random.uniform(1.0, 1.2))
                pause = RETRY_FIRST_SECONDS if is_in else min(pause * 2, refresh.TICK_SECONDS)
        finally:
            if self._is_connected():
                node.kept.keep(node.table)

    async def look_around(self) -> None:
        """Do what is due. A cancel leaves nothing behind."""
        node, self._looked_at = self._node, time.time()
        away = [peer for peer, answered in node.reached.items() if not answered]
        stalest = (entry.peer for entry in node.table.stalest())
        late, node.late = node.late, set()
        await self._check({*stalest, *late, *away})
        self._dial_back_again()
        for key in node.refresh.due(node.table, trio.current_time()):
            closest = NEIGHBOURS if key == node.transport.peer_id else FOUND_IN_BUCKET
            await node.look_up(find_node(key), closest=closest)
        if trio.current_time() - self._kept_at >= KEEP_SECONDS and self._is_connected():
            self._kept_at = trio.current_time()
            await trio.to_thread.run_sync(node.kept.keep, list(node.table))

    def _is_connected(self) -> bool:
        # Who hears nobody at all is cut off: his table empties, and says nothing of who is there.
        return any(entry.heard >= self._looked_at for entry in self._node.table)

    async def _check(self, peers: Iterable[PeerId]) -> None:
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(self._ping, peer)

    async def _ping(self, peer: PeerId) -> None:
        try:
            await self._node.ask(peer, Message(type=Message.MessageType.PING))
        except (Unavailable, RemoteProtocolError) as exc:
            log.debug("kad server is gone", extra={"peer": peer_id_text(peer), "reason": str(exc)})

    def _dial_back_again(self) -> None:
        now = time.time()
        for entry in self._node.table:
            if now - entry.dialled > DIALLED_SECONDS:
                self._node.proving.prove_soon(entry.peer)
