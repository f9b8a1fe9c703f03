"""Questions and answers as bytes, beside the other side's own spelling of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import lite_answers, lite_queries
from cocoon_p2p.payments.devchain.blocks import BlockId as LocalBlockId
from cocoon_p2p.payments.devchain.packets import LiteQuery
from cocoon_p2p.payments.devchain.tl import decode, encode
from cocoon_p2p.payments.lite import queries
from cocoon_p2p.payments.lite.queries import BlockId, ServerError

ACCOUNT = AccountId(b"a" * 32)
BLOCK = BlockId(-1, queries.WHOLE_SHARD, 1_000_000_000, b"r" * 32, b"f" * 32)
LOCAL_BLOCK = LocalBlockId(-1, queries.WHOLE_SHARD, 1_000_000_000, b"r" * 32, b"f" * 32)
ZERO = lite_answers.ZeroStateId(-1, b"z" * 32, b"y" * 32)


def asked(data: bytes) -> object:
    outer = decode(data)
    assert isinstance(outer, LiteQuery)
    return decode(outer.data)


def test_what_is_asked_is_understood() -> None:
    name = lite_queries.AccountName(0, ACCOUNT)
    assert asked(queries.get_info()) == lite_queries.GetMasterchainInfo()
    assert asked(queries.get_account(BLOCK, ACCOUNT)) == lite_queries.GetAccountState(LOCAL_BLOCK, name)
    assert asked(queries.get_header(BLOCK)) == lite_queries.GetBlockHeader(LOCAL_BLOCK, 0)
    assert asked(queries.get_transactions(ACCOUNT, 1 << 62, b"h" * 32)) == lite_queries.GetTransactions(
        queries.TRANSACTIONS_A_QUERY, name, 1 << 62, b"h" * 32
    )
    for size in (0, 5, 253, 254, 70_000):
        assert asked(queries.send_message(bytes(size))) == lite_queries.SendMessage(bytes(size))
    looked_up = asked(queries.look_up(77))
    assert isinstance(looked_up, lite_queries.LookupBlock)
    assert (looked_up.mode, looked_up.id.seqno, looked_up.id.workchain) == (1, 77, -1)


def test_what_is_answered_is_understood() -> None:
    info = lite_answers.MasterchainInfo(LOCAL_BLOCK, b"s" * 32, ZERO)
    account = lite_answers.AccountState(LOCAL_BLOCK, LOCAL_BLOCK, b"1", b"22" * 200, b"")
    header = lite_answers.BlockHeader(LOCAL_BLOCK, 0, b"proof")
    listed = lite_answers.TransactionList((LOCAL_BLOCK,) * 16, b"bag")

    assert queries.read_info(encode(info)).last == BLOCK
    assert queries.read_account(encode(account)) == queries.AccountAnswer(
        BLOCK, BLOCK, b"1", b"22" * 200, b""
    )
    assert queries.read_header(encode(header)) == queries.HeaderAnswer(BLOCK, b"proof")
    assert queries.read_transactions(encode(listed)) == b"bag"
    assert queries.read_sent(encode(lite_answers.SendStatus(1)))
    assert not queries.read_sent(encode(lite_answers.SendStatus(0)))


def test_a_newest_block_is_the_masterchains() -> None:
    other = LocalBlockId(0, queries.WHOLE_SHARD, 1, bytes(32), bytes(32))

    with pytest.raises(MalformedMessage):
        queries.read_info(encode(lite_answers.MasterchainInfo(other, bytes(32), ZERO)))


def test_an_error_is_told_within_bounds_and_without_what_a_terminal_would_obey() -> None:
    text = "\x1b[2J" + "x" * 100_000

    with pytest.raises(ServerError) as caught:
        queries.read_info(encode(lite_answers.LiteError(-7, text)))

    assert caught.value.code == -7
    assert len(caught.value.message) < 2000
    assert caught.value.message.isprintable()


READERS = [
    queries.read_info,
    queries.read_header,
    queries.read_account,
    queries.read_transactions,
    queries.read_sent,
    queries.read_octets,
]
HEADS = [b"", *(bytes.fromhex(head) for head in ("81288385", "19822d75", "51c77970", "0bc6266f", "97e55039"))]


@pytest.mark.parametrize("read", READERS)
@given(head=st.sampled_from([*HEADS, bytes.fromhex("48e1a9bb")]), rest=st.binary(max_size=400))
def test_no_bytes_whatever_raise_anything_else(read: object, head: bytes, rest: bytes) -> None:
    assert callable(read)
    try:
        read(head + rest)
    except (MalformedMessage, ServerError):
        return
