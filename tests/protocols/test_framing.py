from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.protocols.framing import FrameReader, frame
from cocoon_p2p.protocols.ids import (
    FRAME_SIZE_MAX_BYTES,
    FRAME_SIZE_MAX_NEWCOMER_BYTES,
    PART_SIZE_MAX_BYTES,
)
from cocoon_p2p.protocols.messages import ExchangeId, Heartbeat, Part
from tests.protocols.shapes import MESSAGES, Bound, bounds, take_apart, values

EXCHANGE = ExchangeId(bytes(range(16)))
HEARTBEAT = Heartbeat(EXCHANGE, 7)
PART = Part(EXCHANGE, bytes(16), 1, 0, True, bytes(PART_SIZE_MAX_BYTES))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [*sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.slow
@given(
    messages=st.lists(st.sampled_from(MESSAGES).flatmap(values), max_size=6),
    places=st.lists(st.integers(0, 10_000), max_size=12),
)
@settings(deadline=None)
def test_however_the_bytes_are_cut_the_messages_are_the_same(
    messages: list[object], places: list[int]
) -> None:
    reader = FrameReader(limit=FRAME_SIZE_MAX_BYTES)

    came = [
        message for piece in cut(b"".join(map(frame, messages)), places) for message in reader.feed(piece)
    ]

    assert came == messages
    assert reader.at_boundary


def read_until_the_fault(pieces: list[bytes]) -> tuple[list[object], str]:
    reader = FrameReader(limit=200)
    came: list[object] = []
    for piece in pieces:
        try:
            came += reader.feed(piece)
        except MalformedMessage as fault:
            return came, str(fault)
    return came, str(reader.fault)


@given(
    data=st.binary(max_size=400), good=st.integers(0, 3), places=st.lists(st.integers(0, 1000), max_size=8)
)
@settings(deadline=None)
def test_however_garbage_is_cut_what_came_before_it_and_the_fault_are_the_same(
    data: bytes, good: int, places: list[int]
) -> None:
    stream = frame(HEARTBEAT) * good + data

    assert read_until_the_fault(cut(stream, places)) == read_until_the_fault([stream])


@given(pieces=st.lists(st.binary(max_size=40), max_size=20))
def test_a_reader_never_holds_more_than_one_frame(pieces: list[bytes]) -> None:
    reader = FrameReader(limit=60)

    for piece in pieces:
        try:
            reader.feed(piece)
        except MalformedMessage:
            assert not reader._buffer
            return
        assert len(reader._buffer) < 4 + 60


def test_one_byte_at_a_time_gives_the_message_with_the_last_byte() -> None:
    reader = FrameReader()
    data = frame(HEARTBEAT)

    assert [reader.feed(data[i : i + 1]) for i in range(len(data) - 1)] == [[]] * (len(data) - 1)
    assert not reader.at_boundary
    assert reader.feed(data[-1:]) == [HEARTBEAT]
    assert reader.at_boundary


def test_a_frame_above_the_limit_is_refused_by_its_length_alone() -> None:
    reader = FrameReader()

    with pytest.raises(MalformedMessage, match=rf"size={FRAME_SIZE_MAX_NEWCOMER_BYTES + 1} limit="):
        reader.feed((FRAME_SIZE_MAX_NEWCOMER_BYTES + 1).to_bytes(4, "big"))


def test_a_raised_limit_holds_for_the_next_frame() -> None:
    reader = FrameReader()
    reader.limit = FRAME_SIZE_MAX_BYTES

    assert reader.feed(frame(PART)) == [PART]


def largest(cls: type) -> Any:
    """Build an instance with every field at its bound."""
    return cls(**{bound.name: largest_of(bound) for bound in bounds(cls)})


def largest_of(bound: Bound) -> Any:
    if bound.kind is tuple:
        return (largest_of(take_apart("", bound.item)),) * bound.most
    if bound.kind is bytes:
        return bytes(bound.most)
    if bound.kind is str:
        return "a" * bound.most
    if bound.kind is bool:
        return True
    if bound.kind is int:
        return bound.most
    return max(bound.kind) if issubclass(bound.kind, IntEnum) else largest(bound.kind)


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_a_message_with_every_field_at_its_bound_fits_a_frame(cls: type) -> None:
    message = largest(cls)
    reader = FrameReader(limit=FRAME_SIZE_MAX_BYTES)

    assert reader.feed(frame(message)) == [message]


def test_what_came_before_a_malformed_frame_is_given_and_then_the_fault_for_ever() -> None:
    reader = FrameReader()

    assert reader.feed(frame(HEARTBEAT) + b"\0\0\0\x01\xff" + frame(HEARTBEAT)) == [HEARTBEAT]

    assert not reader.at_boundary
    for data in (b"", frame(HEARTBEAT)):
        with pytest.raises(MalformedMessage) as caught:
            reader.feed(data)
        assert caught.value is reader.fault


def test_an_empty_frame_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        FrameReader().feed(bytes(4))


def test_a_stream_without_a_byte_may_end() -> None:
    reader = FrameReader()

    assert reader.feed(b"") == []
    assert reader.at_boundary
    assert reader.fault is None
