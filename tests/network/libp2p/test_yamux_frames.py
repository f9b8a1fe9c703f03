"""The bytes of yamux frames, and a reader that does not care where they are cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.network.libp2p.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GOAWAY,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    WINDOW_UPDATE,
    FrameReader,
    Header,
    Payload,
    encode,
)

# Written by hand from the specification's layout, so that encoder and reader cannot err together.
VECTORS = {
    "data that opens a stream": (Header(DATA, SYN, 1, 5), "00 00 0001 00000001 00000005"),
    "data": (Header(DATA, 0, 0x01020304, 65536), "00 00 0000 01020304 00010000"),
    "window update that accepts": (Header(WINDOW_UPDATE, ACK, 1, 0), "00 01 0002 00000001 00000000"),
    "window update": (Header(WINDOW_UPDATE, 0, 2, 0xFFFFFFFF), "00 01 0000 00000002 ffffffff"),
    "fin": (Header(WINDOW_UPDATE, FIN, 7, 0), "00 01 0004 00000007 00000000"),
    "reset": (Header(WINDOW_UPDATE, RST, 7, 0), "00 01 0008 00000007 00000000"),
    "ping": (Header(PING, SYN, 0, 9), "00 02 0001 00000000 00000009"),
    "pong": (Header(PING, ACK, 0, 9), "00 02 0002 00000000 00000009"),
    "goaway": (Header(GOAWAY, 0, 0, PROTOCOL_ERROR), "00 03 0000 00000000 00000001"),
}

headers = st.builds(
    Header, st.integers(0, 3), st.integers(0, 15), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF)
)


@pytest.mark.parametrize(("header", "wire"), VECTORS.values(), ids=VECTORS)
def test_a_header_has_the_bytes_that_the_specification_gives_it(header: Header, wire: str) -> None:
    assert encode(*header) == bytes.fromhex(wire)


@pytest.mark.parametrize(("header", "wire"), VECTORS.values(), ids=VECTORS)
def test_the_bytes_of_the_specification_are_read_as_that_header(header: Header, wire: str) -> None:
    assert next(FrameReader().feed(bytes.fromhex(wire))) == header


@settings(deadline=None)
@given(header=headers)
def test_a_header_survives_its_bytes(header: Header) -> None:
    assert next(FrameReader().feed(encode(*header))) == header


@pytest.mark.parametrize("wire", ["01 00 0000 00000001 00000000", "00 04 0000 00000001 00000000"])
def test_a_version_or_kind_that_yamux_does_not_have_is_malformed(wire: str) -> None:
    with pytest.raises(MalformedMessage, match="not a yamux frame"):
        list(FrameReader().feed(bytes.fromhex(wire)))


def read_cut(wire: bytes, cuts: list[int]) -> list[tuple[object, bytes]]:
    """Read `wire` cut at these places; each header with all of its payload."""
    reader, frames = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        for part in reader.feed(wire[start:end]):
            if isinstance(part, Payload):
                header, payload, was_last = frames[-1]
                assert not was_last
                frames[-1] = (header, payload + bytes(part.piece), part.is_last)
            else:
                frames.append((part, b"", part.kind != DATA))
    assert all(is_complete for *_, is_complete in frames)
    return [(header, payload) for header, payload, _ in frames]


@pytest.mark.slow
@settings(deadline=None)
@given(payloads=st.lists(st.one_of(st.none(), st.binary(max_size=40)), max_size=6), data=st.data())
def test_frames_are_the_same_wherever_their_bytes_were_cut(
    payloads: list[bytes | None], data: st.DataObject
) -> None:
    sent = [
        (Header(PING, SYN, 0, 7), b"") if payload is None else (Header(DATA, 0, 1, len(payload)), payload)
        for payload in payloads
    ]
    wire = b"".join(encode(*header) + payload for header, payload in sent)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=8).map(sorted))

    read = read_cut(wire, cuts)

    assert read == sent
    assert read_cut(wire, list(range(1, len(wire)))) == sent


def test_a_payload_is_passed_on_before_it_is_complete() -> None:
    reader = FrameReader()

    parts = list(reader.feed(encode(DATA, 0, 1, 1 << 31) + b"first"))

    assert parts == [Header(DATA, 0, 1, 1 << 31), Payload(memoryview(b"first"), False)]
