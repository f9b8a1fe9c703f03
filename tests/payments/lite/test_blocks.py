"""Which blocks are read, where shards split and merge; and listings from strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder, Cell
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import lite_answers, lite_queries
from cocoon_p2p.payments.devchain.blocks import BlockId as LocalBlockId
from cocoon_p2p.payments.devchain.packets import LiteQuery
from cocoon_p2p.payments.devchain.tl import decode, encode
from cocoon_p2p.payments.lite import queries
from cocoon_p2p.payments.lite.blocks import CATCH_UP_MAX, Place, due, read_listing, read_shards
from cocoon_p2p.payments.lite.queries import WHOLE_SHARD, BlockId, ServerError

WHOLE, LEFT, RIGHT = WHOLE_SHARD, 0x4 << 60, -(0x4 << 60)
LEFT_LEFT, LEFT_RIGHT = 0x2 << 60, 0x6 << 60
MASTER = BlockId(-1, WHOLE_SHARD, 9, b"r" * 32, b"f" * 32)
LOCAL_MASTER = LocalBlockId(-1, WHOLE_SHARD, 9, b"r" * 32, b"f" * 32)


def block(shard: int, seqno: int) -> BlockId:
    return BlockId(0, shard, seqno, shard.to_bytes(32, "big", signed=True), seqno.to_bytes(32, "big"))


def shards_answer(tree: Cell) -> bytes:
    root = Builder().uint(0b10, 2).uint(32, 6).uint(0, 32).reference(tree).cell()
    shards = write_boc(Builder().maybe_reference(root).cell())
    return encode(lite_answers.AllShardsInfo(LOCAL_MASTER, b"proof", shards))


def leaf(of: BlockId) -> Cell:
    builder = Builder().uint(0, 1).uint(0xB, 4).uint(of.seqno, 32).uint(0, 32 + 64 + 64)
    return builder.octets(of.root_hash).octets(of.file_hash).cell()


def fork(zero: Cell, one: Cell) -> Cell:
    return Builder().uint(1, 1).reference(zero).reference(one).cell()


def asked(data: bytes) -> object:
    outer = decode(data)
    assert isinstance(outer, LiteQuery)
    return decode(outer.data)


def test_what_is_asked_of_blocks_is_understood() -> None:
    account = AccountId(b"a" * 32)
    looked_up = asked(queries.look_up(77, workchain=0, shard=LEFT))
    first, on = asked(queries.list_block(MASTER)), asked(queries.list_block(MASTER, (account, 5)))

    assert asked(queries.get_shards(MASTER)) == lite_queries.GetAllShardsInfo(LOCAL_MASTER)
    assert isinstance(looked_up, lite_queries.LookupBlock)
    assert (looked_up.id.workchain, looked_up.id.shard, looked_up.id.seqno) == (0, LEFT, 77)
    assert isinstance(first, lite_queries.ListBlockTransactionsExt)
    assert (first.id, first.count, first.after) == (LOCAL_MASTER, 256, None)
    assert isinstance(on, lite_queries.ListBlockTransactionsExt)
    assert on.after == lite_queries.TransactionPlace(account, 5)


def test_the_newest_blocks_of_split_shards_are_read() -> None:
    wanted = (block(LEFT_LEFT, 7), block(LEFT_RIGHT, 8), block(RIGHT, 9))
    tree = fork(fork(leaf(wanted[0]), leaf(wanted[1])), leaf(wanted[2]))

    assert read_shards(shards_answer(tree)) == wanted
    assert read_shards(shards_answer(leaf(block(WHOLE, 3)))) == (block(WHOLE, 3),)


@pytest.mark.parametrize("roots", [(), (leaf(block(WHOLE, 3)),) * 2])
def test_shards_that_are_not_one_tree_are_refused(roots: tuple[Cell, ...]) -> None:
    answer = lite_answers.AllShardsInfo(LOCAL_MASTER, b"proof", write_boc(*roots) if roots else b"")

    with pytest.raises(MalformedMessage):
        read_shards(encode(answer))


def test_a_tree_of_shards_without_end_is_refused() -> None:
    tree = leaf(block(WHOLE, 1))
    for _ in range(61):
        tree = fork(tree, tree)

    with pytest.raises(MalformedMessage):
        read_shards(shards_answer(tree))


@pytest.mark.parametrize(
    ("before", "after", "places"),
    [
        ((), (block(WHOLE, 5),), ()),
        ((block(WHOLE, 5),), (block(WHOLE, 5),), ()),
        ((block(WHOLE, 5),), (block(WHOLE, 8),), ((WHOLE, 6), (WHOLE, 7))),
        # Split after 6: each half had that block, under the whole's name.
        ((block(WHOLE, 5),), (block(LEFT, 7), block(RIGHT, 7)), ((LEFT, 6), (RIGHT, 6))),
        # Merged: each half had its own blocks before.
        ((block(LEFT, 5), block(RIGHT, 4)), (block(WHOLE, 7),), ((LEFT, 6), (RIGHT, 5), (RIGHT, 6))),
        ((block(LEFT, 5), block(RIGHT, 5)), (block(LEFT, 7), block(RIGHT, 6)), ((LEFT, 6),)),
    ],
)
def test_the_blocks_between_two_looks_are_looked_up_in_the_narrower_shard(
    before: tuple[BlockId, ...], after: tuple[BlockId, ...], places: tuple[tuple[int, int], ...]
) -> None:
    assert due(before, after) == (tuple(Place(*place) for place in places), 0)


def test_what_is_too_far_back_is_counted_and_not_read() -> None:
    places, missed = due((block(WHOLE, 5),), (block(WHOLE, 1005),))

    assert [place.seqno for place in places] == list(range(1005 - CATCH_UP_MAX, 1005))
    assert missed == 999 - CATCH_UP_MAX


@given(st.binary(max_size=400))
def test_a_listing_from_a_stranger_is_read_or_refused(data: bytes) -> None:
    answer = lite_answers.BlockTransactionsExt(LOCAL_MASTER, 256, False, data, b"")

    for spelled in (data, encode(answer)):
        try:
            assert read_listing(spelled).last is None
        except (MalformedMessage, ServerError):
            continue


def test_a_listing_that_goes_on_without_saying_where_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        read_listing(encode(lite_answers.BlockTransactionsExt(LOCAL_MASTER, 256, True, b"", b"")))


def test_a_transaction_that_is_none_is_passed_over() -> None:
    root = write_boc(Builder().uint(7, 4).octets(b"a" * 32).uint(5, 64).cell())
    listed = read_listing(encode(lite_answers.BlockTransactionsExt(LOCAL_MASTER, 256, True, root, b"")))

    assert listed.touched == frozenset()
    assert listed.last == (b"a" * 32, 5)
