"""A walk over the servers of the directory: each is asked who its nearest are, and then they are.

Every server knows its neighbourhood, so what one does not name its neighbours do. Who is named and does not
answer is nobody: names cost nothing. Few are asked at once, and nobody twice.
"""

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import trio

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.kad_node import KadNode
from cocoon_p2p.network.libp2p.kad_wire import find_node

log = logging.getLogger(__name__)

AT_ONCE_MAX = 4
ASKED_MAX = 4096
"Servers that one walk asks."

SURVEY_SECONDS = 180.0
"How long a walk may take. Whoever is named and silent holds a place up for six seconds."


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a walk found."""

    answered: frozenset[PeerId]
    silent: int
    "That were named and did not answer: gone, behind a router, or made up."

    is_whole: bool
    "Whether everybody who was named was asked; else time or room ran out."


class Survey:
    """One walk, run once."""

    def __init__(self, node: KadNode) -> None:
        self._node = node
        self._waiting: deque[PeerId] = deque()
        self._named: set[PeerId] = {node.transport.peer_id}
        self._answered: set[PeerId] = set()
        self._silent = 0
        self._asking = 0
        self._changed = trio.Event()

    async def run(self) -> Surveyed:
        """Walk. A cancel leaves nothing behind."""
        self._note((*self._node.bootstraps, *(entry.peer for entry in self._node.table)))
        is_whole = False
        with trio.move_on_after(SURVEY_SECONDS):
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE_MAX):
                    nursery.start_soon(self._ask_on)
            is_whole = len(self._named) <= ASKED_MAX
        return Surveyed(frozenset(self._answered), self._silent, is_whole)

    async def _ask_on(self) -> None:
        while self._waiting or self._asking:
            if not self._waiting:
                await self._changed.wait()
                continue
            peer = self._waiting.popleft()
            self._asking += 1
            try:
                await self._ask(peer)
            finally:
                self._asking -= 1
                self._changed.set()
                self._changed = trio.Event()

    async def _ask(self, peer: PeerId) -> None:
        try:
            answer = await self._node.ask(peer, find_node(peer))
        except (Unavailable, RemoteProtocolError) as exc:
            log.debug("kad server is silent", extra={"reason": str(exc)})
            self._silent += 1
            return
        self._answered.add(peer)
        self._note(entry.peer for entry in answer.closer)

    def _note(self, peers: Iterable[PeerId]) -> None:
        for peer in peers:
            if peer not in self._named and len(self._named) <= ASKED_MAX:
                self._named.add(peer)
                self._waiting.append(peer)
