"""Two yamux machines that talk through pipes which hold, cut and delay; and one that is lied to."""

from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.network.libp2p.yamux import Session
from cocoon_p2p.network.libp2p.yamux_frames import (
    GOAWAY,
    HEADER_SIZE_BYTES,
    PROTOCOL_ERROR,
    WINDOW_INITIAL_BYTES,
    encode,
)
from cocoon_p2p.network.libp2p.yamux_stream import Limits, Stream

LIMITS = Limits(
    window_max_bytes=1 << 20,
    growth_max_bytes=1 << 20,
    unread_max_bytes=2 << 20,
    inbound_max=4,
    outbound_max=6,
    unacknowledged_max=3,
    unsent_max_bytes=300_000,
    turn_frames=3,
    turn_streams=2,
)
PATTERN = bytes(n * n % 251 for n in range(1 << 16)) * 40


def books_are_right(session: Session) -> bool:
    streams = list(session.streams.values())
    ours = [stream for stream in streams if session._is_ours(stream)]
    return (
        session.unread_bytes == sum(len(stream.unread) for stream in streams)
        and session.held_bytes == sum(len(stream.unread) + len(stream.unsent) for stream in streams)
        and session._growth_bytes
        == sum(stream.receive_window_full_bytes - WINDOW_INITIAL_BYTES for stream in streams)
        and session._outbound == len(ours)
        and session._unacknowledged == sum(not stream.is_acknowledged for stream in ours)
        and session._inbound == len(streams) - len(ours)
    )


@dataclass
class Side:
    """One end: its machine, the bytes on their way to it, and what its application did."""

    session: Session
    incoming: bytearray = field(default_factory=bytearray)
    streams: list[Stream] = field(default_factory=list)
    written: dict[int, int] = field(default_factory=dict)
    "How much of its pattern this end wrote to each stream."

    read: dict[int, int] = field(default_factory=dict)
    "How much of the other end's pattern it read."


def pattern(stream_id: int, start: int, end: int) -> bytes:
    return PATTERN[stream_id * 7 + start : stream_id * 7 + end]


class TwoSessions(RuleBasedStateMachine):
    """Whatever both applications do and however the bytes are cut, each reads a first part of what the
    other wrote, all of it if nobody resets, and two honest machines never find fault with each other."""

    @initialize()
    def connect(self) -> None:
        self.now = 0.0
        self.sides = tuple(
            Side(Session(is_dialler=is_dialler, limits=LIMITS)) for is_dialler in (True, False)
        )

    def _side(self, index: int) -> tuple[Side, Side]:
        return self.sides[index], self.sides[1 - index]

    def _stream(self, side: Side, pick: int) -> Stream | None:
        return side.streams[pick % len(side.streams)] if side.streams else None

    @rule(index=st.integers(0, 1))
    def open(self, index: int) -> None:
        side, _ = self._side(index)
        if side.session.can_open:
            side.streams.append(side.session.open(self.now))

    @rule(index=st.integers(0, 1), pick=st.integers(0, 9), size=st.sampled_from([1, 100, 33_000, 280_000]))
    def write(self, index: int, pick: int, size: int) -> None:
        side, _ = self._side(index)
        stream = self._stream(side, pick)
        if stream is None or stream.fin_wanted or stream.was_reset:
            return
        start = side.written.get(stream.id, 0)
        size = min(size, len(PATTERN) - 1000 - start)
        side.written[stream.id] = start + side.session.write(stream, pattern(stream.id, start, start + size))

    @rule(index=st.integers(0, 1), pick=st.integers(0, 9), size=st.sampled_from([1, 50_000, None]))
    def read(self, index: int, pick: int, size: int | None) -> None:
        side, other = self._side(index)
        stream = self._stream(side, pick)
        if stream is not None:
            self._read(side, other, stream, size)

    def _read(self, side: Side, other: Side, stream: Stream, size: int | None) -> None:
        data = side.session.read(stream, size, self.now)
        start = side.read.get(stream.id, 0)
        side.read[stream.id] = end = start + len(data)
        assert size is None or len(data) <= size
        assert data == pattern(stream.id, start, end)
        assert end <= other.written.get(stream.id, 0)

    @rule(index=st.integers(0, 1), pick=st.integers(0, 9), both_ways=st.booleans())
    def close(self, index: int, pick: int, both_ways: bool) -> None:
        side, _ = self._side(index)
        stream = self._stream(side, pick)
        if stream is not None and both_ways:
            side.session.close(stream, self.now)
        elif stream is not None:
            side.session.close_write(stream)

    @rule(index=st.integers(0, 1), pick=st.integers(0, 9))
    def announce(self, index: int, pick: int) -> None:
        side, _ = self._side(index)
        stream = self._stream(side, pick)
        if stream is not None:
            side.session.announce(stream)

    @rule(index=st.integers(0, 1), pick=st.integers(0, 99))
    def reset(self, index: int, pick: int) -> None:
        side, _ = self._side(index)
        stream = self._stream(side, pick) if pick < 10 else None  # Seldom, or nothing lives long.
        if stream is not None:
            side.session.reset(stream)

    @rule(index=st.integers(0, 1), seconds=st.sampled_from([0.0, 0.001, 1.0, 61.0]))
    def let_time_pass(self, index: int, seconds: float) -> None:
        side, _ = self._side(index)
        self.now += seconds
        side.session.ping(self.now)
        side.session.tick(self.now)

    @rule(index=st.integers(0, 1), size=st.sampled_from([4096, 65_519, 131_072]))
    def send(self, index: int, size: int) -> None:
        side, other = self._side(index)
        other.incoming += side.session.take(size)

    @rule(index=st.integers(0, 1), size=st.sampled_from([1, 13, 5000, 200_000]))
    def deliver(self, index: int, size: int) -> None:
        side, _ = self._side(index)
        piece = bytes(side.incoming[:size])
        del side.incoming[:size]
        self._take_in(side, piece)

    def _take_in(self, side: Side, wire: bytes) -> None:
        side.streams += side.session.receive(wire, self.now).opened
        while side.session.has_more:
            assert books_are_right(side.session)
            side.streams += side.session.receive(b"", self.now).opened

    @invariant()
    def nothing_exceeds_its_bound(self) -> None:
        for side in getattr(self, "sides", ()):
            session = side.session
            assert books_are_right(session)
            assert session.unread_bytes <= LIMITS.unread_max_bytes
            assert session._growth_bytes <= LIMITS.growth_max_bytes
            assert session._inbound <= LIMITS.inbound_max
            for stream in session.streams.values():
                assert len(stream.unsent) <= LIMITS.unsent_max_bytes
                assert (
                    0 <= stream.receive_window_bytes + len(stream.unread) <= stream.receive_window_full_bytes
                )

    def teardown(self) -> None:
        if not hasattr(self, "sides"):
            return
        self._drain()
        one, other = self.sides
        theirs = {stream.id: stream for stream in other.streams}
        for stream in one.streams:
            twin = theirs.get(stream.id)
            if twin is not None and not stream.was_reset and not twin.was_reset:
                assert one.read.get(stream.id, 0) == other.written.get(stream.id, 0)
                assert other.read.get(stream.id, 0) == one.written.get(stream.id, 0)
                assert stream.fin_wanted == twin.fin_received
                assert twin.fin_wanted == stream.fin_received

    def _drain(self) -> None:
        """Carry and read everything until both ends are silent."""
        is_busy = True
        while is_busy:
            is_busy = False
            for side, other in (self.sides, self.sides[::-1]):
                other.incoming += side.session.take(131_072)
                if other.incoming:
                    is_busy = True
                    self._take_in(other, bytes(other.incoming))
                    other.incoming.clear()
                for stream in other.streams:
                    self._read(other, side, stream, None)


