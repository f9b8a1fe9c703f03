"""The yamux machine: its table, its bounds against a hostile peer, and what honest peers see."""

from collections.abc import Callable

import pytest

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError, Unavailable
from cocoon_p2p.network.libp2p.yamux import Session
from cocoon_p2p.network.libp2p.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GOAWAY,
    HEADER_SIZE_BYTES,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    WINDOW_INITIAL_BYTES,
    WINDOW_UPDATE,
    encode,
)
from cocoon_p2p.network.libp2p.yamux_stream import Limits, Stream

BATCH = 64 * 1024
SYN_1 = encode(WINDOW_UPDATE, SYN, 1, 0)
FIN_1 = encode(WINDOW_UPDATE, FIN, 1, 0)
RST_1 = encode(WINDOW_UPDATE, RST, 1, 0)


def listener(limits: Limits = Limits()) -> Session:
    return Session(is_dialler=False, limits=limits)


def dialler(limits: Limits = Limits()) -> Session:
    return Session(is_dialler=True, limits=limits)


def data_frame(payload: bytes, stream_id: int = 1, flags: int = 0) -> bytes:
    return encode(DATA, flags, stream_id, len(payload)) + payload


def taken(session: Session) -> bytes:
    out = b""
    while piece := session.take(BATCH):
        out += piece
    return out


def frames(wire: bytes) -> list[tuple[int, int, int, int]]:
    """The headers in `wire`; payloads are skipped."""
    found = []
    while wire:
        kind, flags = wire[1], int.from_bytes(wire[2:4], "big")
        stream_id, length = int.from_bytes(wire[4:8], "big"), int.from_bytes(wire[8:12], "big")
        found.append((kind, flags, stream_id, length))
        wire = wire[HEADER_SIZE_BYTES + (length if kind == DATA else 0) :]
    return found


def take_in(session: Session, wire: bytes, now: float = 0.0) -> list[Stream]:
    """Let a session have as many turns as these bytes need, and give what the peer opened."""
    opened = list(session.receive(wire, now).opened)
    while session.has_more:
        opened += session.receive(b"", now).opened
    return opened


def talk(one: Session, other: Session, now: float = 0.0) -> None:
    """Carry bytes both ways until both are silent."""
    while one.has_output or other.has_output:
        take_in(other, bytes(one.take(BATCH)), now)
        take_in(one, bytes(other.take(BATCH)), now)


# --- The table: a stream in each phase, and each thing that can happen to it.


def opened() -> tuple[Session, Stream]:
    session = listener()
    (stream,) = session.receive(SYN_1, 0.0).opened
    return session, stream


def closed_here() -> tuple[Session, Stream]:
    session, stream = opened()
    session.close_write(stream)
    session.take(BATCH)
    return session, stream


def closed_there() -> tuple[Session, Stream]:
    session, stream = opened()
    session.receive(FIN_1, 0.0)
    return session, stream


def gone() -> tuple[Session, Stream]:
    session, stream = closed_here()
    session.receive(FIN_1, 0.0)
    return session, stream


def was_reset() -> tuple[Session, Stream]:
    session, stream = opened()
    session.reset(stream)
    session.take(BATCH)
    return session, stream


PHASES: dict[str, Callable[[], tuple[Session, Stream]]] = {
    "open": opened,
    "closed here": closed_here,
    "closed there": closed_there,
    "gone": gone,
    "reset": was_reset,
}


def phase_of(session: Session, stream: Stream) -> str:
    if stream.was_reset:
        return "reset"
    if session.streams.get(stream.id) is not stream:
        return "gone"
    if stream.fin_wanted:
        return "closed here"
    return "closed there" if stream.fin_received else "open"


