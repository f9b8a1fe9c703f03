"""Cells against another library's: the same bits and references must have the same hash."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core import Cell as TheirCell
from pytoniq_core import begin_cell

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import (
    MERKLE_PROOF,
    MERKLE_UPDATE,
    REFERENCES_MAX,
    Builder,
    Cell,
    Slice,
    merkle,
    stub,
)


def with_references(bits: str, references: Sequence[Cell]) -> Cell:
    builder = Builder()
    for bit in bits:
        builder.uint(int(bit), 1)
    for reference in references:
        builder.reference(reference)
    return builder.cell()


bit_strings = st.text("01", max_size=40) | st.integers(0, 1023).map(lambda count: "1" * count)
cells = st.recursive(
    bit_strings.map(lambda bits: with_references(bits, ())),
    lambda inner: st.builds(with_references, bit_strings, st.lists(inner, max_size=REFERENCES_MAX)),
    max_leaves=12,
)


def theirs(cell: Cell) -> TheirCell:
    return TheirCell.one_from_boc(write_boc(cell))


@pytest.mark.slow
@given(cell=cells)
def test_a_cells_hash_and_depth_are_those_of_another_library(cell: Cell) -> None:
    def rebuilt(one: Cell) -> TheirCell:
        builder = begin_cell()
        reader = Slice(one)
        for _ in range(one.bits):
            builder.store_bit(reader.uint(1))
        for reference in one.references:
            builder.store_ref(rebuilt(reference))
        return builder.end_cell()

    other = rebuilt(cell)

    assert (cell.hash, cell.depth) == (other.hash, other.get_depth(0))


@given(
    number=st.integers(-(2**255), 2**255 - 1), nano=st.integers(0, 2**120 - 1), data=st.binary(max_size=40)
)
def test_what_was_built_is_read_back(number: int, nano: int, data: bytes) -> None:
    inner = Builder().uint(1, 1).cell()
    cell = Builder().sint(number, 256).coins(nano).octets(data).maybe_reference(inner).cell()

    reader = Slice(cell)

    assert (reader.sint(256), reader.coins(), reader.octets(len(data))) == (number, nano, data)
    assert reader.maybe_reference() is inner
    assert reader.bits_left == 0


def test_a_cell_that_is_put_into_another_keeps_its_bits_and_references() -> None:
    inner = Builder().uint(0b101, 3).reference(Builder().cell()).cell()

    outer = Builder().uint(0b11, 2).root_of(inner).uint(0, 1).cell()

    assert outer.hash == Builder().uint(0b111010, 6).reference(Builder().cell()).cell().hash


@pytest.mark.parametrize("wanted", ["uint", "reference", "coins", "octets"])
def test_reading_past_a_cells_end_is_refused(wanted: str) -> None:
    reader = Slice(Builder().uint(0xF, 4).cell())
    read = {
        "uint": lambda: reader.uint(5),
        "reference": reader.reference,
        "coins": reader.coins,
        "octets": lambda: reader.octets(1),
    }

    with pytest.raises(MalformedMessage):
        read[wanted]()


@pytest.mark.slow
@given(cell=cells)
def test_a_proof_with_a_pruned_branch_is_one_to_another_library(cell: Cell) -> None:
    root = Builder().uint(7, 8).reference(stub(cell.hash, cell.depth)).reference(Builder().cell()).cell()
    full = Builder().uint(7, 8).reference(cell).reference(Builder().cell()).cell()

    proof = theirs(merkle(MERKLE_PROOF, (root,)))

    assert root.hash == full.hash
    assert proof.type_ == 3
    assert proof.data[1:33] == full.hash
    assert proof[0].get_hash(0) == full.hash


@pytest.mark.slow
@given(old=cells, new=cells)
def test_an_update_is_one_to_another_library_and_its_hash_is_the_same(old: Cell, new: Cell) -> None:
    update = merkle(MERKLE_UPDATE, (stub(old.hash, old.depth), stub(new.hash, new.depth)))

    other = theirs(update)

    assert other.hash == update.hash
    assert (other[0].get_hash(0), other[1].get_hash(0)) == (old.hash, new.hash)


def test_a_proof_inside_a_tree_has_the_hash_that_another_library_gives_it() -> None:
    leaf = Builder().uint(5, 8).cell()
    body = Builder().uint(1, 8).reference(stub(leaf.hash, leaf.depth)).cell()

    outer = Builder().reference(merkle(MERKLE_PROOF, (body,))).cell()

    assert theirs(outer).hash == outer.hash
    assert outer.level_mask == 0
