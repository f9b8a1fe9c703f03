"""libp2p's swarm with our rules for accepting, counting and dialling.

A subclass, so that nothing but our own hosts is changed. Faults of 0.8.1 that it cures:

* an accepted connection's place came back only when the node stopped (250 in a lifetime);
* a peer could hold any number of connections for their first twenty seconds, and nobody's was kept;
* below half of its connection limit a node dialled whomever its peer store named;
* a dial tried one address, waited 250 ms at least, and shunned the peer for a minute after.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial

import trio
from libp2p.abc import IMuxedConn, INetConn
from libp2p.connection_types import ConnectionType
from libp2p.io.trio import TrioTCPStream
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore, PeerStoreError
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr  # type: ignore[import-untyped]  # it ships no types

from cocoon_p2p.errors import ConfigurationError, RecordRejected, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text, public_key_of
from cocoon_p2p.network.libp2p import dialled_socket
from cocoon_p2p.network.libp2p.addresses import (
    Address,
    CircuitAddress,
    Route,
    address_range,
    parse_address,
)
from cocoon_p2p.network.libp2p.admission import Admission
from cocoon_p2p.network.libp2p.dialling import Dialler
from cocoon_p2p.network.libp2p.errors import root_cause
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.muxer import MuxedConnection
from cocoon_p2p.network.libp2p.passing import Passing
from cocoon_p2p.network.libp2p.protected import Protected
from cocoon_p2p.network.libp2p.rates import Shares
from cocoon_p2p.network.libp2p.room import is_full, who_gives_way

log = logging.getLogger(__name__)


class _NeverDialling(AutoConnector):
    """Dials nobody: who is connected is decided by the roles and by the directory."""

    async def maybe_connect(self) -> None:
        await trio.lowlevel.checkpoint()

    async def run_background_task(self, nursery: trio.Nursery) -> None:
        await trio.lowlevel.checkpoint()


class RuledSwarm(Swarm):
    """The connections of one node.

    Args:
        peer_id: Our own.
        peerstore: Addresses by which `dial_peer` may reach others.
        upgrader: Secures and multiplexes what connects.
        limits: See there.
    """

    def __init__(
        self, peer_id: ID, peerstore: PeerStore, upgrader: TransportUpgrader, limits: Limits
    ) -> None:
        config = ConnectionConfig(
            max_connections=limits.connections_max,
            high_watermark=limits.connections_max,
            low_watermark=0,
            min_connections=0,
            max_connections_per_peer=limits.connections_per_peer_max,
            inbound_upgrade_timeout=limits.handshake_seconds,
            outbound_upgrade_timeout=limits.dial_seconds,
            outbound_stream_protocol_negotiation_timeout=limits.negotiation_seconds,
            inbound_stream_protocol_negotiation_timeout=limits.negotiation_seconds,
        )
        retry = RetryConfig(max_retries=0)
        super().__init__(peer_id, peerstore, upgrader, [TCP()], retry_config=retry, connection_config=config)
        self.auto_connector = _NeverDialling(self)
        self.admission = Admission(limits)
        self.dialler = Dialler[INetConn](self._connect, self._drop, self.is_connected, limits)
        self._limits = limits
        self._protected = Protected(limits.protected_per_tag_max)
        self._opened = Shares(limits.stream_rate_of_strangers, limits.stream_rate_per_peer)
        self.passing = Passing(limits.strangers_a_pass_max)
        self._removals: dict[INetConn, trio.Event] = {}
        self._ranges: dict[INetConn, str] = {}
        self._sockets: dict[INetConn, trio.socket.SocketType] = {}
        self.connect_through: Callable[[CircuitAddress, PeerId], Awaitable[INetConn]] = _no_relays
        "Connects to a peer by way of a relay; raises `Unavailable`."
        self._leaving: set[INetConn] = set()
        self._added = trio.Event()

    # --------------------------------------------------------------- asking

    def open_connections(self, peer: PeerId) -> list[SwarmConn]:
        """List the connections to a peer that nobody has begun to close, the best one last.

        A direct one is better than one through a relay, and a newer one than an older.
        """
        conns = self.get_connections(ID(peer))
        standing = [conn for conn in conns if isinstance(conn, SwarmConn) and not conn.is_closed]
        return sorted(standing, key=lambda conn: not is_relayed(conn))

    def has_direct(self, peer: PeerId) -> bool:
        """Say whether a connection to this peer stands that needs no relay."""
        return any(not is_relayed(conn) for conn in self.open_connections(peer))

    def is_connected(self, peer: PeerId) -> bool:
        """Say whether a connection to this peer stands."""
        return bool(self.open_connections(peer))

    async def wait_disconnected(self, peer: PeerId) -> None:
        """Return once no connection to this peer stands."""
        while conns := self.open_connections(peer):
            await conns[0].event_closed.wait()
        await trio.lowlevel.checkpoint()

    def direct_connection(self, peer: PeerId) -> SwarmConn:
        """Give the best connection to a peer that needs no relay: one that we dialled, if there is one.

        Raises:
            Unavailable: There is none.
        """
        direct = [conn for conn in self.open_connections(peer) if not is_relayed(conn)]
        dialled = [conn for conn in direct if conn in self._sockets]
        if not direct:
            raise Unavailable(f"no direct connection (peer={peer_id_text(peer)})")
        return (dialled or direct)[-1]

    async def wait_direct(self, peer: PeerId) -> None:
        """Return once a connection to this peer stands that needs no relay."""
        while not self.has_direct(peer):
            await self._added.wait()
        await trio.lowlevel.checkpoint()

    def range_of(self, peer: PeerId) -> str:
        """Name the address range that a peer's best connection comes from; empty if none stands."""
        conns = self.open_connections(peer)
        return self._ranges.get(conns[-1], "") if conns else ""

    # ------------------------------------------------------------ accepting

    async def accept(self, stream: trio.SocketStream) -> None:
        """Secure an accepted socket, and hold its place for exactly as long as the connection lives.

        A task's top: it returns when the connection is gone, and raises nothing but a cancel.
        """
        try:
            host = stream.socket.getpeername()[0]
            with self.admission.connection(host):
                with self.admission.handshake(host):
                    await self.admission.turn(host)
                    raw = RawConnection(TrioTCPStream(stream), False)
                    muxed = await self.upgrade_inbound_raw_conn(raw, Multiaddr("/ip4/0.0.0.0/tcp/0"))
                await self._wait_removed(muxed, address_range(host))
        except Exception:
            # Strangers cause these at will, so they may not reach a level that anybody is paid to read.
            log.debug("accepted connection refused", exc_info=True)

    async def _wait_removed(self, muxed: IMuxedConn, where: str) -> None:
        for conn in self.get_connections(muxed.peer_id):
            if conn.muxed_conn is muxed:
                self._ranges[conn] = where
                removal = self._removals[conn] = trio.Event()
                await removal.wait()

    # ----------------------------------------------------------- protecting

    def protect_peer(self, peer: PeerId, tag: str) -> None:
        """Keep a peer's connections when places run out, for this reason."""
        self._protected.add(peer, tag)
        for conn in self.open_connections(peer):
            self._favour(conn.muxed_conn)

    def unprotect_peer(self, peer: PeerId, tag: str) -> None:
        """Let this reason no longer count."""
        self._protected.remove(peer, tag)

    def _is_protected(self, peer: PeerId) -> bool:
        return peer in self._protected

    def _favour(self, muxed_conn: IMuxedConn) -> None:
        if isinstance(muxed_conn, MuxedConnection) and not muxed_conn.is_initiator:
            where = muxed_conn.get_remote_address()
            if where is not None:
                self.admission.favour(where[0])

    async def _bear(self, peer: PeerId, opened: int) -> None:
        """Return once the others have had their share since this peer opened or reset streams."""
        is_protected = peer in self._protected
        if early := opened and self._opened.use(peer, opened, trio.current_time(), apart=is_protected):
            await trio.sleep(early)
        if not is_protected:
            await self.passing.go_by()

    def _rule(self, muxed_conn: IMuxedConn) -> None:
        """Have a new connection obey what was decided about its peer, and will be."""
        peer = PeerId(muxed_conn.peer_id.to_bytes())
        if isinstance(muxed_conn, MuxedConnection):
            muxed_conn.bear = partial(self._bear, peer)
            muxed_conn.is_peer_protected = partial(self._is_protected, peer)
        if peer in self._protected:
            self._favour(muxed_conn)

    def _make_room(self) -> None:
        conns = [conn for conn in self.get_connections() if not conn.is_closed and conn not in self._leaving]
        if is_full(conns, _is_protected, self._limits):
            leaving = who_gives_way(conns, _is_protected, self._range_of, _used_at)
            if leaving is not None:
                self._leaving.add(leaving)
                self._drop(leaving)

    def _range_of(self, conn: INetConn) -> str:
        return self._ranges.get(conn, "")

    # ------------------------------------------------------------- counting

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> SwarmConn:
        """Register a secured connection, if its peer may have one."""
        try:
            public_key_of(PeerId(muxed_conn.peer_id.to_bytes()))
            if muxed_conn.peer_id == self.self_id:
                raise RecordRejected("it proved our own key: we dialled ourselves, or the key is used twice")
        except RecordRejected as exc:
            await muxed_conn.close()
            raise SwarmException(str(exc)) from exc
        # Not before a key is proved: a bare socket must not cost anybody a connection.
        self._make_room()
        self._rule(muxed_conn)
        older = self.open_connections(PeerId(muxed_conn.peer_id.to_bytes()))
        conn = await super().add_conn(muxed_conn, direction)
        self._doubt(older)
        added, self._added = self._added, trio.Event()
        added.set()
        return conn

    def _doubt(self, older: Iterable[SwarmConn]) -> None:
        """Have a peer that dialled anew show that it still holds its older connections.

        One whose router forgot it, or that got another address, cannot close them: nobody hears of it.
        """
        for conn in older:
            if isinstance(conn.muxed_conn, MuxedConnection):
                self.manager.run_task(conn.muxed_conn.probe)

    def remove_conn(self, swarm_conn: SwarmConn) -> None:
        """Forget a closed connection, and give its place back."""
        super().remove_conn(swarm_conn)
        self._ranges.pop(swarm_conn, None)
        self._sockets.pop(swarm_conn, None)
        self._leaving.discard(swarm_conn)
        if (removal := self._removals.pop(swarm_conn, None)) is not None:
            removal.set()

    def _trim_connections(self, peer_id: ID) -> None:
        # The newest stay: a peer that dials anew has most likely lost the old ones.
        for conn in self.connections[peer_id][: -self._limits.connections_per_peer_max]:
            self._drop(conn)

    def _schedule_prune(self) -> None:
        """Never prune: `_make_room` lets idle ones go when places run out."""

    def _schedule_auto_connect(self) -> None:
        """Dial nobody on a disconnect."""

    def _drop(self, conn: INetConn) -> None:
        self.manager.run_task(self._close_connection_async, conn)

    # -------------------------------------------------------------- dialling

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """Dial by our rules where upstream dials on its own account (the DHT's pings)."""
        peer = PeerId(peer_id.to_bytes())
        try:
            await self.dialler.dial(peer, self.known_addresses(peer))
        except Unavailable as exc:
            raise SwarmException(str(exc)) from exc
        return list(self.open_connections(peer))

    def known_addresses(self, peer: PeerId) -> tuple[Address, ...]:
        """List the addresses of a peer that the peer store holds and that we could dial."""
        try:
            return tuple(_dialable(self.peerstore.addrs(ID(peer))))
        except PeerStoreError:
            return ()

    async def _connect(self, route: Route, peer: PeerId) -> INetConn:
        if isinstance(route, CircuitAddress):
            return await self.connect_through(route, peer)
        try:
            return await self.connect_over(await dialled_socket.connect(route), peer)
        except OSError as exc:
            raise Unavailable(str(exc.strerror or exc)) from exc

    async def connect_over(self, stream: trio.SocketStream, peer: PeerId) -> INetConn:
        """Secure a socket as the side that dialled, and multiplex it. A cancel or an error closes it.

        Raises:
            Unavailable: Whoever is there is not `peer`, or does not speak as we do.
        """
        try:
            host = stream.socket.getpeername()[0]
        except OSError as exc:
            stream.socket.close()
            raise Unavailable("the connection was lost at once") from exc
        conn = await self.secure(RawConnection(TrioTCPStream(stream), True), peer)
        self.note_origin(conn, host)
        if not conn.is_closed:
            self._sockets[conn] = stream.socket
        return conn

    async def secure(self, raw: RawConnection, peer: PeerId) -> INetConn:
        """Secure whatever carries bytes, as the side that dialled. As `connect_over` otherwise."""
        try:
            return await self.upgrade_outbound_raw_conn(raw, ID(peer))
        except BaseException as exc:
            # Upstream leaves it open after a cancel, and after errors of some layers.
            await raw.close()
            if isinstance(exc, Exception):
                raise _not_secured(exc) from exc
            raise

    async def secure_taken(self, raw: RawConnection) -> IMuxedConn:
        """Secure whatever carries bytes, as the side that was dialled. A cancel or an error closes it.

        Raises:
            Unavailable: Whoever is there does not speak as we do.
        """
        try:
            return await self.upgrade_inbound_raw_conn(raw, Multiaddr("/ip4/0.0.0.0/tcp/0"))
        except Exception as exc:
            raise _not_secured(exc) from exc

    def note_origin(self, conn: INetConn, host: str) -> None:
        """Count a connection for an address range: its peer's own, or that of the relay in between."""
        if not conn.is_closed:
            self._ranges[conn] = address_range(host)

    def socket_of(self, conn: INetConn) -> trio.socket.SocketType | None:
        """Give the socket that we dialled a connection on; None if it is not one of ours."""
        return self._sockets.get(conn)


