"""Bags of cells: both ways, against another library's, and with bytes of strangers."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytoniq_core import Cell as TheirCell

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import read_boc, read_one, write_boc
from cocoon_p2p.payments.cells import DEPTH_MAX, MERKLE_PROOF, Builder, Cell, merkle, stub
from tests.payments.test_cells import cells


@pytest.mark.slow
@given(roots=st.lists(cells, min_size=1, max_size=4, unique_by=lambda cell: cell.hash))
def test_a_bag_gives_back_its_roots(roots: list[Cell]) -> None:
    again = read_boc(write_boc(*roots))

    assert [root.hash for root in again] == [root.hash for root in roots]
    assert write_boc(*again) == write_boc(*roots)


@pytest.mark.slow
@given(cell=cells, with_index=st.booleans(), with_checksum=st.booleans())
def test_another_librarys_bag_is_read(cell: Cell, with_index: bool, with_checksum: bool) -> None:
    other = TheirCell.one_from_boc(write_boc(cell))

    assert read_one(other.to_boc(has_idx=with_index, hash_crc32=with_checksum)).hash == cell.hash


def test_hashes_that_a_writer_has_put_beside_cells_are_passed_over() -> None:
    cell = Builder().uint(5, 8).cell()
    bag = bytearray(write_boc(cell))
    at = bag.index(cell.descriptors + cell.data)
    bag[at] |= 16
    bag[at + 2 : at + 2] = cell.hash + cell.depth.to_bytes(2, "big")

    assert read_one(bytes(bag)).hash == cell.hash


def test_a_cell_that_is_shared_is_written_once() -> None:
    shared = Builder().octets(bytes(100)).cell()

    twice = Builder().reference(shared).reference(shared).cell()

    assert len(write_boc(twice)) < 150
    again = read_one(write_boc(twice))
    assert again.references[0] is again.references[1]


def test_a_tree_and_the_same_tree_pruned_can_be_in_one_bag() -> None:
    leaf = Builder().uint(5, 8).cell()
    whole = Builder().reference(leaf).cell()
    proof = merkle(MERKLE_PROOF, (Builder().reference(stub(leaf.hash, leaf.depth)).cell(),))

    first, second = read_boc(write_boc(whole, proof))

    assert first.references[0].bits == 8
    assert second.references[0].hash == whole.hash
    assert second.references[0].references[0].level_mask == 1


def test_two_proofs_of_one_tree_can_be_in_one_bag() -> None:
    left, right = Builder().uint(1, 8).cell(), Builder().uint(2, 8).cell()
    pruned_left, pruned_right = (stub(one.hash, one.depth) for one in (left, right))
    proofs = [
        merkle(MERKLE_PROOF, (Builder().reference(one).reference(other).cell(),))
        for one, other in ((left, pruned_right), (pruned_left, right))
    ]

    first, second = read_boc(write_boc(*proofs))

    assert [one.level_mask for one in first.references[0].references] == [0, 1]
    assert [one.level_mask for one in second.references[0].references] == [1, 0]


@pytest.mark.slow
@given(data=st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(MalformedMessage):
        read_boc(bytes.fromhex("b5ee9c72") + data)


@pytest.mark.slow
@given(cell=cells, draw=st.data())
@settings(max_examples=300)
def test_a_bag_with_bytes_changed_is_read_or_refused(cell: Cell, draw: st.DataObject) -> None:
    proof = merkle(MERKLE_PROOF, (Builder().reference(stub(cell.hash, cell.depth)).cell(),))
    data = bytearray(write_boc(cell, proof))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))

    try:
        roots = read_boc(bytes(data))
    except MalformedMessage:
        return

    assert all(root.depth <= DEPTH_MAX for root in roots)
    write_boc(*roots)


@pytest.mark.slow
@given(cell=cells, cut=st.integers(0, 400))
def test_a_bag_that_is_cut_short_is_refused(cell: Cell, cut: int) -> None:
    data = write_boc(cell)

    with pytest.raises(MalformedMessage):
        read_boc(data[: min(cut, len(data) - 1)])


def deep(depth: int) -> bytes:
    """Write a chain of cells, without the help of what is tried."""
    cells_bytes = (
        b"".join(b"\x01\x00" + (number + 1).to_bytes(2, "big") for number in range(depth)) + b"\x00\x00"
    )
    count = depth + 1
    head = b"\xb5\xee\x9c\x72\x02\x04" + count.to_bytes(2, "big") + b"\x00\x01" + b"\x00\x00"
    return head + len(cells_bytes).to_bytes(4, "big") + b"\x00\x00" + cells_bytes


def test_a_tree_may_be_as_deep_as_a_networks_messages_and_not_much_deeper() -> None:
    assert read_one(deep(DEPTH_MAX)).depth == DEPTH_MAX
    assert read_one(write_boc(read_one(deep(DEPTH_MAX)))).depth == DEPTH_MAX
    with pytest.raises(MalformedMessage, match="too deep"):
        read_one(deep(DEPTH_MAX + 1))


def test_a_pruned_tree_that_is_folded_over_itself_is_read_in_no_time() -> None:
    # Forty cells that each refer to the next twice: a billion paths to the pruned branch.
    cell = stub(bytes(32), 0)
    for _ in range(40):
        cell = Builder().reference(cell).reference(cell).cell()

    proof = merkle(MERKLE_PROOF, (cell,))

    assert read_one(write_boc(proof)).data == proof.data


def test_a_chain_of_pruned_trees_as_deep_as_may_be_is_read() -> None:
    # Their hashes are reckoned by recursion.
    cell = stub(bytes(32), 0)
    while cell.depth < DEPTH_MAX - 1:
        cell = Builder().reference(cell).cell()

    proof = merkle(MERKLE_PROOF, (cell,))

    assert read_one(write_boc(proof)).data == proof.data


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "cut short"),
        (b"b5ee", "not a bag"),
        (bytes.fromhex("b5ee9c72" "05" "01"), "sizes"),
        (bytes.fromhex("b5ee9c72" "01" "09"), "sizes"),
        (bytes.fromhex("b5ee9c72" "01" "01" "00" "01" "00" "00" "00"), "counts"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "02" "00" "02" "00" "0000"), "counts"),
        (bytes.fromhex("b5ee9c72" "04" "01" "ffffffff" "00000001" "00000000" "00"), "counts"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "01" "00" "03" "00" "010000"), "point forward"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "01" "00" "03" "01" "0000"), "not in its bag"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "01" "00" "02" "00" "0000" "00"), "left after"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "01" "00" "03" "00" "000100"), "where its bits end"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "01" "00" "02" "00" "0500"), "descriptors"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "01" "00" "02" "00" "1000"), "cut short"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "01" "00" "02" "00" "0800"), "impossible size"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "01" "00" "03" "00" "080201"), "level 1"),
        (bytes.fromhex("b5ee9c72" "01" "01" "01" "01" "00" "03" "00" "080203"), "wrong number"),
    ],
)  # fmt: skip
def test_each_way_in_which_a_bag_is_broken_is_named(data: bytes, what: str) -> None:
    with pytest.raises(MalformedMessage, match=what):
        read_boc(data)


def test_a_proof_that_does_not_fit_its_tree_is_refused() -> None:
    data = bytearray(write_boc(merkle(MERKLE_PROOF, (Builder().uint(5, 8).cell(),))))
    at = data.index(b"\x03" + Builder().uint(5, 8).cell().hash)
    data[at + 1] ^= 1

    with pytest.raises(MalformedMessage, match="does not fit"):
        read_boc(bytes(data))


def test_two_trees_are_not_one() -> None:
    one = Builder().cell()

    with pytest.raises(MalformedMessage, match="one tree"):
        read_one(write_boc(one, Builder().uint(1, 1).cell()))
