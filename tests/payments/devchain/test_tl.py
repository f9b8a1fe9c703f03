"""TL and lite_api.tl against another library's reading of the same schema."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core.tl.generator import TlGenerator

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.devchain import lite_answers, lite_queries, packets
from cocoon_p2p.payments.devchain.blocks import BlockId
from cocoon_p2p.payments.devchain.lite_answers import (
    BlockTransactions,
    LibraryEntry,
    LibraryResult,
    LiteError,
    MasterchainInfo,
    RunMethodResult,
    TransactionName,
    ZeroStateId,
)
from cocoon_p2p.payments.devchain.lite_queries import (
    AccountName,
    BlockPlace,
    GetConfigParams,
    GetLibraries,
    GetTime,
    GetTransactions,
    ListBlockTransactions,
    LookupBlock,
    RunMethod,
    TransactionPlace,
    WaitMasterchainSeqno,
)
from cocoon_p2p.payments.devchain.tl import (
    VECTOR_MAX,
    Reader,
    UnknownMessage,
    decode,
    decode_first,
    encode,
    known_messages,
    write_octets,
)

THEIRS = TlGenerator.with_default_schemas().generate()
ID = BlockId(-1, -(1 << 63), 5, b"r" * 32, b"f" * 32)
ACCOUNT = AccountName(0, b"a" * 32)

SAMPLES = [
    GetTime(),
    RunMethod(7, ID, ACCOUNT, 85143, bytes(300)),
    GetTransactions(16, ACCOUNT, 2**62, b"h" * 32),
    LookupBlock(1, BlockPlace(0, -(1 << 63), 7), None, None),
    LookupBlock(2, BlockPlace(0, -(1 << 63), 0), 1_000_000, None),
    LookupBlock(4, BlockPlace(0, -(1 << 63), 0), None, 1_800_000_000),
    ListBlockTransactions(ID, 0b10100111, 10, TransactionPlace(b"a" * 32, 5), None, True),
    ListBlockTransactions(ID, 0b111, 10, None, None, None),
    GetConfigParams(0, ID, (-1, 18, 19)),
    GetLibraries(()),
    GetLibraries((b"l" * 32, b"m" * 32)),
    WaitMasterchainSeqno(9, 10_000),
    LiteError(-400, "no such thing — at all"),
    MasterchainInfo(ID, b"s" * 32, ZeroStateId(-1, b"r" * 32, b"f" * 32)),
    RunMethodResult(7, ID, ID, b"shard", b"account", b"", None, None, 11, b"result"),
    RunMethodResult(4, ID, ID, None, None, None, None, None, 0, b""),
    BlockTransactions(ID, 2, True, (TransactionName(7, b"a" * 32, 5, b"h" * 32),), b"proof"),
    LibraryResult((LibraryEntry(b"l" * 32, b"code"),)),
]


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_reads_back_from_its_bytes(message: object) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("name", sorted(known_messages()))
def test_every_messages_number_is_the_one_in_the_published_schema(name: str) -> None:
    published = THEIRS.get_by_name(name)

    assert published is not None
    assert int.from_bytes(published.id, "big") == known_messages()[name]


@pytest.mark.parametrize("message", SAMPLES[-6:], ids=lambda message: type(message).__name__)
def test_another_library_reads_our_answers(message: object) -> None:
    read, rest = THEIRS.deserialize(encode(message), boxed=True)

    assert rest == len(encode(message))
    for field in fields(message):  # type: ignore[arg-type]
        ours = getattr(message, field.name)
        if isinstance(ours, int | str) and not isinstance(ours, bool):
            assert read[field.name] in (ours, str(ours).encode())


def test_our_reader_reads_another_librarys_question() -> None:
    schema = THEIRS.get_by_name("liteServer.getTransactions")
    account = {"workchain": 0, "id": "61" * 32}

    data = THEIRS.serialize(schema, {"count": 16, "account": account, "lt": 5, "hash": "68" * 32})

    assert decode(data) == GetTransactions(16, ACCOUNT, 5, b"h" * 32)


@given(data=st.binary(max_size=600))
def test_bytes_of_any_length_are_padded_to_four_and_read_back(data: bytes) -> None:
    written = write_octets(data)
    reader = Reader(written)

    assert len(written) % 4 == 0
    assert reader.octets() == data
    assert reader.rest() == b""


@given(sample=st.sampled_from(SAMPLES), draw=st.data())
def test_a_message_with_bytes_changed_or_cut_off_is_read_or_refused(
    sample: object, draw: st.DataObject
) -> None:
    data = bytearray(encode(sample))
    for _ in range(draw.draw(st.integers(0, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(0, len(data)))

    try:
        read = decode(bytes(data[:cut]))
    except MalformedMessage:
        return

    assert type(read).__module__ in {module.__name__ for module in (lite_queries, lite_answers, packets)} | {
        BlockId.__module__
    }


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "cut short"),
        (b"\x00\x00\x00", "cut short"),
        (encode(GetTime()) + b"\x00", "left after"),
        (encode(GetLibraries(()))[:4] + (VECTOR_MAX + 1).to_bytes(4, "little"), "vector is too long"),
        (encode(GetLibraries(()))[:4] + b"\xff\xff\xff\xff", "vector is too long"),
        (encode(LiteError(1, ""))[:8] + b"\xff\x00\x00\x00", "length"),
        (encode(LiteError(1, ""))[:8] + b"\xfe\xff\xff\xff", "cut short"),
        (encode(LibraryResult((LibraryEntry(b"l" * 32, b"code"),)))[:-4], "cut short"),
    ],
)
def test_each_way_in_which_a_message_is_broken_is_named(data: bytes, what: str) -> None:
    with pytest.raises(MalformedMessage, match=what):
        decode(data)


def test_a_flag_that_is_neither_true_nor_false_is_refused() -> None:
    message = encode(BlockTransactions(ID, 2, True, (), b""))
    at = message.index((0x997275B5).to_bytes(4, "little"))

    with pytest.raises(MalformedMessage, match="Bool"):
        decode(message[:at] + b"\x01\x00\x00\x00" + message[at + 4 :])


def test_an_unknown_message_is_named_by_its_number() -> None:
    with pytest.raises(UnknownMessage, match="0xdeadbeef"):
        decode(bytes.fromhex("efbeadde"))


def test_what_follows_the_first_message_is_given_back() -> None:
    prefix, rest = decode_first(encode(WaitMasterchainSeqno(5, 100)) + encode(GetTime()))

    assert prefix == WaitMasterchainSeqno(5, 100)
    assert decode(rest) == GetTime()