def is_relayed(conn: INetConn) -> bool:
    """Say whether a connection runs through a relay."""
    return isinstance(conn, SwarmConn) and conn.muxed_conn.get_connection_type() is ConnectionType.RELAYED


def is_best(conn: SwarmConn) -> bool:
    """Say whether new streams to the peer of a connection run on this one."""
    peer = PeerId(conn.muxed_conn.peer_id.to_bytes())
    return isinstance(conn.swarm, RuledSwarm) and conn in conn.swarm.open_connections(peer)[-1:]


def _not_secured(exc: Exception) -> Unavailable:
    # Any error: what Noise, TLS and the cryptography below raise at a peer's doing has no common base.
    cause = root_cause(exc)
    return Unavailable(f"not secured: {str(cause) or type(cause).__name__}")


async def _no_relays(_route: CircuitAddress, _peer: PeerId) -> INetConn:
    raise Unavailable("relays are not used here")


def _is_protected(conn: INetConn) -> bool:
    return isinstance(conn.muxed_conn, MuxedConnection) and conn.muxed_conn.is_protected


def _used_at(conn: INetConn) -> float:
    return conn.muxed_conn.used_at if isinstance(conn.muxed_conn, MuxedConnection) else 0.0


def _dialable(multiaddrs: Iterable[object]) -> Iterator[Address]:
    for multiaddr in multiaddrs:
        try:
            address, _ = parse_address(str(multiaddr))
        except ConfigurationError:
            continue
        if address.port and not address.is_wildcard:
            yield address
