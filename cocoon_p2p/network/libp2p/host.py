"""One node on the real network: the four verbs of `network.transport` over py-libp2p 0.8.1.

    async with open_transport(identity, listen=["/ip4/0.0.0.0/tcp/4001"]) as transport:
        transport.accept_streams("/cocoon/exchange/1", acceptor)

TCP only, secured by Noise or TLS, multiplexed by yamux. What of libp2p is mended, and why, is
told in docs/decisions/0003-libp2p-behind-one-door.md.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import trio
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.transport.upgrader import TransportUpgrader

from cocoon_p2p.errors import CocoonError, ConfigurationError, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import Identity, PeerId, peer_id_text
from cocoon_p2p.network.libp2p import patches
from cocoon_p2p.network.libp2p.addresses import Route, parse_address, parse_route
from cocoon_p2p.network.libp2p.announced import Announced
from cocoon_p2p.network.libp2p.guarded_host import GuardedHost
from cocoon_p2p.network.libp2p.hole_punching import HolePunching
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.listener import bound_addresses, open_listeners
from cocoon_p2p.network.libp2p.muxer import muxer_options
from cocoon_p2p.network.libp2p.peers import BoundedPeerStore
from cocoon_p2p.network.libp2p.relayed import RelayedConnections
from cocoon_p2p.network.libp2p.security import security_options
from cocoon_p2p.network.libp2p.stream import Libp2pStream, open_on
from cocoon_p2p.network.libp2p.swarm import RuledSwarm, is_relayed
from cocoon_p2p.network.libp2p.upstream_log import quieten
from cocoon_p2p.network.transport import StreamAcceptor

log = logging.getLogger(__name__)

CLOSING_SECONDS = 2.0
"How long our connections may take to send what was written, when the transport closes."


class Libp2pTransport:
    """A node on the network (`network.transport.Transport`); made by `open_transport`."""

    def __init__(
        self,
        identity: Identity,
        host: GuardedHost,
        swarm: RuledSwarm,
        announced: Announced,
        limits: Limits,
    ) -> None:
        self._identity = identity
        self._limits = limits
        self.announced = announced
        "What we tell others of where we are, for those who find out more about it."

        self.host = host
        "libp2p's host, for the directory next door."
        self.swarm = swarm
        "libp2p's swarm, for the directory next door."
        self.relayed = RelayedConnections(swarm, self.open_stream_on, limits)
        "Its connections through relays, for those who reserve and who punch holes."

    @property
    def peer_id(self) -> PeerId:
        return self._identity.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.announced.addresses

    @property
    def addresses_changed(self) -> trio.Event:
        return self.announced.addresses_changed

    async def dial(self, addresses: Sequence[str]) -> PeerId:
        """Connect to the one peer that the addresses name, unless we are. A cancel leaves nothing behind.

        Raises:
            Unavailable: No address answered with this peer's key in time, or none can be used.
        """
        peer, places = _one_peer(addresses)
        await self.swarm.dialler.dial(peer, places)
        return peer

    async def open_stream(self, peer: PeerId, protocol: str) -> Libp2pStream:
        """Open a stream over the connection that stands. A cancel leaves the connection unharmed.

        Raises:
            Unavailable: There is no connection, or the peer does not speak this protocol.
        """
        conns = self.swarm.open_connections(peer)
        if not conns:
            raise Unavailable(f"not connected (peer={peer_id_text(peer)})")
        # The newest one: of two connections to a peer that dialled anew, it is the one that lives.
        return await self.open_stream_on(conns[-1], protocol)

    async def open_stream_on(self, conn: SwarmConn, protocol: str) -> Libp2pStream:
        """Open a stream over one connection of several. As `open_stream` otherwise."""
        peer = PeerId(conn.muxed_conn.peer_id.to_bytes())
        return await open_on(
            conn,
            protocol,
            is_known=self.host.is_known_to_speak(peer, protocol),
            seconds=self._limits.negotiation_seconds,
        )

    def accept_streams(self, protocol: str, acceptor: StreamAcceptor) -> None:
        """Let peers open streams of this protocol; each runs `acceptor` in a task of the transport."""

        async def accept(net_stream: INetStream) -> None:
            stream = _wrap(net_stream)
            try:
                await acceptor(stream)
            except Unavailable as exc:
                # The peer went away in the middle of something: its right.
                log.debug("accepted stream lost", extra={"protocol": protocol, "reason": str(exc)})
            except RemoteProtocolError as exc:
                # At debug too: strangers cause it at will, and would fill the operator's disk.
                log.debug("accepted stream broken", extra={"protocol": protocol, "reason": str(exc)})
                stream.reset()
            except CocoonError as exc:
                log.warning(
                    "accepted stream failed",
                    extra={"peer": peer_id_text(stream.peer), "protocol": protocol, "reason": str(exc)},
                )
                stream.reset()
            except Exception:
                log.exception("accepted stream failed", extra={"protocol": protocol})
                stream.reset()
            finally:
                # Also after a cancel: nobody is left who would close it.
                if not stream.was_closed:
                    stream.reset()
                elif not stream.was_reset:
                    # What was written still leaves; a peer that keeps its side open for ever may not.
                    await stream.close()

        self.host.set_stream_handler(TProtocol(protocol), accept)

    def is_connected(self, peer: PeerId) -> bool:
        """Say whether a connection to this peer stands right now."""
        return self.swarm.is_connected(peer)

    def way_to(self, peer: PeerId) -> Literal["", "direct", "relay"]:
        """Say how this peer is reached right now; empty: it is not."""
        conns = self.swarm.open_connections(peer)
        if not conns:
            return ""
        return "relay" if is_relayed(conns[-1]) else "direct"

    async def wait_disconnected(self, peer: PeerId) -> None:
        """Return once no connection to this peer stands (at once if there is none)."""
        await self.swarm.wait_disconnected(peer)

    def protect(self, peer: PeerId, tag: str) -> None:
        """Keep this peer's connections when places run out, for a reason that has a name."""
        self.swarm.protect_peer(peer, tag)

    def unprotect(self, peer: PeerId, tag: str) -> None:
        """Let this reason no longer count. Nothing happens if it did not."""
        self.swarm.unprotect_peer(peer, tag)