# `!` is an error that ends the connection, `?` a fault of our own code.
TABLE = """
phase        | data        | window update | fin          | rst   | write        | close       | reset
open         | open        | open          | closed there | reset | open         | closed here | reset
closed here  | closed here | closed here   | gone         | reset | ?            | closed here | reset
closed there | !           | closed there  | closed there | reset | closed there | gone        | reset
gone         | gone        | gone          | gone         | gone  | ?            | gone        | reset
reset        | reset       | reset         | reset        | reset | ?            | reset       | reset
"""

FROM_PEER = {
    "data": data_frame(b"x"),
    "window update": encode(WINDOW_UPDATE, 0, 1, 1),
    "fin": FIN_1,
    "rst": RST_1,
}

FROM_US: dict[str, Callable[[Session, Stream], object]] = {
    "write": lambda session, stream: session.write(stream, b"x"),
    "close": lambda session, stream: session.close_write(stream),
    "reset": lambda session, stream: session.reset(stream),
}


def cells() -> list[tuple[str, str, str]]:
    title, *rows = ([cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines())
    return [
        (phase, event, then)
        for phase, *outcomes in rows
        for event, then in zip(title[1:], outcomes, strict=True)
    ]


@pytest.mark.parametrize(("phase", "event", "then"), cells())
def test_a_stream_moves_as_the_table_says(phase: str, event: str, then: str) -> None:
    session, stream = PHASES[phase]()

    def happen() -> None:
        if event in FROM_PEER:
            session.receive(FROM_PEER[event], 0.0)
        else:
            FROM_US[event](session, stream)
        session.take(BATCH)

    if then == "!":
        with pytest.raises(RemoteProtocolError):
            happen()
    elif then == "?":
        with pytest.raises(LocalProtocolError):
            happen()
    else:
        happen()
        assert phase_of(session, stream) == then


def test_resetting_a_stream_that_is_gone_tells_the_peer_nothing() -> None:
    session, stream = gone()

    session.reset(stream)

    assert not session.has_output


# --- A hostile peer.

HOSTILE = {
    "more data than its window": SYN_1 + data_frame(bytes(65536)) * 4 + data_frame(b"x"),
    "a length beyond its window": encode(DATA, SYN, 1, WINDOW_INITIAL_BYTES + 1),
    "a window of more than 32 bits": SYN_1 + encode(WINDOW_UPDATE, 0, 1, 0xFFFFFFFF),
    "windows that add up to more than 32 bits": SYN_1 + encode(WINDOW_UPDATE, 0, 1, 1 << 31) * 2,
    "a stream with an id of ours": encode(WINDOW_UPDATE, SYN, 2, 0),
    "stream 0": encode(WINDOW_UPDATE, SYN, 0, 0),
    "a stream that is open": SYN_1 + SYN_1,
    "data after its end": SYN_1 + FIN_1 + data_frame(b"x"),
    "data after an end that came with data": data_frame(b"x", flags=SYN | FIN) + data_frame(b"x"),
    "another version": b"\1" + bytes(11),
    "a kind of frame that is not known": encode(4, 0, 0, 0),
    "pings whose answers it does not take": encode(PING, SYN, 0, 1) * 6000,
    "streams whose refusals it does not take": b"".join(
        encode(WINDOW_UPDATE, SYN, 2 * n + 1, 0) for n in range(8000)
    ),
}


@pytest.mark.parametrize("wire", HOSTILE.values(), ids=HOSTILE)
def test_a_peer_that_sends_this_is_told_and_left(wire: bytes) -> None:
    session = listener()

    with pytest.raises(RemoteProtocolError):
        take_in(session, wire)

    assert frames(taken(session))[-1] == (GOAWAY, 0, 0, PROTOCOL_ERROR)


HARMLESS = {
    "data for a stream that never was": data_frame(b"x", stream_id=9),
    "a window update for a stream that never was": encode(WINDOW_UPDATE, 0, 9, 1),
    "an end of a stream that never was": encode(WINDOW_UPDATE, FIN, 9, 0),
    "a reset of a stream that never was": encode(WINDOW_UPDATE, RST, 9, 0),
    "an answer to a ping that never was": encode(PING, ACK, 0, 9),
    "a ping that neither asks nor answers": encode(PING, 0, 0, 9),
    "an acceptance of its own stream": SYN_1 + encode(WINDOW_UPDATE, ACK, 1, 0),
    "an end twice": SYN_1 + FIN_1 + FIN_1,
    "an empty end after an end": SYN_1 + FIN_1 + encode(DATA, FIN, 1, 0),
    "a stream that ends with its first byte": data_frame(b"x", flags=SYN | FIN),
    "a stream that is reset with its first frame": encode(WINDOW_UPDATE, SYN | RST, 1, 0),
    "a goaway twice": encode(GOAWAY, 0, 0, 0) * 2,
    "a goaway for a reason of its own": encode(GOAWAY, 0, 0, 77),
}


@pytest.mark.parametrize("wire", HARMLESS.values(), ids=HARMLESS)
def test_a_peer_that_sends_this_stays_connected(wire: bytes) -> None:
    session = listener()

    session.receive(wire, 0.0)

    assert session.local_goaway is None
    assert session.unread_bytes == sum(len(stream.unread) for stream in session.streams.values())


def test_streams_beyond_the_limit_are_refused_and_the_others_live() -> None:
    session = listener(Limits(inbound_max=3))

    take_in(session, b"".join(data_frame(b"x", 2 * n + 1, SYN) for n in range(5)))

    assert sorted(session.streams) == [1, 3, 5]
    assert frames(taken(session)) == [(WINDOW_UPDATE, RST, 7, 0), (WINDOW_UPDATE, RST, 9, 0)]


def test_frames_that_cost_more_than_their_bytes_are_taken_in_by_turns() -> None:
    session = listener(Limits(turn_frames=100))
    wire = b"".join(encode(WINDOW_UPDATE, 0, 1, 1) for _ in range(250))

    session.receive(SYN_1 + wire, 0.0)

    credits = []
    while session.has_more:
        credits.append(session.streams[1].send_window_bytes - WINDOW_INITIAL_BYTES)
        session.receive(b"", 0.0)
    assert credits == [99, 199]
    assert session.streams[1].send_window_bytes == WINDOW_INITIAL_BYTES + 250


def test_streams_that_come_all_at_once_are_taken_in_a_few_at_a_time() -> None:
    session = listener(Limits(turn_streams=2))

    news = session.receive(b"".join(data_frame(b"x", 2 * n + 1, SYN) for n in range(5)), 0.0)

    assert [stream.id for stream in news.opened] == [1, 3]
    assert session.has_more
    assert [stream.id for stream in take_in(session, b"")] == [5, 7, 9]
    assert [stream.unread for stream in session.streams.values()] == [b"x"] * 5
    assert session.unread_bytes == 5
    assert not session.has_more


def test_what_comes_with_a_stream_comes_in_the_turn_that_opens_it() -> None:
    session = listener(Limits(turn_streams=1))

    session.receive(data_frame(b"header", 1, SYN) + data_frame(b"question") + FIN_1, 0.0)

    assert not session.has_more
    assert session.streams[1].unread == b"headerquestion"


def test_nobody_hears_of_a_stream_that_was_reset_as_soon_as_it_was_opened() -> None:
    session = listener()

    news = session.receive(SYN_1 + data_frame(b"hello") + RST_1 + data_frame(b"x", 3, SYN), 0.0)

    assert [stream.id for stream in news.opened] == [3]
    assert session.churned == 1


def test_a_stream_that_we_opened_and_the_peer_resets_is_no_churn() -> None:
    session = dialler()
    session.announce(session.open(0.0))

    session.receive(RST_1, 0.0)

    assert session.churned == 0


def test_a_stream_that_ended_makes_room_for_another() -> None:
    session = listener(Limits(inbound_max=1))
    session.receive(SYN_1 + RST_1, 0.0)

    news = session.receive(encode(WINDOW_UPDATE, SYN, 3, 0), 0.0)

    assert [stream.id for stream in news.opened] == [3]


def test_too_much_unread_resets_the_fullest_stream_and_not_the_one_that_crossed_the_limit() -> None:
    session = listener(Limits(unread_max_bytes=100_000))
    hog, modest = data_frame(bytes(90_000), 1, SYN), data_frame(bytes(20_000), 3, SYN)

    session.receive(hog, 0.0)
    news = session.receive(modest, 0.0)

    assert list(session.streams) == [3]
    assert session.unread_bytes == 20_000
    assert [stream.id for stream in news.writable] == [1]
    assert (WINDOW_UPDATE, RST, 1, 0) in frames(taken(session))


def test_what_is_still_under_way_for_a_reset_stream_is_not_kept() -> None:
    session, stream = opened()
    session.receive(encode(DATA, 0, 1, 100) + bytes(40), 0.0)
    session.reset(stream)

    session.receive(bytes(60) + data_frame(bytes(1000)), 0.0)

    assert session.unread_bytes == 0
    assert not stream.unread


def test_data_for_a_stream_that_is_gone_does_not_end_up_in_another() -> None:
    session, stream = opened()

    session.receive(data_frame(b"mine") + data_frame(b"lost", stream_id=9), 0.0)

    assert stream.unread == b"mine"


@pytest.mark.parametrize(
    "wire", [encode(WINDOW_UPDATE, FIN | RST, 1, 0), encode(DATA, FIN | RST, 1, 1) + b"x"]
)
def test_an_end_and_a_reset_at_once_are_a_reset(wire: bytes) -> None:
    session, stream = closed_here()

    session.receive(wire, 0.0)

    assert phase_of(session, stream) == "reset"
    assert not session.streams


def test_nothing_is_accepted_after_our_goaway() -> None:
    session = listener()
    session.go_away(NORMAL)

    news = session.receive(SYN_1, 0.0)

    assert not news.opened
    assert frames(taken(session)) == [(GOAWAY, 0, 0, NORMAL), (WINDOW_UPDATE, RST, 1, 0)]


# --- Windows.


def filled(session: Session, now: float) -> tuple[Stream, bytes]:
    """A stream whose window the peer has used up, and what it sent for it."""
    payload = bytes(range(256)) * (WINDOW_INITIAL_BYTES // 256)
    (stream,) = session.receive(data_frame(payload, flags=SYN), now).opened
    return stream, payload


def test_no_credit_is_given_before_half_the_window_was_read() -> None:
    session = listener()
    stream, _ = filled(session, 0.0)

    session.read(stream, WINDOW_INITIAL_BYTES // 2 - 1, 1.0)

    assert not session.has_output


def test_half_a_window_read_is_credited_and_carries_the_acceptance() -> None:
    session = listener()
    stream, _ = filled(session, 0.0)

    session.read(stream, WINDOW_INITIAL_BYTES // 2, 1.0)

    assert frames(taken(session)) == [(WINDOW_UPDATE, ACK, 1, WINDOW_INITIAL_BYTES // 2)]


def test_a_stalled_reader_costs_at_most_its_window() -> None:
    session = listener()
    _, payload = filled(session, 0.0)

    with pytest.raises(RemoteProtocolError, match="data beyond the window"):
        session.receive(data_frame(b"x"), 0.0)

    assert session.unread_bytes == len(payload)


def test_what_a_frame_has_yet_to_bring_is_not_credited_a_second_time() -> None:
    session, stream = opened()
    whole = data_frame(bytes(WINDOW_INITIAL_BYTES))
    half = len(whole) // 2 + 100

    session.receive(whole[:half], 0.0)
    session.read(stream, None, 0.0)
    session.receive(whole[half:], 0.0)

    assert len(stream.unread) + stream.receive_window_bytes <= WINDOW_INITIAL_BYTES


@pytest.fixture
def pinged() -> Session:
    """A session whose round trip is known to be 0.1 seconds."""
    session = listener(Limits(window_max_bytes=1 << 20, growth_max_bytes=1 << 20))
    session.ping(0.0)
    session.receive(encode(PING, ACK, 0, 1), 0.1)
    session.take(BATCH)
    return session


def test_a_window_that_is_read_within_four_round_trips_doubles(pinged: Session) -> None:
    stream, _ = filled(pinged, 10.0)

    pinged.read(stream, None, 10.39)

    assert stream.receive_window_full_bytes == 2 * WINDOW_INITIAL_BYTES
    assert stream.receive_window_bytes == 2 * WINDOW_INITIAL_BYTES


def test_a_window_that_is_read_slowly_stays(pinged: Session) -> None:
    stream, _ = filled(pinged, 10.0)

    pinged.read(stream, None, 10.41)

    assert stream.receive_window_full_bytes == WINDOW_INITIAL_BYTES


def test_windows_stop_growing_at_the_limit_of_the_connection(pinged: Session) -> None:
    for stream_id in (1, 3, 5, 7, 9):
        for _ in range(4):
            stream = pinged.streams.get(stream_id)
            size = stream.receive_window_bytes if stream else WINDOW_INITIAL_BYTES
            pinged.receive(data_frame(bytes(size), stream_id, 0 if stream else SYN), 10.0)
            pinged.read(pinged.streams[stream_id], None, 10.0)

    windows = [stream.receive_window_full_bytes for stream in pinged.streams.values()]
    assert max(windows) <= pinged.limits.window_max_bytes
    assert sum(windows) - 5 * WINDOW_INITIAL_BYTES == pinged.limits.growth_max_bytes


def test_growth_is_given_back_when_its_stream_ends(pinged: Session) -> None:
    for stream_id in range(1, 41, 2):
        pinged.receive(data_frame(bytes(WINDOW_INITIAL_BYTES), stream_id, SYN), 10.0)
        stream = pinged.streams[stream_id]
        pinged.read(stream, None, 10.0)
        assert stream.receive_window_full_bytes == 2 * WINDOW_INITIAL_BYTES
        pinged.reset(stream)


def test_a_writer_never_sends_beyond_the_window_it_was_given() -> None:
    session = dialler(Limits(unsent_max_bytes=1 << 20))
    stream = session.open(0.0)
    session.write(stream, bytes(WINDOW_INITIAL_BYTES + 10_000))

    sent = sum(length for kind, _, _, length in frames(taken(session)) if kind == DATA)
    session.receive(encode(WINDOW_UPDATE, ACK, 1, 4_000), 0.0)
    sent_after = sum(length for kind, _, _, length in frames(taken(session)) if kind == DATA)

    assert (sent, sent_after) == (WINDOW_INITIAL_BYTES, 4_000)


# --- Sending.


def test_a_stream_opens_with_its_first_data_and_ends_with_a_frame_of_its_own() -> None:
    session = dialler()
    stream = session.open(0.0)
    session.write(stream, b"hello")
    session.close_write(stream)

    assert taken(session) == data_frame(b"hello", 1, SYN) + encode(WINDOW_UPDATE, FIN, 1, 0)


def test_the_end_waits_until_the_last_byte_has_a_window() -> None:
    session = dialler(Limits(unsent_max_bytes=1 << 20))
    stream = session.open(0.0)
    session.write(stream, bytes(WINDOW_INITIAL_BYTES + 1))
    session.close_write(stream)
    assert FIN not in [flags for _, flags, _, _ in frames(taken(session))]

    session.receive(encode(WINDOW_UPDATE, ACK, 1, 1), 0.0)

    assert frames(taken(session)) == [(DATA, 0, 1, 1), (WINDOW_UPDATE, FIN, 1, 0)]


def test_a_stream_that_was_never_used_is_opened_and_reset_in_silence() -> None:
    session = dialler()

    session.reset(session.open(0.0))

    assert not session.has_output
    assert not session.streams


def test_a_stream_that_only_listens_is_announced() -> None:
    session = dialler()

    session.announce(session.open(0.0))

    assert taken(session) == SYN_1


def test_streams_take_turns_and_control_goes_first() -> None:
    session = dialler(Limits(frame_max_bytes=1024))
    bulk, small = session.open(0.0), session.open(0.0)
    session.write(bulk, bytes(4096))
    session.write(small, b"short")
    session.ping(0.0)

    order = [(kind, stream_id) for kind, _, stream_id, _ in frames(taken(session))]

    assert order == [(PING, 0), (DATA, 1), (DATA, 3), (DATA, 1), (DATA, 1), (DATA, 1)]


@pytest.mark.parametrize("size_max_bytes", [4096, 10_000, BATCH])
def test_a_batch_is_never_larger_than_asked(size_max_bytes: int) -> None:
    session = dialler()
    for _ in range(5):
        stream = session.open(0.0)
        session.write(stream, bytes(50_000))
        session.close_write(stream)
    wire = b""

    while batch := session.take(size_max_bytes):
        assert len(batch) <= size_max_bytes
        wire += batch

    assert sum(length for kind, _, _, length in frames(wire) if kind == DATA) == 250_000


def test_a_writer_is_turned_away_when_the_buffer_is_full_and_told_when_there_is_room() -> None:
    session = dialler(Limits(unsent_max_bytes=1000))
    stream = session.open(0.0)

    assert session.write(stream, bytes(1500)) == 1000
    assert session.write(stream, b"x") == 0
    assert session.drained() == []

    session.take(BATCH)

    assert session.drained() == [stream]
    assert session.drained() == []


# --- The life of streams.


def test_streams_beyond_those_the_peer_accepted_have_to_wait() -> None:
    session = dialler(Limits(unacknowledged_max=2))
    session.open(0.0)
    session.open(0.0)
    assert not session.can_open
    with pytest.raises(Unavailable, match="no room"):
        session.open(0.0)

    session.receive(encode(WINDOW_UPDATE, ACK, 1, 0) * 2, 0.0)

    assert session.can_open
    session.open(0.0)
    assert not session.can_open


def test_an_ended_stream_gives_its_place_back_even_if_it_was_never_accepted() -> None:
    session = dialler(Limits(outbound_max=1, unacknowledged_max=1))

    for _ in range(3):
        session.reset(session.open(0.0))

    assert session.can_open


def test_nothing_is_opened_once_the_peer_goes_away() -> None:
    session = dialler()
    session.receive(encode(GOAWAY, 0, 0, NORMAL), 0.0)

    with pytest.raises(Unavailable, match="going away"):
        session.open(0.0)


def test_ids_are_not_used_again_when_they_run_out() -> None:
    session = dialler()
    session._next_id = 0xFFFFFFFF

    assert session.open(0.0).id == 0xFFFFFFFF
    with pytest.raises(Unavailable):
        session.open(0.0)


def test_what_came_before_the_end_is_read_after_the_stream_is_gone() -> None:
    session, stream = opened()
    session.receive(data_frame(b"last words") + FIN_1, 0.0)
    session.close_write(stream)
    session.take(BATCH)

    assert phase_of(session, stream) == "gone"
    assert session.unread_bytes == 0
    assert session.read(stream, None, 0.0) == b"last words"
    assert session.unread_bytes == 0


def test_what_came_before_the_connection_was_lost_is_still_read() -> None:
    session = listener()
    take_in(session, data_frame(b"half", 1, SYN) + data_frame(b"whole", 3, SYN | FIN))

    half, whole = session.terminate()

    assert (session.read(half, None, 0.0), half.was_reset) == (b"half", True)
    assert (session.read(whole, None, 0.0), whole.was_reset) == (b"whole", False)
    assert not session.has_output


def test_a_closed_stream_that_the_peer_leaves_half_open_is_reset() -> None:
    session, stream = opened()
    session.close(stream, 100.0)
    session.take(BATCH)

    assert session.tick(160.0) == ()
    assert session.tick(160.1) == (stream,)
    assert frames(taken(session)) == [(WINDOW_UPDATE, RST, 1, 0)]


def test_a_closed_stream_waits_for_a_peer_that_still_takes_its_bytes() -> None:
    session = dialler(Limits(unsent_max_bytes=1 << 20))
    stream = session.open(0.0)
    session.write(stream, bytes(WINDOW_INITIAL_BYTES + 2000))
    session.close(stream, 0.0)
    session.take(1 << 20)

    for minute in range(1, 3):
        session.receive(encode(WINDOW_UPDATE, ACK, 1, 1000), minute * 50.0)
        session.take(BATCH)
        assert session.tick(minute * 50.0 + 20.0) == ()

    assert session.tick(161.0) == (stream,)


def test_a_half_closed_stream_waits_for_its_answer_for_ever() -> None:
    session, stream = opened()
    session.close_write(stream)
    session.take(BATCH)

    assert session.tick(1e9) == ()
    assert phase_of(session, stream) == "closed here"


def test_the_round_trip_is_measured_by_the_answer_to_the_last_ping_only() -> None:
    session = dialler()
    session.ping(5.0)
    session.ping(6.0)
    assert frames(taken(session)) == [(PING, SYN, 0, 1)]

    session.receive(encode(PING, ACK, 0, 77), 7.0)
    assert session.pinged_at == 5.0
    session.receive(encode(PING, ACK, 0, 1), 7.0)

    assert (session.round_trip_seconds, session.pinged_at) == (2.0, None)


def test_a_ping_is_answered_with_its_own_number() -> None:
    session = listener()

    session.receive(encode(PING, SYN, 0, 1234), 0.0)

    assert taken(session) == encode(PING, ACK, 0, 1234)


# --- The byte stream, cut anywhere.


def conversation() -> bytes:
    """What a dialler sends that uses every kind of frame."""
    session = dialler(Limits(frame_max_bytes=40))
    first, second, third = (session.open(0.0) for _ in range(3))
    session.ping(0.0)
    session.write(first, b"a question that takes more than one frame to ask")
    session.write(second, b"half a thought")
    session.announce(third)
    wire = taken(session)
    session.close_write(first)
    session.reset(second)
    session.go_away(NORMAL)
    return wire + taken(session)


def test_every_cut_of_the_byte_stream_means_the_same() -> None:
    wire = conversation()

    def outcome(*pieces: bytes) -> tuple[object, ...]:
        session = listener()
        opened: list[Stream] = []
        for piece in pieces:
            opened += take_in(session, piece)
        # Whether anybody hears of the one that is reset depends on the cut.
        streams = [
            (s.id, bytes(s.unread), s.fin_received, s.receive_window_bytes) for s in opened if not s.was_reset
        ]
        return streams, list(session.streams), session.churned, session.peer_goaway, taken(session)

    whole = outcome(wire)
    assert whole[1:3] == ([1, 5], 1)

    for cut in range(1, len(wire)):
        assert outcome(wire[:cut], wire[cut:]) == whole
    assert outcome(*(wire[at : at + 1] for at in range(len(wire)))) == whole


def test_two_sessions_end_with_empty_books() -> None:
    one, other = dialler(), listener()
    question = one.open(0.0)
    one.write(question, b"?" * 1000)
    one.close_write(question)
    talk(one, other)
    answer = other.streams[1]
    assert other.read(answer, None, 0.0) == b"?" * 1000
    other.write(answer, b"!")
    other.close_write(answer)
    talk(one, other)
    assert one.read(question, None, 0.0) == b"!"

    for session in (one, other):
        assert not session.streams
        assert (session._inbound, session._outbound, session._unacknowledged) == (0, 0, 0)
        assert (session.unread_bytes, session._growth_bytes) == (0, 0)
