import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import LocalProtocolError, MalformedMessage
from cocoon_p2p.protocols.contents import (
    AnswerContent,
    FinishReason,
    RequestContent,
    cut_parts,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    pad,
    unpad,
)
from cocoon_p2p.protocols.ids import (
    ANSWER_TEXT_MAX_BYTES,
    CHUNK_SIZE_MAX_BYTES,
    PART_PLAIN_MAX_BYTES,
    PART_SIZE_MAX_BYTES,
    PARTS_MAX,
    REQUEST_TEXT_MAX_BYTES,
    SEAL_SIZE_BYTES,
    Kind,
)
from tests.protocols.shapes import values


@given(plain=st.binary(max_size=3000))
def test_padding_is_undone_and_leaves_few_lengths(plain: bytes) -> None:
    padded = pad(plain)

    assert unpad(padded) == plain
    assert len(padded) in (64, 256) or len(padded) % 1024 == 0


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        (0, 64),
        (63, 64),
        (64, 256),
        (255, 256),
        (256, 1024),
        (1023, 1024),
        (1024, 2048),
        (2047, 2048),
        (2048, 3072),
    ],
)
def test_the_lengths_are_64_256_1024_and_its_multiples(size: int, padded: int) -> None:
    assert len(pad(b"a" * size)) == padded


@given(padded=st.binary(max_size=80) | st.binary(max_size=30).map(lambda tail: tail.ljust(64, b"\0")))
def test_what_is_unpadded_is_what_padding_makes_or_malformed(padded: bytes) -> None:
    try:
        plain = unpad(padded)
    except MalformedMessage:
        return
    assert pad(plain) == padded


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        bytes(64),
        b"a" * 64,
        b"a\x80" + bytes(61),
        b"a\x80" + bytes(63),
        b"a\x80" + bytes(254),
        b"a" * 256 + b"\x80" * 2,
    ],
    ids=["nothing", "no mark", "no room", "too short", "too long", "the next length", "unpadded"],
)
def test_other_paddings_are_refused(padded: bytes) -> None:
    with pytest.raises(MalformedMessage, match="not padded as the protocol pads"):
        unpad(padded)


@given(content=values(RequestContent))
@settings(max_examples=40, deadline=None)
def test_a_request_reads_back(content: RequestContent) -> None:
    assert decode_request(encode_request(content)) == content


@given(content=values(AnswerContent))
def test_a_piece_of_an_answer_reads_back(content: AnswerContent) -> None:
    assert decode_answer(encode_answer(content)) == content


@pytest.mark.parametrize("decode", [decode_request, decode_answer])
@given(plain=st.binary(max_size=100).map(pad) | st.binary(max_size=100))
def test_random_contents_are_read_or_malformed(decode: Callable[[bytes], object], plain: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        assert isinstance(decode(plain), RequestContent | AnswerContent)


def test_answers_of_like_length_look_alike() -> None:
    lengths = {
        len(encode_answer(AnswerContent(text))) for text in ("a", "hello", "a longer word or ten, and a stop")
    }

    assert lengths == {64}


def test_the_longest_piece_of_an_answer_fits_a_chunk() -> None:
    plain = encode_answer(AnswerContent("a" * ANSWER_TEXT_MAX_BYTES, FinishReason.LENGTH))

    assert len(plain) + SEAL_SIZE_BYTES <= CHUNK_SIZE_MAX_BYTES
    with pytest.raises(LocalProtocolError):
        encode_answer(AnswerContent("a" * (ANSWER_TEXT_MAX_BYTES + 1)))


@given(size=st.integers(1, 4))
def test_parts_join_to_what_was_cut_and_fit_when_sealed(size: int) -> None:
    plain = b"ab" * (PART_PLAIN_MAX_BYTES // 4) * size

    parts = cut_parts(plain)

    assert b"".join(parts) == plain
    assert all(0 < len(part) + SEAL_SIZE_BYTES <= PART_SIZE_MAX_BYTES for part in parts)


def test_a_request_with_two_of_the_longest_texts_can_be_sent() -> None:
    longest = "a" * REQUEST_TEXT_MAX_BYTES
    content = RequestContent(Kind.COMPLETION, "m", (), 1, 0, 1000, (), False, longest, longest)

    assert 1 < len(cut_parts(encode_request(content))) <= PARTS_MAX


def test_a_request_of_more_parts_than_may_be_sent_is_our_own_fault() -> None:
    with pytest.raises(LocalProtocolError, match=r"request: too long"):
        cut_parts(bytes(PART_PLAIN_MAX_BYTES * PARTS_MAX + 1))
