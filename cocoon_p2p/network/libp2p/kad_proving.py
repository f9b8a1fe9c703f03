"""Who may enter the routing table: servers that were reached, and not only say where they are.

Whom we dialled is proved by that. Who dialled us and says that it serves is dialled back, on a
connection of its own that ends once the key is proved. Till then it is asked, but named to nobody.

Rule 1: only who could enter the table is dialled, each seldom, few at a time. So a stranger makes us
        dial for it, but not more than it had to dial us.
Rule 2: who comes from the internet does not make us dial into our own house.
"""

import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable

import trio
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.announced import is_public
from cocoon_p2p.network.libp2p.dialling import resolve
from cocoon_p2p.network.libp2p.errors import root_cause
from cocoon_p2p.network.libp2p.routing_table import RoutingTable
from cocoon_p2p.network.libp2p.swarm import RuledSwarm

log = logging.getLogger(__name__)

AT_ONCE_MAX = 8
WAITING_MAX = 64
WAITING_PER_RANGE_MAX = 16
"""Peers that are being dialled back; that wait for it, or are; and of these from one address range. Who comes
when it is full is taken when it is heard again."""

ADDRESSES_MAX = 3
"Addresses of one peer that are tried."

DIAL_SECONDS = 5.0
"How long one peer may take, with all its addresses."

REST_SECONDS = 300.0
"After a failure, before a peer is tried again."

REMEMBERED_MAX = 1024
"Peers whose failure is remembered."


def may_be_dialled(address: Address, said_from: str) -> bool:
    """Say whether an address may be dialled on the word of somebody from an address range.

    Args:
        address: What somebody said, or what a name of his stands for.
        said_from: The range that his connection comes from; empty if that is not known.
    """
    is_neighbour = said_from != "" and not ipaddress.ip_network(said_from).is_global
    return address.port > 0 and not address.is_wildcard and (is_neighbour or is_public(address))


async def proves_key(swarm: RuledSwarm, address: Address, peer: PeerId) -> None:
    """Dial an address and hang up once `peer` has proved its key there. A cancel hangs up.

    Raises:
        Unavailable: Nobody answers there, or somebody else.
    """
    try:
        with trio.fail_after(DIAL_SECONDS):
            async with await trio.open_tcp_stream(address.host, address.port) as stream:
                raw = RawConnection(TrioTCPStream(stream), True)
                await swarm.upgrader.upgrade_security(raw, True, ID(peer))
    except trio.TooSlowError:
        raise Unavailable(f"{address}: no answer in time") from None
    except Exception as exc:
        # What a secure channel raises on a stranger's bytes is listed nowhere, and must end nothing here.
        raise Unavailable(f"{address}: {root_cause(exc)!r}") from exc


class Proving:
    """Dials servers back and puts those that answer into the table.

    Args:
        swarm: Our connections.
        table: Whom we know.
    """

    def __init__(self, swarm: RuledSwarm, table: RoutingTable) -> None:
        self._swarm = swarm
        self._table = table
        self._failed_at: OrderedDict[PeerId, float] = OrderedDict()
        self._waiting: dict[PeerId, str] = {}
        self._send, self._receive = trio.open_memory_channel[PeerId](WAITING_MAX)

    def heard(self, peer: PeerId) -> None:
        """Note that a server answered us, or said on a connection of its own that it is one."""
        seen_from, now = self._swarm.range_of(peer), time.time()
        dialled = self._dialled_at(peer)
        if dialled is not None:
            self._table.heard(peer, (dialled,), seen_from=seen_from, now=now)
        elif peer in self._table:
            self._table.heard(peer, seen_from=seen_from, now=now)
        elif self._table.wants(peer, seen_from=seen_from):
            self.prove_soon(peer)

    def prove_soon(self, peer: PeerId) -> None:
        """Dial a server back, unless that failed lately; one that fails leaves the table."""
        resting = trio.current_time() - self._failed_at.get(peer, float("-inf")) < REST_SECONDS
        where = self._swarm.range_of(peer)
        beside = sum(each == where for each in self._waiting.values())
        if resting or peer in self._waiting or beside >= WAITING_PER_RANGE_MAX:
            return
        try:
            self._send.send_nowait(peer)
        except trio.WouldBlock:
            return
        self._waiting[peer] = where

    def _dialled_at(self, peer: PeerId) -> Address | None:
        """Give the address of a connection that stands, if we made it."""
        conns = self._swarm.open_connections(peer)
        is_ours = any(conn.direction is Direction.OUTBOUND for conn in conns)
        worked = self._swarm.dialler.worked_last(peer)
        # Through a relay is not where it is.
        return worked if is_ours and isinstance(worked, Address) else None

    async def run(self) -> None:
        """Dial until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE_MAX):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        async for peer in self._receive.clone():
            try:
                await self._prove(peer)
            finally:
                del self._waiting[peer]

    async def _prove(self, peer: PeerId) -> None:
        seen_from = self._swarm.range_of(peer)
        with trio.move_on_after(DIAL_SECONDS):
            if (address := await self._proved_at(peer, seen_from)) is not None:
                self._failed_at.pop(peer, None)
                self._table.heard(peer, (address,), seen_from=seen_from, now=time.time())
                return
        self._table.remove(peer)
        self._failed_at[peer] = trio.current_time()
        if len(self._failed_at) > REMEMBERED_MAX:
            self._failed_at.popitem(last=False)

    async def _proved_at(self, peer: PeerId, seen_from: str) -> Address | None:
        entry = self._table.entry(peer)
        worked = () if entry is None else entry.addresses
        # Who says nothing of where it is, or whose word was forgotten, is where it was.
        claimed = self._swarm.known_addresses(peer) or worked
        for address in await _resolved(claimed[:ADDRESSES_MAX], seen_from):
            try:
                await proves_key(self._swarm, address, peer)
            except Unavailable as exc:
                log.debug("server not reached", extra={"peer": peer_id_text(peer), "reason": str(exc)})
            else:
                return address
        return None


async def _resolved(addresses: Iterable[Address], said_from: str) -> list[Address]:
    found: list[Address] = []
    for address in addresses:
        try:
            found += await resolve(address)
        except Unavailable:
            continue
    return [address for address in dict.fromkeys(found) if may_be_dialled(address, said_from)][:ADDRESSES_MAX]
