"""Finds out where others reach us, and keeps finding out: asks, weighs, and lets `Announced` know.

    async with open_reachability(transport, is_server=True) as reach:
        reach.view()

A node that listens asks those of its peers that serve AutoNAT v2: soon, ever more seldom up to once in
a quarter of an hour, and anew when there is another address to try. Whom we dialled is asked before
those who dialled us, and these may only speak for us: nobody can crowd our judges by dialling us often.

Nothing is asked about loopback: whoever is there needs nobody's word. Private addresses are asked of
servers in private ranges only, which would refuse others and have no business knowing them.
"""

import ipaddress
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio
from libp2p.abc import INetConn

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.addresses import Address, address_range
from cocoon_p2p.network.libp2p.announced import is_public, is_public_host
from cocoon_p2p.network.libp2p.autonat_client import AutonatClient, open_autonat_client
from cocoon_p2p.network.libp2p.autonat_server import open_autonat_server
from cocoon_p2p.network.libp2p.autonat_wire import DIAL_REQUEST
from cocoon_p2p.network.libp2p.dialling import resolve
from cocoon_p2p.network.libp2p.host import Libp2pTransport
from cocoon_p2p.network.libp2p.muxer import MuxedConnection
from cocoon_p2p.network.libp2p.observed import Observations
from cocoon_p2p.network.libp2p.reachability import Opinions, advice
from cocoon_p2p.network.libp2p.swarm import is_relayed
from cocoon_p2p.network.libp2p.upnp import keep_mapped
from cocoon_p2p.network.reachability import Reachability, ReachabilityView, Seen
from cocoon_p2p.nursery import open_service_nursery

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.5
"How long a change waits for others."

LOOK_SECONDS = 1.0
LOOK_LAST_SECONDS = 30.0
"How often a node that nobody could speak about yet looks for somebody to ask; ever more seldom."

RELAY_SECONDS = 10.0
"How long the operator is not told that nobody reaches us, until it is known whether relays stand in."

DOUBT_SECONDS = 5.0
"When a voice is asked again that did not reach us for the first time."

CHECK_SECONDS = 90.0
"How long one check may take: a server that never answers holds the next one up no longer."

CHECK_FIRST_SECONDS = 15.0
CHECK_LAST_SECONDS = 900.0
"Between two checks, at first and in the long run."

SERVERS_MAX = 4
"Who is asked in one check: each of another address range, where there are such."

TRIED_MAX = 8
"Addresses that are tried, best first: a machine may have many interfaces."


@dataclass(frozen=True, slots=True)
class _Server:
    """Somebody whom we can ask."""

    peer: PeerId
    host: str
    was_dialled: bool

    @property
    def voice(self) -> str:
        return address_range(self.host) if is_public_host(self.host) else peer_id_text(self.peer)

    def may_judge(self, address: Address) -> bool:
        return is_public(address) or not is_public_host(self.host)


