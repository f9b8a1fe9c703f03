"""A node that nobody can dial keeps reservations with relays, and tells others to ask there.

While others find us unreachable (`Announced.reachability`), two of the relays we were told of hold a
reservation each; what we announce names those that do. A reservation lasts as long as the connection
that it was made on, so that is kept, and made anew when it is lost.

Only the address at which we reached a relay ourselves is told on: what a relay says of its own
addresses would have others dial whomever it likes.

Spec: libp2p specs/relay/circuit-v2.md, "Reservation".
"""

import logging
import time
from collections.abc import Sequence

import trio
from libp2p.network.connection.swarm_connection import SwarmConn

from cocoon_p2p.errors import Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.addresses import Address, CircuitAddress, parse_peer_address
from cocoon_p2p.network.libp2p.delimited import read_delimited
from cocoon_p2p.network.libp2p.host import Libp2pTransport
from cocoon_p2p.network.libp2p.relay_wire import (
    HOP,
    MESSAGE_MAX_BYTES,
    STOP,
    Answer,
    Grant,
    Status,
    check_voucher,
    judge_hop,
    reserve,
)
from cocoon_p2p.network.libp2p.reservations import Reservations, refresh_after

log = logging.getLogger(__name__)

RELAYS_WANTED = 2
"Reservations that are kept: one relay may restart."

ASK_SECONDS = 15.0
"How long a relay may take to be dialled and to answer."

TAG = "relay"
"Why connections to our relays are not let go to make room for others."


class RelayClient:
    """Keeps a node's reservations.

    Args:
        transport: The node's.
        relays: Multiaddrs with `/p2p/` of nodes that may serve as relays, the best first.
    """

    def __init__(self, transport: Libp2pTransport, relays: Sequence[str]) -> None:
        self._transport = transport
        self._addresses = _by_peer(relays, transport.peer_id)
        self._reservations = Reservations(tuple(self._addresses), RELAYS_WANTED)
        self._changed = trio.Event()

    async def run(self) -> None:
        """Reserve whenever nobody can dial us, until cancelled; then nothing is announced any more."""
        announced = self._transport.announced
        self._transport.accept_streams(STOP, self._transport.relayed.take)
        while True:
            turned = announced.reachability_changed
            if announced.reachability != "private":
                await turned.wait()
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep)
                await turned.wait()
                nursery.cancel_scope.cancel()

    async def _keep(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    changed = self._changed
                    for relay in self._reservations.choose(trio.current_time()):
                        nursery.start_soon(self._hold, relay)
                    self._tell()
                    with trio.move_on_after(self._reservations.seconds_left(trio.current_time())):
                        await changed.wait()
        finally:
            self._tell()

    def _tell(self) -> None:
        held = self._reservations.held
        self._transport.relayed.relays = set(held)
        routes = (CircuitAddress(address, relay) for relay in held for address in self._addresses[relay])
        self._transport.announced.offer("relay", map(str, routes))

    async def _hold(self, relay: PeerId) -> None:
        """Keep a reservation with one relay until it is lost. A cancel lets it lapse."""
        swarm = self._transport.swarm
        swarm.protect_peer(relay, TAG)
        try:
            while True:
                conn, seconds = await self._reserve(relay)
                self._reservations.taken(relay)
                self._turn()
                with trio.move_on_after(seconds):
                    # Of this connection: the relay looks for us on no other that may stand.
                    await conn.event_closed.wait()
                    raise Unavailable("the connection to the relay is lost")
        except (Unavailable, Refused, RemoteProtocolError) as exc:
            log.info("no reservation", extra={"relay": peer_id_text(relay), "reason": str(exc)})
            self._reservations.failed(relay, trio.current_time())
        finally:
            self._reservations.dropped(relay)
            swarm.unprotect_peer(relay, TAG)
            self._turn()

    def _turn(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _reserve(self, relay: PeerId) -> tuple[SwarmConn, float]:
        """Make or refresh a reservation; say on which connection, and after how many seconds to refresh it.

        Raises:
            Unavailable: The relay cannot be reached, is none, or does not answer in time.
            Refused: It has no room for us.
            RemoteProtocolError: What it grants is no reservation.
        """
        try:
            with trio.fail_after(ASK_SECONDS):
                conn = await self._connect(relay)
                grant = await self._ask(conn)
        except trio.TooSlowError:
            raise Unavailable("the relay does not answer in time") from None
        if grant.voucher:
            check_voucher(grant.voucher, relay=relay, peer=self._transport.peer_id, expires=grant.expires)
        return conn, refresh_after(grant.expires, time.time())

    async def _connect(self, relay: PeerId) -> SwarmConn:
        await self._transport.swarm.dialler.dial(relay, self._addresses[relay])
        return self._transport.swarm.direct_connection(relay)

    async def _ask(self, conn: SwarmConn) -> Grant:
        stream = await self._transport.open_stream_on(conn, HOP)
        try:
            await stream.write(reserve())
            answer = judge_hop(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))
        finally:
            stream.reset()
        if not isinstance(answer, Answer):
            raise RemoteProtocolError("the relay does not answer as one")
        if answer.status != Status.OK or answer.grant is None:
            raise Refused(f"the relay has no room for us (status={answer.status})", code="no-reservation")
        return answer.grant


def _by_peer(texts: Sequence[str], own: PeerId) -> dict[PeerId, tuple[Address, ...]]:
    places: dict[PeerId, tuple[Address, ...]] = {}
    for text in texts:
        address, peer = parse_peer_address(text)
        if peer != own:
            places[peer] = (*places.get(peer, ()), address)
    return places
