"""A relayed connection becomes a direct one: both ends dial each other at the same moment (DCUtR).

    the dialled side                                    the dialling side
      | Observed{addresses} --------- over the relay --------->|
      |<-------------------------------- Observed{addresses} --|
      | Sync ------------------------------------------------->|
      | half a round trip later: connects                      | connects at once

Each router lets in what answers something that went out a moment ago. Both dial from the port that the
relay sees them on: the port has a mapping at their router, whose outer side is what they told the other.
So nothing need listen on that port, and the port that a node listens on stays its own alone
(docs/decisions/0013-relay-and-hole-punching.md).

Rule 1: the side that dialled over the relay is the one that dials here too, as far as Noise, TLS and
        the muxer are concerned.
Rule 2: what a stranger names is dialled a few times, at a few addresses, and never in our own network
        on account of who is outside it.
Rule 3: nothing is lost if it fails: the relayed connection stands.

Spec: libp2p specs/relay/DCUtR.md.
"""

import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import trio
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.swarm_connection import SwarmConn

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.address_bytes import decode_address
from cocoon_p2p.network.libp2p.addresses import Address, parse_address
from cocoon_p2p.network.libp2p.delimited import read_delimited
from cocoon_p2p.network.libp2p.dialled_socket import connect_from
from cocoon_p2p.network.libp2p.hole_wire import (
    DCUTR,
    MESSAGE_MAX_BYTES,
    Observed,
    Sync,
    judge,
    observed,
    sync,
    worth_dialling,
)
from cocoon_p2p.network.libp2p.punched import PunchedConnection
from cocoon_p2p.network.libp2p.relayed import Relayed
from cocoon_p2p.network.libp2p.stream import Libp2pStream
from cocoon_p2p.network.transport import Stream

if TYPE_CHECKING:
    from cocoon_p2p.network.libp2p.host import Libp2pTransport

log = logging.getLogger(__name__)

ATTEMPTS = 3
"The specification's."

TALK_SECONDS = 10.0
"How long the two may take to agree, over a relay."

KNOCK_SECONDS = 5.0
"How long both dial before an attempt has failed."

KNOCK_AGAIN_SECONDS = 0.05
"""A router that says no at once is asked again: the other side's first packet may open it. Each pause is
twice the one before, or who is named by a stranger would get a hundred packets of ours instead of seven."""

IDENTIFY = "/ipfs/id/1.0.0"
IDENTIFY_SECONDS = 5.0
IDENTIFY_MAX_BYTES = 16 * 1024