class ReachabilityCheck:
    """What one node finds out about itself; made by `open_reachability`.

    Args:
        transport: Ours.
        client: Asks others.
        tries_loopback: Has others dial us on loopback too: for tests, which are alone there.
    """

    def __init__(self, transport: Libp2pTransport, client: AutonatClient, *, tries_loopback: bool) -> None:
        self._transport = transport
        self._announced = transport.announced
        self._client = client
        self._tries_loopback = tries_loopback
        self._opinions = Opinions()
        self._observations = Observations()

    def view(self) -> ReachabilityView:
        """Say what is known now."""
        announced, seen = self._announced, list[Seen]()
        for address in announced.candidates:
            votes = self._opinions.votes(address)
            seen.append(Seen(str(address), announced.source(address), votes[True], votes[False]))
        return ReachabilityView(
            announced.reachability,
            announced.addresses,
            tuple(seen),
            self._observations.hosts(),
            advice(announced),
        )

    async def run(self) -> None:
        """Check for ever. A cancel leaves what was found as it is."""
        self._transport.host.on_observed = self._note_observed
        pause, look = CHECK_FIRST_SECONDS, LOOK_SECONDS
        try:
            while True:
                # What changes at once is checked together.
                await trio.sleep(SETTLE_SECONDS)
                changed, began = self._announced.candidates_changed, trio.current_time()
                was_answered = await self._check()
                if not was_answered:
                    wait, look = look, min(2 * look, LOOK_LAST_SECONDS)
                elif self._opinions.has_doubts(since=began):
                    wait = DOUBT_SECONDS
                else:
                    wait, pause = pause, min(2 * pause, CHECK_LAST_SECONDS)
                with trio.move_on_after(wait * random.uniform(0.9, 1.1)):
                    await changed.wait()
                    pause, look = CHECK_FIRST_SECONDS, LOOK_SECONDS
        finally:
            self._transport.host.on_observed = None

    async def _check(self) -> bool:
        """Have everybody asked whom we ask; say whether anybody said anything."""
        candidates = [address for address in self._announced.candidates if self._is_worth_asking(address)]
        said = 0

        async def ask(server: _Server) -> None:
            nonlocal said
            for address in candidates[:TRIED_MAX]:
                if server.may_judge(address) and await self._ask(server, address):
                    said += 1

        with trio.move_on_after(CHECK_SECONDS):
            async with trio.open_nursery() as nursery:
                for server in self._servers():
                    nursery.start_soon(ask, server)
        return bool(said)

    async def _ask(self, server: _Server, address: Address) -> bool:
        try:
            # Servers look no names up: what ours leads to is for us to know.
            place = (await resolve(address))[0]
        except (Unavailable, IndexError):
            return False
        was_reached = await self._client.ask(server.peer, place)
        if was_reached is None:
            return False
        now = trio.current_time()
        self._opinions.note(address, server.voice, was_reached, now, may_accuse=server.was_dialled)
        self._judge()
        return True

    def _judge(self) -> None:
        self._opinions.forget(self._announced.candidates, trio.current_time())
        self._announced.judge(self._opinions.verdicts())

    def _is_worth_asking(self, address: Address) -> bool:
        return self._tries_loopback or address.is_name or not ipaddress.ip_address(address.host).is_loopback

    def _servers(self) -> list[_Server]:
        by_voice: dict[str, _Server] = {}
        # By chance, so that in the long run all are asked; whom we dialled first.
        servers = sorted(self._connected_servers(), key=lambda each: (not each.was_dialled, random.random()))
        for server in servers:
            by_voice.setdefault(server.voice, server)
        return list(by_voice.values())[:SERVERS_MAX]

    def _connected_servers(self) -> Iterable[_Server]:
        for conn in self._transport.swarm.get_connections():
            peer, host = PeerId(conn.muxed_conn.peer_id.to_bytes()), _host_of(conn)
            if host and self._transport.host.is_known_to_speak(peer, DIAL_REQUEST):
                yield _Server(peer, host, conn.muxed_conn.is_initiator)

    def _note_observed(self, conn: INetConn, seen: Address) -> None:
        host = _host_of(conn)
        if conn.muxed_conn.is_initiator and host:
            self._observations.note(host, seen.host)
            found = self._observations.candidates(self._announced.listening)
            self._announced.offer("observed", map(str, found))

    async def wait_found(self, before: Reachability) -> ReachabilityView:
        """Return once others find us reachable otherwise than `before`; if not, after relays had time."""
        while True:
            changed = self._announced.reachability_changed
            if self._announced.reachability == before:
                await changed.wait()
            elif self._announced.reachability != "private":
                return self.view()
            else:
                with trio.move_on_after(RELAY_SECONDS):
                    await changed.wait()
                    continue
                return self.view()

    async def tell_the_log(self) -> None:
        """Log each change of how others reach us, for ever."""
        found: Reachability = "unknown"
        while True:
            view = await self.wait_found(found)
            found = view.reachability
            facts = {"reachability": found, "addresses": list(view.told)}
            if found == "private":
                log.warning("others cannot dial this node", extra={**facts, "advice": view.advice})
            else:
                log.info("how others reach this node", extra=facts)

    async def tell_peers(self) -> None:
        """Send who is connected our new addresses whenever they change, for ever."""
        changed = self._announced.addresses_changed
        while True:
            await changed.wait()
            # Before they are told, so that what changes meanwhile is told too.
            changed = self._announced.addresses_changed
            await self._transport.host.push_identify()


async def _contained(run: Callable[[], Awaitable[None]]) -> None:
    try:
        await run()
    except Exception:
        # A node that does not know where it is reached still serves those who are there.
        log.exception("where others reach this node is not looked after any more")


def _host_of(conn: INetConn) -> str:
    """Give the IP address of a peer's own; empty if the connection runs through a relay."""
    if is_relayed(conn):
        return ""
    assert isinstance(conn.muxed_conn, MuxedConnection), "no other muxer is offered"
    remote = conn.muxed_conn.get_remote_address()
    return "" if remote is None else remote[0]


@asynccontextmanager
async def open_reachability(
    transport: Libp2pTransport, *, is_server: bool, maps_ports: bool = False, tries_loopback: bool = False
) -> AsyncIterator[ReachabilityCheck]:
    """Find out where others reach us, for as long as the block lasts. Who does not listen asks nothing.

    Args:
        transport: Ours.
        is_server: Dials others back too: for nodes that everybody knows, proxies and bootstraps.
        maps_ports: Has the router forward our ports, if there is one that does (`upnp`).
        tries_loopback: See `ReachabilityCheck`.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_autonat_client(transport))
        if is_server:
            await stack.enter_async_context(open_autonat_server(transport))
        nursery = await stack.enter_async_context(open_service_nursery())
        check = ReachabilityCheck(transport, client, tries_loopback=tries_loopback)
        if transport.announced.candidates:
            nursery.start_soon(_contained, check.run)
            nursery.start_soon(_contained, check.tell_the_log)
            nursery.start_soon(_contained, check.tell_peers)
            if maps_ports:
                nursery.start_soon(_contained, partial(keep_mapped, transport.announced))
        yield check
