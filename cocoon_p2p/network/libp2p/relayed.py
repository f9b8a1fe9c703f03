"""The relayed connections of one node: made, taken, renewed, and left for better ones.

    dialled or taken --> best way to its peer --limit near--> a new one through the same relay
                                |                                   |
                          a direct one stands                       |
                                v                                   v
                           superseded: new streams go elsewhere; it ends when its streams have

Rule 1: a superseded connection ends once it carries only streams that whoever opened them opens again by
        himself (a channel's, a worker's session), and a few seconds have gone by: the other end may be
        about to open a stream on it. What answers a request is never cut by us.
Rule 2: whoever dialled through a relay renews the connection before the relay's limit cuts it.
Rule 3: a connection is taken only from a relay that we reserved with, and must prove the key of whom the
        relay named.

Spec: libp2p specs/relay/circuit-v2.md; DCUtR.md, step 6.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from libp2p.abc import INetConn
from libp2p.network.connection.swarm_connection import SwarmConn

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.addresses import CircuitAddress
from cocoon_p2p.network.libp2p.circuit import CircuitIO, raw_connection
from cocoon_p2p.network.libp2p.delimited import read_delimited
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.places import Places
from cocoon_p2p.network.libp2p.relay_wire import (
    HOP,
    MESSAGE_MAX_BYTES,
    Answer,
    Connect,
    Limit,
    Status,
    connect,
    judge_hop,
    judge_stop,
    stop_status,
)
from cocoon_p2p.network.libp2p.stream import Libp2pStream
from cocoon_p2p.network.libp2p.swarm import RuledSwarm, is_best
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.protocols.ids import CHANNEL, SESSION

log = logging.getLogger(__name__)

REOPENED = frozenset({CHANNEL, SESSION})
"Protocols whose streams are opened again, and lose nothing by it, by whoever opened them."

LINGER_SECONDS = 5.0
"How long a superseded connection stays at least: longer than the other end takes to learn of the better one."

RENEW_AT = 0.75
"The share of a relay's limit that is used up when a connection is renewed; the rest is for what runs."

LOOK_SECONDS = 1.0

HANDSHAKES_MAX = 32
HANDSHAKES_PER_RELAY_MAX = 16
HANDSHAKE_SECONDS = 10.0
"Connections through relays that have not proved a key: at once, of one relay, and for how long."

OpenStream = Callable[[SwarmConn, str], Awaitable[Libp2pStream]]


@dataclass(frozen=True, slots=True)
class Relayed:
    """One connection through a relay."""

    peer: PeerId
    conn: SwarmConn
    io: CircuitIO
    limit: Limit
    route: CircuitAddress | None
    "How we dialled; None if the peer did."

    @property
    def relay(self) -> SwarmConn:
        """Our connection to the relay."""
        return self.io.stream.swarm_conn

    @property
    def relay_host(self) -> str:
        """The relay's IP address; empty once it is not known any more."""
        return self.io.stream.remote_host


