"""Our yamux under py-libp2p 0.8.1: the tasks that carry bytes between a connection and its machine.

    socket -> _receive -> Session.receive -> wakes readers, writers, openers, accepters
    socket <- _send    <- Session.take    <- what streams buffered and the machine answered
              _keep_alive: a ping every 30 seconds, and the end of a connection that stopped

Rule 1: only `_send` waits for the socket, so no cancel of a stream's call can tear a record. Others write
what the socket takes at once (`flush_now`), while nothing is under way.
Rule 2: a peer that reads slowly is only slow. The connection ends if the peer breaks yamux, if a
single batch does not get into the socket within 30 seconds, or if a ping is unanswered and
nothing else came for as long.
Rule 3: `start` never raises: an error here must not end the node.
Rule 4: what a peer sends is taken in by turns, and who opens streams too quickly is read from less
often, so that no connection, however busy, has the node for itself.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.custom_types import TMuxerOptions, TProtocol
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID
from trio.lowlevel import ParkingLot, checkpoint, checkpoint_if_cancelled

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.network.libp2p.budget import Budget
from cocoon_p2p.network.libp2p.muxed_stream import MuxedStream
from cocoon_p2p.network.libp2p.rates import Bucket, Rate
from cocoon_p2p.network.libp2p.secured_io import SecuredIO, raw_below, secured_io
from cocoon_p2p.network.libp2p.yamux import News, Session
from cocoon_p2p.network.libp2p.yamux_frames import NORMAL, PROTOCOL_ERROR
from cocoon_p2p.network.libp2p.yamux_stream import Limits, Stream

log = logging.getLogger(__name__)

PING_SECONDS = 30.0
"How often the round trip is measured, and an idle connection is kept open in the NATs on its way."

DEAD_SECONDS = 30.0
"How long a batch may take into the socket, or a peer be silent after a ping."

PROBE_SECONDS = 10.0
"How long a peer that has dialled anew may be silent on its older connection."

TICK_SECONDS = 15.0
"How often those are looked at."

FLUSH_SECONDS = 1.0
"How long a closing connection waits for what is already written to leave."

CLOSE_SECONDS = 5.0
"How long the layers below may take to close."

CHURN = Rate(per_second=100, burst=10_000)
"""Streams that a peer may open and reset. Who does so for longer is told to go away. nghttp2, which has met
this as HTTP/2's Rapid Reset (CVE-2023-44487), allows a client 33 a second; our peers end a stream with a
reset when they have their answer."""

_CALLS_BEFORE_YIELD = 64


def muxer_options() -> TMuxerOptions:
    """Offer our yamux and nothing else. It takes effect only after `patches.install`."""
    return {TProtocol(PROTOCOL_ID): MuxedConnection}


class MuxedConnection(IMuxedConn):
    """A secured connection that carries streams, from `start` until either side ends it."""

    limits = Limits()
    budget = Budget()
    "Shared by all connections of the process."

    def __init__(self, secured_conn: ISecureConn, peer_id: ID) -> None:
        self.secured_conn = secured_conn
        self.peer_id = peer_id
        self.session = Session(is_dialler=secured_conn.is_initiator, limits=self.limits)
        self.event_started = trio.Event()
        self.event_closed = trio.Event()
        "Set once the connection is lost or closed, whatever the reason."

        self.on_close: Callable[[], Awaitable[None]] | None = None
        "Set by py-libp2p's SwarmConn, which wants to be told."

        self.bear: Callable[[int], Awaitable[None]] = _bear_anything
        "Returns once others have had their share since the peer opened (so many) or reset streams."

        self.is_peer_protected: Callable[[], bool] = _by_nobody
        "Says whether the connection is to be kept before others."

        self.used_at = trio.current_time()
        "When a stream was opened, or bytes came on one. Pings do not count."

        self._churn = Bucket(CHURN)
        self._churned = 0
        self._scope = trio.CancelScope()
        self._is_closing = False
        self._output = ParkingLot()
        self._openers = ParkingLot()
        self._flushed = trio.Event()
        self._accept_in, self._accept_out = trio.open_memory_channel[MuxedStream](self.limits.inbound_max)
        self._heard_at = 0.0
        self._io: SecuredIO | None = None
        self._writing_since: float | None = None
        self._calls = 0

    @property
    def is_initiator(self) -> bool:
        """Whether we dialled."""
        return self.secured_conn.is_initiator

    @property
    def is_established(self) -> bool:
        """Whether streams can be opened."""
        return self.event_started.is_set() and not self._is_ending

    @property
    def is_closed(self) -> bool:
        """Whether the connection is lost or closed."""
        return self.event_closed.is_set()

    @property
    def _is_ending(self) -> bool:
        return self._is_closing or self.session.peer_goaway is not None

    async def start(self) -> None:
        """Run for as long as the connection lives. A cancel closes the connection without a farewell."""
        if self.event_started.is_set():
            return
        io = self._io = secured_io(self.secured_conn)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_lost, self._receive, io)
                    nursery.start_soon(self._until_lost, self._send, io)
                    nursery.start_soon(self._keep_alive)
                    self.event_started.set()
        finally:
            self.event_started.set()
            with trio.move_on_after(CLOSE_SECONDS) as scope:
                scope.shield = True
                await self._finish()
        if self.on_close is not None:
            try:
                await self.on_close()
            except Exception:
                log.exception("close hook failed", extra={"peer": str(self.peer_id)})

    async def open_stream(self) -> MuxedStream:
        """Open a stream; waits while too many are open or not yet accepted. A cancel opens none.

        Raises:
            MuxedStreamError: The connection is ending.
        """
        await checkpoint_if_cancelled()
        while not (self.session.can_open or self._is_ending):
            await self._openers.park()
        if self._is_ending:
            raise MuxedStreamError("connection is ending")
        self.used_at = trio.current_time()
        try:
            return MuxedStream(self, self.session.open(self.used_at))
        except Unavailable as exc:
            raise MuxedStreamError(str(exc)) from exc

    async def accept_stream(self) -> MuxedStream:
        """Wait for a stream that the peer opens. A cancel loses none.

        Raises:
            MuxedConnUnavailable: The connection is lost or closed.
        """
        try:
            while (stream := await self._accept_out.receive()).was_reset:
                pass  # Nobody need begin with it.
        except trio.EndOfChannel:
            raise MuxedConnUnavailable("connection closed") from None
        return stream

    async def close(self) -> None:
        """Say goodbye, let what is buffered leave (for a second), and close. A cancel does not stop it."""
        if self._is_closing:
            await checkpoint()
            return
        self._is_closing = True
        if not self.event_started.is_set():
            self.event_started.set()
            await self._finish()
            return
        self.session.go_away(NORMAL)
        self._output.unpark_all()
        with trio.move_on_after(FLUSH_SECONDS) as scope:
            scope.shield = True
            await self._flushed.wait()
        self._scope.cancel()
        with trio.move_on_after(CLOSE_SECONDS) as scope:
            scope.shield = True
            await self.event_closed.wait()

    async def probe(self) -> None:
        """Ask the peer for a sign of life, and close if none comes in ten seconds. A cancel closes nothing.

        For whoever has reason to doubt: else silence is noticed after a minute.
        """
        asked_at = trio.current_time()
        self.session.ping(asked_at)
        self.flush()
        with trio.move_on_after(PROBE_SECONDS):
            await self.event_closed.wait()
        if self._heard_at < asked_at and not self.is_closed:
            log.info("connection is dead", extra={"peer": str(self.peer_id), "reason": "probe is unanswered"})
            self._scope.cancel()

    @property
    def held_bytes(self) -> int:
        """What waits here to be read or to be sent (`budget.Holder`)."""
        return self.session.held_bytes

    @property
    def is_protected(self) -> bool:
        """Whether it is kept before others (`budget.Holder`)."""
        return self.is_peer_protected()

    def shed(self) -> None:
        """Reset the stream that holds most (`budget.Holder`): memory is short."""
        stream = self.session.fullest()
        assert stream is not None, "who holds something has a stream"
        log.debug("stream reset: too much is held for others", extra={"peer": str(self.peer_id)})
        self.session.reset(stream)
        _wake_readers((stream,))
        _wake_writers((stream,))
        self.flush()

    def flush(self) -> None:
        """Wake the writer if the machine has something to send."""
        if self._output and self.session.has_output:  # Cheapest first: it mostly is awake already.
            self._output.unpark_all()

    def flush_now(self) -> None:
        """Send what the machine has from here, if nothing is under way into the socket.

        For who is about to wait for an answer: it spares the question the turn of the writer task. What
        others wrote in this turn leaves with it.
        """
        if not self.session.has_output:
            return
        io = self._io
        if io is None or self._writing_since is not None or not io.is_free:
            self.flush()
        else:
            io.write_now(self._take(io))
            if io.is_behind or self.session.has_output:
                self._output.unpark_all()

    async def pace(self) -> None:
        """Check for a cancel, and let the other tasks run at every 64th call of this connection."""
        self._calls += 1
        if self._calls < _CALLS_BEFORE_YIELD:
            await checkpoint_if_cancelled()
        else:
            self._calls = 0
            await checkpoint()

    def get_transport_addresses(self) -> list[Any]:  # Of Multiaddr, which ships no types.
        """Name the addresses that this connection runs over."""
        return raw_below(self.secured_conn).get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        """Say whether the connection is direct or relayed."""
        return raw_below(self.secured_conn).get_connection_type()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Name the peer's host and port."""
        return raw_below(self.secured_conn).get_remote_address()

    async def _until_lost(self, task: Callable[[SecuredIO], Awaitable[None]], io: SecuredIO) -> None:
        """Run one side of the connection; when it ends, for whatever reason, so does the connection."""
        try:
            await task(io)
        except RemoteProtocolError as exc:
            # At debug, as all that strangers cause at will: or they would fill the operator's disk.
            log.debug("peer broke yamux", extra={"peer": str(self.peer_id), "reason": str(exc)})
            self.session.go_away(PROTOCOL_ERROR)
            self._output.unpark_all()
            with trio.move_on_after(FLUSH_SECONDS):
                await self._flushed.wait()
        except Unavailable as exc:
            log.debug("connection lost", extra={"peer": str(self.peer_id), "reason": str(exc)})
        except Exception:
            log.exception("connection failed", extra={"peer": str(self.peer_id)})
        self._scope.cancel()

    async def _receive(self, io: SecuredIO) -> None:
        while data := await io.read():
            await self._take_in(data)
            if self._has_peer_left():
                return

    async def _take_in(self, data: bytes) -> None:
        """Hand bytes to the machine, turn by turn, and let the others have theirs between two of them."""
        while True:
            # Whom we let wait is not silent.
            now = self._heard_at = trio.current_time()
            news = self.session.receive(data, now)
            self._tell(news)
            if news.readable:
                self.used_at = now
                self.budget.note(self)
            self.flush()
            self._judge_churn(now)
            if news.opened or news.writable:
                # Meanwhile it is not read from: what it sends waits on its own side.
                await self.bear(len(news.opened))
            if not self.session.has_more:
                return
            data = b""
            await checkpoint()

    def _judge_churn(self, now: float) -> None:
        """Raise `RemoteProtocolError` at a peer that has opened and reset more than any honest one does."""
        churned, self._churned = self.session.churned - self._churned, self.session.churned
        if churned and self._churn.use(churned, now):
            raise RemoteProtocolError(f"peer opens streams to reset them (resets={self._churned})")

    def _take(self, io: SecuredIO) -> bytearray:
        data = self.session.take(io.batch_size_bytes)
        if data:
            _wake_writers(self.session.drained())
            self._wake_openers()
        return data

    async def _send(self, io: SecuredIO) -> None:
        try:
            while True:
                data = self._take(io)
                if not (data or io.is_behind):
                    if self.session.local_goaway is not None:
                        self._flushed.set()
                    await self._output.park()
                    continue
                if io.is_free and not self.session.has_output:
                    # Little, as a rule, and the socket takes it at once: trio's own sending would give all
                    # tasks a turn before this one sleeps, which gives them theirs.
                    io.write_now(data)
                    continue
                self._writing_since = trio.current_time()
                await io.write(data)
                self._writing_since = None
        finally:
            self._flushed.set()  # Nothing leaves any more, so nobody need wait for it.

    async def _keep_alive(self) -> None:
        next_ping = 0.0
        while not self._is_dead() and not self._has_peer_left():
            now = trio.current_time()
            if now >= next_ping:
                self.session.ping(now)
                next_ping = now + PING_SECONDS
            lingered = self.session.tick(now)
            _wake_readers(lingered)
            _wake_writers(lingered)
            self._wake_openers()
            self.flush()
            await trio.sleep(TICK_SECONDS)
        self._scope.cancel()

    def _is_dead(self) -> bool:
        limit = trio.current_time() - DEAD_SECONDS
        is_stuck = self._writing_since is not None and self._writing_since <= limit
        pinged_at = self.session.pinged_at
        is_silent = pinged_at is not None and max(pinged_at, self._heard_at) <= limit
        if is_stuck or is_silent:
            reason = "socket is stuck" if is_stuck else "ping is unanswered"
            log.info("connection is dead", extra={"peer": str(self.peer_id), "reason": reason})
        return is_stuck or is_silent

    def _has_peer_left(self) -> bool:
        """Whether the peer said goodbye and there is nothing left to finish."""
        return self.session.peer_goaway is not None and (
            self.session.peer_goaway != NORMAL or not self.session.streams
        )

    def _tell(self, news: News) -> None:
        for stream in news.opened:
            try:
                self._accept_in.send_nowait(MuxedStream(self, stream))
            except trio.WouldBlock:
                self.session.reset(stream)
        _wake_readers(news.readable)
        _wake_writers(news.writable)
        self._wake_openers()

    def _wake_openers(self) -> None:
        if self._openers and (self.session.can_open or self._is_ending):
            self._openers.unpark_all()

    async def _finish(self) -> None:
        self._is_closing = True
        ended = self.session.terminate()
        self.budget.forget(self)
        self.event_closed.set()
        self._accept_in.close()
        self._openers.unpark_all()
        _wake_readers(ended)
        _wake_writers(ended)
        try:
            await self.secured_conn.close()
        except Exception as exc:
            log.debug("close failed", exc_info=exc, extra={"peer": str(self.peer_id)})


async def _bear_anything(_opened: int) -> None:
    await checkpoint_if_cancelled()


def _by_nobody() -> bool:
    return False


def _wake_readers(streams: Iterable[Stream]) -> None:
    for stream in streams:
        if stream.waker is not None:
            stream.waker.wake_reader()


def _wake_writers(streams: Iterable[Stream]) -> None:
    for stream in streams:
        if stream.waker is not None:
            stream.waker.wake_writer()