@asynccontextmanager
async def open_transport(
    identity: Identity,
    *,
    listen: Sequence[str] = (),
    announce: Sequence[str] = (),
    limits: Limits | None = None,
    punches_holes: bool = True,
) -> AsyncIterator[Libp2pTransport]:
    """Put a node on the network for as long as the block lasts.

    On the way out, also by a cancel, connections are closed so that what was written still leaves
    (for two seconds at most); tasks of accepted streams are cancelled after that.

    Args:
        identity: Whose key the node proves.
        listen: Multiaddrs to listen on (`/ip4/0.0.0.0/tcp/4001`, port 0 for any). Empty: it only dials.
        announce: Multiaddrs to tell others instead of what is found out, for a node behind a forwarded port.
        limits: What the world may take of this node.
        punches_holes: Whether connections through relays are made direct where that can be done.

    Raises:
        ConfigurationError: An address is malformed, taken or not ours.
        Unavailable: libp2p itself failed while the block ran (a bug, there or here).
    """
    patches.install()
    quieten()
    limits = limits or Limits()
    announced = Announced(identity.peer_id)
    announced.offer("configured", announce)
    listeners = await _listen(listen)
    announced.offer("listening", (str(address) for each in listeners for address in bound_addresses(each)))
    swarm = _swarm(identity, limits)
    host = GuardedHost(swarm, announced, limits)
    transport = Libp2pTransport(identity, host, swarm, announced, limits)
    if punches_holes:
        HolePunching(transport)

    failure: Exception | None = None
    try:
        async with host.run([]), trio.open_nursery() as nursery:
            accepting = trio.CancelScope()
            nursery.start_soon(swarm.passing.run)
            nursery.start_soon(_accept, accepting, swarm, listeners, nursery)
            try:
                yield transport
            except Exception as exc:  # noqa: BLE001  it is raised again below
                # Kept back, so that no nursery on the way out wraps the caller's own error in a group.
                failure = exc
            finally:
                accepting.cancel()
                await _close_connections(swarm)
                nursery.cancel_scope.cancel()
    except ExceptionGroup as exc:
        raise Unavailable("libp2p stopped on an error of its own") from exc
    finally:
        for listener in listeners:
            listener.socket.close()
    if failure is not None:
        raise failure


def _wrap(net_stream: INetStream) -> Libp2pStream:
    assert isinstance(net_stream, NetStream)
    return Libp2pStream(net_stream)


def _swarm(identity: Identity, limits: Limits) -> RuledSwarm:
    key_pair = create_new_key_pair(identity.seed)
    upgrader = TransportUpgrader(
        secure_transports_by_protocol=security_options(key_pair),
        muxer_transports_by_protocol=muxer_options(),
    )
    peerstore = BoundedPeerStore(key_pair)
    swarm = RuledSwarm(ID(identity.peer_id), peerstore, upgrader, limits)
    peerstore.is_kept = lambda peer: bool(swarm.connections.get(peer))
    return swarm


async def _listen(texts: Sequence[str]) -> list[trio.SocketListener]:
    listeners: list[trio.SocketListener] = []
    try:
        for text in texts:
            listeners += await open_listeners(parse_address(text)[0])
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


async def _accept(
    scope: trio.CancelScope, swarm: RuledSwarm, listeners: list[trio.SocketListener], nursery: trio.Nursery
) -> None:
    # Accepted connections live in the outer nursery: they go on, to be closed in order, when accepting stops.
    if listeners:
        with scope:
            await trio.serve_listeners(swarm.accept, listeners, handler_nursery=nursery)


async def _close_connections(swarm: RuledSwarm) -> None:
    # All at once, and only what is on the wire: upstream closes one after the other and sleeps after each.
    with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING_SECONDS):
        async with trio.open_nursery() as nursery:
            for conn in swarm.get_connections():
                nursery.start_soon(conn.muxed_conn.close)


def _one_peer(texts: Sequence[str]) -> tuple[PeerId, list[Route]]:
    places: dict[PeerId, list[Route]] = {}
    for text in texts:
        # Addresses come from other people's records: what cannot be dialled is skipped, not an error.
        try:
            route, peer = parse_route(text)
        except ConfigurationError:
            log.debug("address skipped", extra={"address": text[:128]})
            continue
        places.setdefault(peer, []).append(route)
    if len(places) != 1:
        raise Unavailable(f"the addresses name {len(places)} peers that could be dialled, not one")
    return places.popitem()