TestTwoSessions = pytest.mark.slow(TwoSessions.TestCase)
TwoSessions.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)


hostile_frames = st.one_of(
    st.binary(max_size=30),
    st.builds(
        lambda kind, flags, stream_id, length, payload: encode(kind, flags, stream_id, length) + payload,
        st.sampled_from([0, 0, 0, 1, 1, 2, 3]),
        st.one_of(st.just(0), st.just(1), st.integers(0, 15)),
        st.integers(0, 6),
        st.one_of(st.integers(0, 40), st.sampled_from([1 << 18, (1 << 18) + 1, 0xFFFFFFFF])),
        st.binary(max_size=60),
    ),
)
local_acts = st.lists(
    st.sampled_from(["read", "write", "close", "reset", "take", "open", "tick"]), max_size=3
)


def act(session: Session, stream: Stream | None, what: str) -> None:
    """Do one thing that an application may do, where it is allowed."""
    if what == "open" and session.can_open and session.peer_goaway is None:
        session.announce(session.open(0.0))
    elif what == "take":
        session.take(4096)
    elif what == "tick":
        session.tick(100.0)
    elif stream is None:
        return
    elif what == "read":
        session.read(stream, 5, 0.0)
    elif what == "write" and not (stream.fin_wanted or stream.was_reset):
        session.write(stream, b"xx")
    elif what == "close":
        session.close(stream, 0.0)
    elif what == "reset":
        session.reset(stream)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(steps=st.lists(st.tuples(hostile_frames, local_acts), max_size=12), is_dialler=st.booleans())
def test_whatever_a_peer_sends_ends_in_right_books_or_in_one_error(
    steps: list[tuple[bytes, list[str]]], is_dialler: bool
) -> None:
    session = Session(is_dialler=is_dialler, limits=LIMITS)
    with suppress(RemoteProtocolError):
        for wire, acts in steps:
            session.receive(wire, 0.0)
            while session.has_more:
                session.receive(b"", 0.0)
            for what in acts:
                act(session, next(iter(session.streams.values()), None), what)
            assert books_are_right(session)

    assert books_are_right(session)
    assert session._inbound <= LIMITS.inbound_max
    if session.local_goaway is not None:
        out = b""
        while batch := session.take(4096):
            out += batch
        assert encode(GOAWAY, 0, 0, PROTOCOL_ERROR) in out
        assert len(out) >= HEADER_SIZE_BYTES