class HolePunching:
    """Upgrades the relayed connections of one node; at work from when it is made.

    Args:
        transport: The node's.
    """

    def __init__(self, transport: "Libp2pTransport") -> None:
        self._transport = transport
        self._swarm = transport.swarm
        self._seen: WeakKeyDictionary[SwarmConn, Address] = WeakKeyDictionary()
        self._answered: WeakKeyDictionary[SwarmConn, int] = WeakKeyDictionary()
        transport.relayed.on_taken = self.upgrade
        transport.accept_streams(DCUTR, self._answer)

    # ------------------------------------------------------------------ the dialled side

    async def upgrade(self, relayed: Relayed) -> None:
        """Try to get a direct connection to who dialled us through a relay. A failure changes nothing."""
        await self._wait_identified(relayed.peer)
        await self._dial_openly(relayed)
        for number in range(ATTEMPTS):
            if self._swarm.has_direct(relayed.peer):
                return
            facts: dict[str, object] = {"peer": peer_id_text(relayed.peer), "attempt": number + 1}
            try:
                await self._initiate(relayed)
            except (Unavailable, MalformedMessage) as exc:
                facts["reason"] = str(exc)
            is_direct = self._swarm.has_direct(relayed.peer)
            log.debug("hole punched" if is_direct else "hole not punched", extra=facts)

    async def _wait_identified(self, peer: PeerId) -> None:
        """Wait until the peer has said what it speaks and where it is, but not for ever."""
        host = self._transport.host
        with trio.move_on_after(IDENTIFY_SECONDS):
            while not host.is_known_to_speak(peer, DCUTR):
                await host.identified.wait()

    async def _dial_openly(self, relayed: Relayed) -> None:
        """Try the addresses at which the peer says that anybody can reach it."""
        addresses = worth_dialling(self._swarm.known_addresses(relayed.peer), relayed.relay_host)
        if addresses:
            with suppress(Unavailable):
                await self._swarm.dialler.dial_anew(relayed.peer, addresses)

    async def _initiate(self, relayed: Relayed) -> None:
        stream = await self._transport.open_stream_on(relayed.conn, DCUTR)
        try:
            with trio.move_on_after(TALK_SECONDS):
                own = (*await self._observed(relayed), *self._listening(relayed))
                began = trio.current_time()
                await stream.write(observed(own))
                theirs = judge(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))
                if not isinstance(theirs, Observed):
                    raise MalformedMessage("an answer was due, not a start")
                round_trip_seconds = trio.current_time() - began
                await stream.write(sync())
                await trio.sleep(round_trip_seconds / 2)
                await self._knock(relayed, theirs.addresses)
        finally:
            stream.reset()

    # ------------------------------------------------------------------ the dialling side

    async def _answer(self, stream: Stream) -> None:
        assert isinstance(stream, Libp2pStream)
        relayed = self._transport.relayed.find(stream.swarm_conn)
        if relayed is None or relayed.route is None:
            raise MalformedMessage("hole punching is for a connection that we dialled through a relay")
        answered = self._answered[relayed.conn] = self._answered.get(relayed.conn, 0) + 1
        if answered > ATTEMPTS:
            raise MalformedMessage("we dial so often at a stranger's word, and no more")
        with trio.move_on_after(TALK_SECONDS):
            theirs = judge(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))
            if not isinstance(theirs, Observed):
                raise MalformedMessage("addresses were due, not a start")
            await stream.write(observed(await self._observed(relayed)))
            if not isinstance(judge(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES)), Sync):
                raise MalformedMessage("a start was due")
            await self._knock(relayed, theirs.addresses)

    # ------------------------------------------------------------------ both

    async def _observed(self, relayed: Relayed) -> tuple[Address, ...]:
        """Ask the relay where our connection to it comes from, or remember what it said."""
        if relayed.relay in self._seen:
            return (self._seen[relayed.relay],)
        stream = await self._transport.open_stream_on(relayed.relay, IDENTIFY)
        try:
            body = await read_delimited(stream, size_max_bytes=IDENTIFY_MAX_BYTES)
            said = Identify.FromString(body)
            seen = self._seen[relayed.relay] = decode_address(said.observed_addr)
            return (seen,)
        except (ValueError, MalformedMessage) as exc:
            log.debug("relay does not say where it sees us", extra={"reason": str(exc)})
            return ()
        finally:
            stream.reset()

    def _listening(self, relayed: Relayed) -> tuple[Address, ...]:
        """List where we listen, for a peer that is on our side of the relay."""
        listening = self._transport.announced.offered("listening")
        return worth_dialling((parse_address(text)[0] for text in listening), relayed.relay_host)

    async def _knock(self, relayed: Relayed, addresses: tuple[Address, ...]) -> None:
        """Dial all of them from the port that the relay sees, until there is a direct connection."""
        source = self._swarm.socket_of(relayed.relay)
        if source is None:
            return
        # A port in use may be bound again where both sockets allow it and neither listens.
        source.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        local, is_six = source.getsockname()[:2], source.family == socket.AF_INET6
        fit = [each for each in addresses if (each.kind == "ip6") is is_six]
        async with trio.open_nursery() as securing:
            with trio.move_on_after(KNOCK_SECONDS):
                async with trio.open_nursery() as knocking:
                    for address in worth_dialling(fit, relayed.relay_host):
                        knocking.start_soon(self._knock_at, address, local, relayed, securing)
                    await self._swarm.wait_direct(relayed.peer)
                    # What is being secured goes on: a cancel would close the connection.
                    knocking.cancel_scope.cancel()

    async def _knock_at(
        self, address: Address, local: tuple[str, int], relayed: Relayed, securing: trio.Nursery
    ) -> None:
        pause = KNOCK_AGAIN_SECONDS
        while True:
            try:
                stream = await connect_from(local, address)
            except OSError:
                await trio.sleep(pause)
                pause *= 2
            else:
                securing.start_soon(self._use, stream, relayed)
                return

    async def _use(self, stream: trio.SocketStream, relayed: Relayed) -> None:
        try:
            with trio.move_on_after(KNOCK_SECONDS):
                await self._secure(stream, relayed)
        except Unavailable as exc:
            log.debug("no direct connection", extra={"reason": str(exc)})

    async def _secure(self, stream: trio.SocketStream, relayed: Relayed) -> None:
        if relayed.route is not None:
            await self._swarm.connect_over(stream, relayed.peer)
            return
        muxed = await self._swarm.secure_taken(PunchedConnection(TrioTCPStream(stream), False))
        if PeerId(muxed.peer_id.to_bytes()) != relayed.peer:
            await muxed.close()
