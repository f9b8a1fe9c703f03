"""A relay: it passes on sealed bytes to peers that nobody can dial, within limits.

    source ==hop stream==> relay ==stop stream==> target

What it carries is secured from end to end: it learns who talks to whom, how much and when, and
not a word. Its only memory are the windows of the two streams.

Spec: libp2p specs/relay/circuit-v2.md.
"""

import logging
import time
from contextlib import suppress

import trio
from libp2p.network.connection.swarm_connection import SwarmConn

from cocoon_p2p.errors import ConfigurationError, MalformedMessage, Unavailable
from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.network.libp2p.addresses import address_range, parse_peer_address
from cocoon_p2p.network.libp2p.delimited import read_delimited
from cocoon_p2p.network.libp2p.host import Libp2pTransport
from cocoon_p2p.network.libp2p.rates import Bucket, Rate
from cocoon_p2p.network.libp2p.relay_book import Circuit, RelayBook, RelayLimits
from cocoon_p2p.network.libp2p.relay_wire import (
    HOP,
    MESSAGE_MAX_BYTES,
    STOP,
    Answer,
    Connect,
    Reserve,
    Status,
    address_of_relay,
    granted,
    hop_status,
    incoming,
    judge_hop,
    judge_stop,
    sign_voucher,
)
from cocoon_p2p.network.libp2p.stream import Libp2pStream
from cocoon_p2p.network.transport import Stream

log = logging.getLogger(__name__)

TALK_SECONDS = 10.0
"How long either end may take to say what it wants, or to answer."

PIECE_BYTES = 16 * 1024
"Carried at a time. Four records of TLS's, and little enough that a thousand circuits hold 16 MB."

TAG = "reservation"
"Why connections of those who reserved are not let go to make room for others."

ADDRESSES_MAX = 8
"Our own, as far as we name them to who reserves."


class Relay:
    """Serves the hop protocol on a transport, from when it is made.

    Args:
        transport: Where it serves.
        identity: The transport's; signs the vouchers.
        limits: What it does for others.
    """

    def __init__(self, transport: Libp2pTransport, identity: Identity, limits: RelayLimits) -> None:
        self.book = RelayBook(transport.peer_id, limits, self._is_connected)
        self._transport = transport
        self._identity = identity
        self._limits = limits
        self._reserved_on: dict[PeerId, SwarmConn] = {}
        transport.accept_streams(HOP, self._serve)

    def _is_connected(self, peer: PeerId) -> bool:
        conn = self._reserved_on.get(peer)
        return conn is not None and not conn.is_closed

    async def _serve(self, stream: Stream) -> None:
        assert isinstance(stream, Libp2pStream)
        try:
            with trio.fail_after(TALK_SECONDS):
                asked = judge_hop(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))
        except trio.TooSlowError:
            return
        except MalformedMessage as exc:
            # Answered and not raised: the answer would be reset with the stream.
            log.debug("no hop message", extra={"reason": str(exc)})
            await _answer(stream, hop_status(Status.MALFORMED_MESSAGE))
            return
        match asked:
            case Answer():
                await _answer(stream, hop_status(Status.UNEXPECTED_MESSAGE))
            case _ if stream.is_relayed:
                await _answer(stream, hop_status(Status.PERMISSION_DENIED))
            case Reserve():
                await _answer(stream, self._reserve(stream))
            case Connect(peer=target):
                await self._connect(stream, target)

    def _reserve(self, stream: Libp2pStream) -> bytes:
        status = self.book.reserve(stream.peer, address_range(stream.remote_host), trio.current_time())
        if status is not Status.OK:
            log.debug("reservation refused", extra={"status": status.name})
            return hop_status(status)
        self._reserved_on[stream.peer] = stream.swarm_conn
        self._transport.swarm.protect_peer(stream.peer, TAG)
        self._forget_the_gone()
        expires = int(time.time()) + self._limits.reservation_seconds
        voucher = sign_voucher(self._identity, stream.peer, expires)
        return granted(expires, self._addresses(), voucher, self._limits.circuit)

    def _forget_the_gone(self) -> None:
        # Else who reserves with one key after the other has them all protected, and others no longer are.
        for peer in self._reserved_on.keys() - self.book.holders:
            del self._reserved_on[peer]
            self._transport.swarm.unprotect_peer(peer, TAG)

    def _addresses(self) -> tuple[bytes, ...]:
        found: list[bytes] = []
        for text in self._transport.addresses[:ADDRESSES_MAX]:
            with suppress(ConfigurationError):
                found.append(address_of_relay(*parse_peer_address(text)))
        return tuple(found)

    async def _connect(self, source: Libp2pStream, target: PeerId) -> None:
        where = address_range(source.remote_host)
        given = self.book.connect(source.peer, where, target, trio.current_time())
        if not isinstance(given, Circuit):
            await _answer(source, hop_status(given))
            return
        try:
            reached = await self._reach(source.peer, target)
            if reached is None:
                await _answer(source, hop_status(Status.CONNECTION_FAILED))
                return
            try:
                await source.write(hop_status(Status.OK, self._limits.circuit))
                await carry(source, reached, self._limits)
            finally:
                reached.reset()
        finally:
            self.book.close(given)

    async def _reach(self, source: PeerId, target: PeerId) -> Libp2pStream | None:
        """Open a stream to a peer with a reservation, and have it agree; None if it does not."""
        stream: Libp2pStream | None = None
        is_agreed = False
        try:
            with trio.move_on_after(TALK_SECONDS):
                stream = await self._transport.open_stream_on(self._reserved_on[target], STOP)
                await stream.write(incoming(source, self._limits.circuit))
                answer = judge_stop(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))
                is_agreed = isinstance(answer, Answer) and answer.status == Status.OK
        except (Unavailable, MalformedMessage) as exc:
            log.debug("target not reached", extra={"reason": str(exc)})
        finally:
            if stream is not None and not is_agreed:
                stream.reset()
        return stream if is_agreed else None


async def _answer(stream: Stream, message: bytes) -> None:
    await stream.write(message)
    await stream.close_write()


async def carry(source: Stream, target: Stream, limits: RelayLimits) -> None:
    """Carry bytes both ways until both ends have closed, one is lost, or a limit is reached.

    The streams are left as they are: whoever opened them resets them.
    """
    with trio.move_on_after(limits.circuit_seconds):
        async with trio.open_nursery() as nursery:
            for reader, writer in ((source, target), (target, source)):
                nursery.start_soon(_carry_one_way, reader, writer, limits, nursery.cancel_scope)


async def _carry_one_way(
    reader: Stream, writer: Stream, limits: RelayLimits, circuit: trio.CancelScope
) -> None:
    left, rate = limits.circuit_bytes, limits.circuit_bytes_per_second
    bucket = Bucket(Rate(per_second=rate, burst=rate))
    try:
        while data := await reader.read(PIECE_BYTES):
            left -= len(data)
            if left < 0:
                break
            await writer.write(data)
            if pause := bucket.use(len(data), trio.current_time()):
                await trio.sleep(pause)
        else:
            await writer.close_write()
            return
    except Unavailable:
        pass
    circuit.cancel()
