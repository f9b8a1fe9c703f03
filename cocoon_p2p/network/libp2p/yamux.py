"""Yamux: many streams over one connection, as a machine without IO.

The peer's bytes go in through `receive`, which tells what they changed; bytes for the peer come
out of `take`. Nothing here waits, so whoever runs it in one task at a time finds every call
whole: no cancel can tear a frame, and no lock is needed.

    open, SYN in     close_write                FIN in
    --------> OPEN -------------> CLOSED HERE ----------> gone
               |     FIN in                   close_write
               +----------------> CLOSED THERE ---------> gone (once our FIN has left)
               |
               +--- reset, RST in, too much unread, lingered too long ---> RESET (and gone)

    the peer sends                        and we
    SYN, an id of its own, room           open the stream
    SYN otherwise                         RST if only the room is lacking, else fail
    DATA within its window                keep it until it is read
    DATA beyond its window, or after FIN  fail
    DATA for a stream that is gone        skip it: it may have been under way
    WINDOW_UPDATE                         send more; fail if the window exceeds 32 bits
    more unread than we keep at all       reset the fullest stream; the connection lives
    PING SYN                              answer
    GOAWAY                                open nothing any more
    requests whose answers it won't take  fail
    (to fail is: GOAWAY, raise RemoteProtocolError, and the connection has to end)

Rule 1: the peer's good will is not needed for any bound in `Limits`.
Rule 2: SYN and ACK ride on the first frame that leaves anyway, so a stream costs no frame to
open, and one that is reset before it was used is never heard of.

It changes in place and is no `step(state, event)`: it passes every byte that the node sends, and
its state is megabytes of buffers. Times are seconds on any steady clock of the caller's.

Spec: see `yamux_frames`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError, Unavailable
from cocoon_p2p.network.libp2p.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GOAWAY,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    STREAM_ID_MAX,
    SYN,
    WINDOW_INITIAL_BYTES,
    WINDOW_MAX,
    WINDOW_UPDATE,
    FrameReader,
    Header,
    Payload,
)
from cocoon_p2p.network.libp2p.yamux_outbox import Outbox
from cocoon_p2p.network.libp2p.yamux_stream import Limits, Stream


@dataclass(frozen=True, slots=True)
class News:
    """What the peer's bytes changed: each stream once, in the order in which it was first heard of."""

    opened: dict[Stream, None] = field(default_factory=dict[Stream, None])
    "Streams that the peer opened, but for those that it reset at once: nobody need ever hear of them."

    readable: dict[Stream, None] = field(default_factory=dict[Stream, None])
    "Bytes came, or the end, or a reset."

    writable: dict[Stream, None] = field(default_factory=dict[Stream, None])
    "A reset: whoever waits to write waits in vain."


