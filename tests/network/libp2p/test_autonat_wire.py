"""AutoNAT's messages: what is written is read back, and what strangers write is judged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.network.libp2p.autonat_wire import (
    ADDRESSES_MAX,
    Data,
    DataWanted,
    DialRequest,
    DialResponse,
    DialStatus,
    Message,
    ResponseStatus,
    decode,
    decode_dial_back,
    encode,
    encode_dial_back,
)

NUMBERS = st.integers(0, 2**64 - 1)
MESSAGES = st.one_of(
    st.builds(
        DialRequest, st.lists(st.binary(max_size=40), max_size=ADDRESSES_MAX).map(tuple), nonce=NUMBERS
    ),
    st.builds(DialResponse, st.sampled_from(ResponseStatus), st.integers(0, 99), st.sampled_from(DialStatus)),
    st.builds(DataWanted, st.integers(0, 99), NUMBERS),
    st.builds(Data, st.integers(0, 4096)),
)


def without_length(raw: bytes) -> bytes:
    return raw[1:] if raw[0] < 0x80 else raw[2:]


@given(MESSAGES)
def test_every_message_is_read_as_it_was_meant(message: Message) -> None:
    assert decode(without_length(encode(message))) == message


@given(NUMBERS)
def test_every_nonce_comes_back(nonce: int) -> None:
    assert decode_dial_back(without_length(encode_dial_back(nonce))) == nonce


def test_a_request_is_spelled_as_the_specification_has_it() -> None:
    # Message{1: DialRequest{1: addrs, 2: fixed64 nonce}}, as protoc would write it.
    assert encode(DialRequest((b"\x04ab",), 0x0102030405060708)).hex() == (
        "100a0e0a03046162110807060504030201"
    )


def test_a_response_is_spelled_as_the_specification_has_it() -> None:
    response = DialResponse(ResponseStatus.OK, 2, DialStatus.DIAL_ERROR)

    assert encode(response).hex() == "09120708c80110021864"


@given(st.binary(max_size=64))
def test_bytes_of_a_stranger_are_a_message_or_malformed(raw: bytes) -> None:
    try:
        message = decode(raw)
    except MalformedMessage:
        return
    assert decode(without_length(encode(message))) == message


@given(MESSAGES, st.data())
def test_a_message_that_breaks_off_is_never_taken_for_another_nonce(
    message: Message, data: st.DataObject
) -> None:
    raw = without_length(encode(message))
    cut = raw[: data.draw(st.integers(0, max(0, len(raw) - 1)))]

    with pytest.raises(MalformedMessage):
        decode(cut)


def test_fields_of_later_versions_are_passed_over() -> None:
    later = bytes.fromhex("0a0e0a03046162110807060504030201") + bytes.fromhex("7a01618001ff01")

    assert decode(later) == DialRequest((b"\x04ab",), 0x0102030405060708)


def test_more_addresses_than_a_node_has_are_not_read() -> None:
    request = DialRequest((b"x",) * 1000, 7)

    decoded = decode(without_length(encode(request)))

    assert isinstance(decoded, DialRequest)
    assert len(decoded.addresses) == ADDRESSES_MAX


@pytest.mark.parametrize("raw", ["", "2200ff", "0a", "120408c90110", "0b", "08" + "ff" * 10 + "01"])
def test_what_is_no_message_is_malformed(raw: str) -> None:
    with pytest.raises(MalformedMessage):
        decode(bytes.fromhex(raw))


def test_a_status_that_nobody_knows_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="a status that nobody knows"):
        decode(bytes.fromhex("120308c901"))