class RelayedConnections:
    """Those of one node.

    Args:
        swarm: All its connections.
        open_stream: Opens a stream on one of them.
        limits: See there.
    """

    def __init__(self, swarm: RuledSwarm, open_stream: OpenStream, limits: Limits) -> None:
        self.relays: set[PeerId] = set()
        "Those that we reserved with, who may pass connections on to us."

        self.on_taken: Callable[[Relayed], Awaitable[None]] | None = None
        "Run beside each connection that a peer made to us through a relay, while it lasts."

        self._swarm = swarm
        self._open_stream = open_stream
        self._limits = limits
        self._standing: dict[INetConn, Relayed] = {}
        self._handshakes = Places(
            in_all_max=HANDSHAKES_MAX, per_peer_max=HANDSHAKES_PER_RELAY_MAX, seconds=HANDSHAKE_SECONDS
        )
        swarm.connect_through = self._dial

    def find(self, conn: INetConn) -> Relayed | None:
        """Look a connection up; None if it is not relayed."""
        return self._standing.get(conn)

    # ------------------------------------------------------------------ dialling

    async def _dial(self, route: CircuitAddress, peer: PeerId) -> INetConn:
        await self._swarm.dialler.dial(route.relay, [route.relay_address])
        stream = await self._open_stream(self._swarm.direct_connection(route.relay), HOP)
        try:
            limit = await _ask_for(stream, peer)
            io = CircuitIO(stream, trio.current_time())
            conn = await self._swarm.secure(raw_connection(io, is_initiator=True), peer)
        except BaseException:
            stream.reset()
            raise
        assert isinstance(conn, SwarmConn)
        self._note_origin(conn, stream)
        self._swarm.manager.run_task(self._watch, Relayed(peer, conn, io, limit, route))
        return conn

    # ------------------------------------------------------------------ being dialled

    async def take(self, stream: Stream) -> None:
        """Take a connection that a relay passes on, and stay with it until it ends (stop protocol)."""
        assert isinstance(stream, Libp2pStream)
        with self._handshakes.take(stream.peer) as scope:
            asked = judge_stop(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))
            status = self._judge(stream, asked)
            await stream.write(stop_status(status))
            if status is not Status.OK or isinstance(asked, Answer):
                await stream.close_write()
                return
            io = CircuitIO(stream, trio.current_time())
            muxed = await self._swarm.secure_taken(raw_connection(io, is_initiator=False))
        if scope.cancelled_caught:
            return
        if PeerId(muxed.peer_id.to_bytes()) != asked.peer:
            await muxed.close()
            raise MalformedMessage("the relay named another peer than the one who came")
        for conn in self._swarm.open_connections(asked.peer):
            if conn.muxed_conn is muxed:
                self._note_origin(conn, stream)
                await self._stay(Relayed(asked.peer, conn, io, asked.limit, None))

    def _judge(self, stream: Libp2pStream, asked: Connect | Answer) -> Status:
        if isinstance(asked, Answer):
            return Status.UNEXPECTED_MESSAGE
        if stream.is_relayed or stream.peer not in self.relays:
            return Status.PERMISSION_DENIED
        taken = sum(relayed.route is None for relayed in self._standing.values())
        return Status.OK if taken < self._limits.relayed_max else Status.RESOURCE_LIMIT_EXCEEDED

    async def _stay(self, relayed: Relayed) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, relayed)
            if self.on_taken is not None:
                nursery.start_soon(self.on_taken, relayed)
            await relayed.conn.event_closed.wait()
            nursery.cancel_scope.cancel()

    # ------------------------------------------------------------------ both

    def _note_origin(self, conn: INetConn, stream: Libp2pStream) -> None:
        # Of a flood through a relay the relay's range is the crowded one: it makes room for itself.
        if stream.remote_host:
            self._swarm.note_origin(conn, stream.remote_host)

    async def _watch(self, relayed: Relayed) -> None:
        """Renew a connection in time, and end it when it is not needed any more."""
        conn, superseded_at = relayed.conn, None
        self._standing[conn] = relayed
        try:
            while not conn.is_closed:
                with trio.move_on_after(LOOK_SECONDS):
                    await conn.event_closed.wait()
                now = trio.current_time()
                if is_best(conn):
                    superseded_at = None
                    if _is_worth_renewing(relayed, now):
                        await self._renew(relayed)
                    continue
                superseded_at = superseded_at or now
                if now - superseded_at >= LINGER_SECONDS and not carries_answers(conn):
                    log.debug("relayed connection left", extra={"peer": peer_id_text(relayed.peer)})
                    await conn.close()
        except Exception:
            # A task's top: what goes wrong here must not end the node.
            log.exception("relayed connection not watched")
        finally:
            del self._standing[conn]

    async def _renew(self, relayed: Relayed) -> None:
        assert relayed.route is not None
        try:
            await self._swarm.dialler.dial_anew(relayed.peer, [relayed.route])
        except Unavailable as exc:
            log.debug("relayed connection not renewed", extra={"reason": str(exc)})


async def _ask_for(stream: Libp2pStream, peer: PeerId) -> Limit:
    await stream.write(connect(peer))
    try:
        answer = judge_hop(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))
    except MalformedMessage as exc:
        raise Unavailable(f"the relay does not answer as one: {exc}") from exc
    if not isinstance(answer, Answer) or answer.status != Status.OK:
        raise Unavailable(f"the relay does not reach the peer (answer={answer})")
    return answer.limit


def _is_worth_renewing(relayed: Relayed, now: float) -> bool:
    is_ours = relayed.route is not None
    is_near = relayed.io.used(relayed.limit, now) >= RENEW_AT
    # One that nobody uses may lapse: whoever wants to speak dials anew.
    return is_ours and is_near and bool(relayed.conn.get_streams())


def carries_answers(conn: INetConn) -> bool:
    """Say whether a connection carries a stream that nobody would open again."""
    return any(str(stream.get_protocol()) not in REOPENED for stream in conn.get_streams())