class Session:
    """One connection's streams and the books that are kept of them."""

    def __init__(self, *, is_dialler: bool, limits: Limits) -> None:
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self.unread_bytes = 0
        self.round_trip_seconds = 0.0
        "Smoothed; 0 until the first ping was answered."

        self.pinged_at: float | None = None
        "When the ping was sent that is not answered yet."

        self.local_goaway: int | None = None
        self.peer_goaway: int | None = None
        self._id_parity = 1 if is_dialler else 0
        self._next_id = 1 if is_dialler else 2
        self._inbound = self._outbound = self._unacknowledged = 0
        self._growth_bytes = 0
        self._ping_number = 0
        self._outbox = Outbox(limits)
        self.churned = 0
        "How many streams the peer has opened and then reset, ever."

        self._reader = FrameReader()
        self._parts: Iterator[Header | Payload] | None = None
        self._postponed: Header | None = None
        "What is left of the bytes that came, while `has_more`: this frame first."

        self._payload_stream: Stream | None = None
        self._payload_flags = 0

    @property
    def can_open(self) -> bool:
        """Whether `open` finds room now. Room comes when a stream ends or the peer accepts one."""
        return (
            self._outbound < self.limits.outbound_max
            and self._unacknowledged < self.limits.unacknowledged_max
        )

    def open(self, now: float) -> Stream:
        """Open a stream. The peer hears of it with the first frame (see `announce`).

        Raises:
            Unavailable: One side is going away, there is no room, or all ids have been used.
        """
        if self.peer_goaway is not None or self.local_goaway is not None:
            raise Unavailable("connection is going away")
        if not self.can_open or self._next_id > STREAM_ID_MAX:
            raise Unavailable(f"no room for a stream (open={self._outbound} next_id={self._next_id})")
        stream = Stream(self._next_id, SYN, now)
        self._next_id += 2
        self.streams[stream.id] = stream
        self._outbound += 1
        self._unacknowledged += 1
        return stream

    def announce(self, stream: Stream) -> None:
        """Send a SYN or ACK that is still owed, although there are no bytes to carry it."""
        if stream.owed_flags:
            self._outbox.queue(stream)

    def write(self, stream: Stream, data: bytes | memoryview) -> int:
        """Take as much of `data` as there is room for, and say how much that was.

        Less than all of it means that the stream will be in `drained` when there is room.

        Raises:
            LocalProtocolError: The stream was closed for writing, or is no more.
        """
        if stream.fin_wanted or stream.was_reset:
            raise LocalProtocolError(f"write on a closed stream (stream={stream.id})")
        room = self.limits.unsent_max_bytes - len(stream.unsent)
        if len(data) > room:
            stream.was_full = True
            data = data[: max(room, 0)]
        stream.unsent += data
        self._outbox.unsent_bytes += len(data)
        if stream.unsent and stream.send_window_bytes:
            self._outbox.queue(stream)
        return len(data)

    def read(self, stream: Stream, size_max_bytes: int | None, now: float) -> bytes:
        """Take out up to `size_max_bytes` (None: all) of what came, and give the peer credit for it."""
        unread = stream.unread
        if size_max_bytes is not None and size_max_bytes < len(unread):
            with memoryview(unread) as view:
                data = bytes(view[:size_max_bytes])
            del unread[:size_max_bytes]
        else:
            data = bytes(unread)
            stream.unread = bytearray()  # A bytearray that was merely emptied would keep its memory.
        if self.streams.get(stream.id) is stream:
            self.unread_bytes -= len(data)
            if not stream.fin_received:
                self._refill(stream, now)
        return data

    def close_write(self, stream: Stream) -> None:
        """Send FIN after what is still unsent. The peer may go on for as long as it likes."""
        if not (stream.fin_wanted or stream.was_reset):
            stream.fin_wanted = True
            self._outbox.queue(stream)

    def close(self, stream: Stream, now: float) -> None:
        """Be done with the stream both ways: what is unsent still leaves, then it must end.

        A peer that neither takes it nor closes its side for `linger_seconds` is reset by `tick`.
        """
        self.close_write(stream)
        stream.closed_at = now

    @property
    def held_bytes(self) -> int:
        """What waits here to be read or to be sent."""
        return self.unread_bytes + self._outbox.unsent_bytes

    def fullest(self) -> Stream | None:
        """Name the stream for which most waits here to be read or to be sent, if there is one."""
        return max(self.streams.values(), key=lambda each: len(each.unread) + len(each.unsent), default=None)

    def reset(self, stream: Stream) -> None:
        """End the stream at once, both ways, and drop its buffers. Twice is harmless."""
        if stream.was_reset:
            return
        if self.streams.get(stream.id) is stream:
            if not stream.owed_flags & SYN:  # Else the peer never heard of it.
                self._outbox.put(WINDOW_UPDATE, RST, stream.id, 0)
            self._forget(stream)
        self._discard(stream)

    def ping(self, now: float) -> None:
        """Measure the round trip, unless a ping is under way."""
        if self.pinged_at is None:
            self.pinged_at = now
            self._ping_number = (self._ping_number + 1) & WINDOW_MAX
            self._outbox.put(PING, SYN, 0, self._ping_number)

    def go_away(self, reason: int = NORMAL) -> None:
        """Tell the peer, once, that we take no new streams; what is open may finish."""
        if self.local_goaway is None:
            self.local_goaway = reason
            self._outbox.put(GOAWAY, 0, 0, reason)

    def tick(self, now: float) -> tuple[Stream, ...]:
        """Reset the closed streams that the peer left half open for too long, and return them."""
        limit = now - self.limits.linger_seconds
        stale = tuple(s for s in self.streams.values() if s.closed_at is not None and s.closed_at < limit)
        for stream in stale:
            self.reset(stream)
        return stale

    def terminate(self) -> tuple[Stream, ...]:
        """Take note that the connection is lost, and return the streams that ended with it.

        What came before stays readable; after it a stream that the peer had not closed was reset.
        """
        streams = tuple(self.streams.values())
        for stream in streams:
            self._forget(stream)
            stream.unsent = bytearray()
            stream.was_reset = not stream.fin_received
        self._outbox.clear()
        return streams

    @property
    def has_output(self) -> bool:
        """Whether `take` would give anything."""
        return bool(self._outbox)

    def take(self, size_max_bytes: int) -> bytearray:
        """Take out the next bytes for the wire, empty if there are none.

        Args:
            size_max_bytes: 4 KiB at least. Control frames go whole even if they exceed it.
        """
        out = self._outbox.take(size_max_bytes)
        for stream in self._outbox.finished():
            if stream.fin_received:
                self._forget(stream)
        return out

    def drained(self) -> list[Stream]:
        """Return the streams whose writer was turned away and that have found room since last asked."""
        return self._outbox.drained()

    def receive(self, data: bytes, now: float) -> News:
        """Take the peer's bytes in, cut anywhere, for one turn.

        A turn is bounded (`Limits.turn_frames`, `turn_streams`), because small frames cost far more than
        their bytes, and streams more than that. While `has_more`, let the others have their turn and
        call again with no bytes.

        Returns:
            What they changed. `peer_goaway` and `can_open` may have changed as well.

        Raises:
            RemoteProtocolError: The peer broke the protocol or a limit. Send what `take` still
                has (it ends in a GOAWAY) and hang up.
        """
        assert not (data and self._parts), "what came before goes first"
        news, frames_left = News(), self.limits.turn_frames
        parts = self._parts = self._parts or self._reader.feed(data)
        postponed, self._postponed = self._postponed, None
        try:
            if postponed is not None:
                frames_left -= 1
                self._header_came(postponed, news, now)
            for part in parts:
                if isinstance(part, Payload):
                    self._payload_came(part, news)
                    continue
                if not frames_left or (part.flags & (SYN | RST) and self._is_for_another_turn(part, news)):
                    self._postponed = part
                    return news
                frames_left -= 1
                self._header_came(part, news, now)
        except RemoteProtocolError:
            self.go_away(PROTOCOL_ERROR)
            raise
        self._parts = None
        return news

    @property
    def has_more(self) -> bool:
        """Whether the turn ended before the bytes did."""
        return self._postponed is not None

    def _header_came(self, header: Header, news: News, now: float) -> None:
        if (owed := self._outbox.control_bytes) > self.limits.control_max_bytes:
            raise RemoteProtocolError(f"peer does not take the answers it asks for (owed={owed} bytes)")
        if header.kind <= WINDOW_UPDATE:
            self._stream_frame_came(header, news, now)
        elif header.kind == PING:
            self._ping_came(header, now)
        else:
            self.peer_goaway = header.length

    def _stream_frame_came(self, header: Header, news: News, now: float) -> None:
        if header.flags & SYN:
            self._syn_came(header.stream_id, news, now)
        # A stream that is not known was refused or ended here; what is under way for it is skipped.
        stream = self.streams.get(header.stream_id)
        if stream is not None and header.flags & ACK:
            self._ack_came(stream)
        if stream is not None and header.flags & RST:
            self._reset_came(stream, news)
            stream = None
        if header.kind == DATA:
            self._payload_stream, self._payload_flags = stream, header.flags
        if stream is None:
            return
        if header.kind == DATA:
            self._charge(stream, header.length)
        else:
            self._credit(stream, header.length, now)
            if header.flags & FIN:
                self._fin_came(stream, news)

    def _syn_came(self, stream_id: int, news: News, now: float) -> None:
        if stream_id == 0 or stream_id & 1 == self._id_parity or stream_id in self.streams:
            raise RemoteProtocolError(f"peer opened a stream with an id it may not use (stream={stream_id})")
        if self.local_goaway is not None or self._inbound >= self.limits.inbound_max:
            self._outbox.put(WINDOW_UPDATE, RST, stream_id, 0)
            return
        stream = self.streams[stream_id] = Stream(stream_id, ACK, now)
        self._inbound += 1
        news.opened[stream] = None

    def _is_for_another_turn(self, header: Header, news: News) -> bool:
        if header.kind > WINDOW_UPDATE or len(news.opened) + len(news.writable) < self.limits.turn_streams:
            return False
        # To reset what it opened a moment ago makes a turn cheaper.
        return bool(header.flags & SYN) or self.streams.get(header.stream_id) not in news.opened

    def _reset_came(self, stream: Stream, news: News) -> None:
        self.churned += not self._is_ours(stream)
        self._forget(stream)
        self._discard(stream)
        if stream in news.opened:
            del news.opened[stream]
        else:
            news.readable[stream] = news.writable[stream] = None

    def _ack_came(self, stream: Stream) -> None:
        if not stream.is_acknowledged and self._is_ours(stream):
            stream.is_acknowledged = True
            self._unacknowledged -= 1

    def _charge(self, stream: Stream, size_bytes: int) -> None:
        window = 0 if stream.fin_received else stream.receive_window_bytes
        if size_bytes > window:
            raise RemoteProtocolError(
                f"data beyond the window (stream={stream.id} length={size_bytes} window={window} bytes)"
            )
        stream.receive_window_bytes -= size_bytes

    def _credit(self, stream: Stream, size_bytes: int, now: float) -> None:
        stream.send_window_bytes += size_bytes
        if stream.send_window_bytes > WINDOW_MAX:
            raise RemoteProtocolError(
                f"window exceeds 32 bits (stream={stream.id} window={stream.send_window_bytes} bytes)"
            )
        if size_bytes and stream.unsent:
            self._outbox.queue(stream)
            if stream.closed_at is not None:
                stream.closed_at = now

    def _payload_came(self, payload: Payload, news: News) -> None:
        stream = self._payload_stream
        if stream is None or stream.was_reset:
            return
        if payload.piece:
            stream.unread += payload.piece
            self.unread_bytes += len(payload.piece)
            news.readable[stream] = None
        if payload.is_last and self._payload_flags & FIN:
            self._fin_came(stream, news)
        while self.unread_bytes > self.limits.unread_max_bytes:
            fullest = max(self.streams.values(), key=lambda each: len(each.unread))
            self.reset(fullest)
            news.readable[fullest] = news.writable[fullest] = None

    def _fin_came(self, stream: Stream, news: News) -> None:
        stream.fin_received = True
        news.readable[stream] = None
        if stream.fin_sent:
            self._forget(stream)

    def _ping_came(self, header: Header, now: float) -> None:
        if header.flags & SYN:
            self._outbox.put(PING, ACK, 0, header.length)
        elif header.flags & ACK and self.pinged_at is not None and header.length == self._ping_number:
            sample = now - self.pinged_at
            known = self.round_trip_seconds
            self.round_trip_seconds = (known + sample) / 2 if known else sample
            self.pinged_at = None

    def _refill(self, stream: Stream, now: float) -> None:
        full = stream.receive_window_full_bytes
        # What a frame said it brings is charged, and comes yet: to credit it now is to allow it twice.
        coming = self._reader.owed_bytes if stream is self._payload_stream else 0
        missing = full - stream.receive_window_bytes - len(stream.unread) - coming
        if missing * 2 < full:
            return
        growth = min(full, self.limits.window_max_bytes - full)
        if (
            growth > 0
            and now - stream.refilled_at < 4 * self.round_trip_seconds
            and self._growth_bytes + growth <= self.limits.growth_max_bytes
        ):
            stream.receive_window_full_bytes += growth
            self._growth_bytes += growth
            missing += growth
        stream.refilled_at = now
        stream.receive_window_bytes += missing
        self._outbox.put(WINDOW_UPDATE, stream.owed_flags, stream.id, missing)
        stream.owed_flags = 0

    def _is_ours(self, stream: Stream) -> bool:
        return stream.id & 1 == self._id_parity

    def _forget(self, stream: Stream) -> None:
        """Take the stream out of the books. What it still holds unread belongs to its reader now."""
        del self.streams[stream.id]
        self.unread_bytes -= len(stream.unread)
        self._growth_bytes -= stream.receive_window_full_bytes - WINDOW_INITIAL_BYTES
        if self._is_ours(stream):
            self._outbound -= 1
            self._unacknowledged -= not stream.is_acknowledged
        else:
            self._inbound -= 1

    def _discard(self, stream: Stream) -> None:
        stream.was_reset = True
        stream.unread = bytearray()
        self._outbox.drop(stream)
