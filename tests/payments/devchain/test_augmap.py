"""The dictionaries against a plain `dict`, and against the machine's own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytoniq_core import Builder as TheirBuilder
from pytoniq_core import HashMap

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import PRUNED_BRANCH, Builder, Cell, Slice
from cocoon_p2p.payments.devchain.augmap import (
    References,
    Tree,
    drop,
    find,
    items,
    pruned,
    put,
    read_label,
    read_plain,
    shallow,
    shown,
    total_weight,
    whole,
)


class Amounts:
    """A dictionary of numbers that weigh what they are."""

    def __init__(self, key_bits: int) -> None:
        self.key_bits = key_bits

    def weight(self, value: int, /) -> int:
        return value

    def write_weight(self, builder: Builder, weight: int, /) -> None:
        builder.coins(weight)

    def write_value(self, builder: Builder, value: int, /) -> None:
        builder.uint(value, 32)


SMALL = Amounts(4)
LONG = Amounts(256)
REFERENCES = References(32)

# In four bits keys collide and share paths all the time; in 256 they hardly ever do.
key_widths = st.sampled_from([4, 16, 256])


def grown(layout: Amounts, entries: dict[int, int]) -> Tree[int] | None:
    tree: Tree[int] | None = None
    for key, value in entries.items():
        tree = put(layout, tree, key, value)
    return tree


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[tuple[int, int | None]]]:
    """Draw a width of keys, and puts and (None) drops."""
    bits = draw(key_widths)
    keys = st.integers(0, (1 << bits) - 1) | st.integers(0, min(40, (1 << bits) - 1))
    return bits, draw(st.lists(st.tuples(keys, st.none() | st.integers(0, 1000)), max_size=60))


@pytest.mark.slow
@given(history=histories())
@settings(max_examples=200, deadline=None)
def test_whatever_is_put_and_dropped_the_dictionary_holds_what_a_dict_holds(
    history: tuple[int, list[tuple[int, int | None]]],
) -> None:
    bits, steps = history
    layout = Amounts(bits)
    model: dict[int, int] = {}
    tree: Tree[int] | None = None

    for key, value in steps:
        if value is None:
            model.pop(key, None)
            tree = drop(layout, tree, key)
        else:
            model[key] = value
            tree = put(layout, tree, key, value)

        assert total_weight(tree) == sum(model.values())
        assert find(tree, key) == model.get(key)

    assert list(items(tree)) == sorted(model.items())
    # However it came about, equal contents are the same tree.
    again = grown(layout, dict(sorted(model.items())))
    if tree is not None and again is not None:
        assert pruned(layout, tree).hash == pruned(layout, again).hash
    else:
        assert tree is again is None


@given(first=st.dictionaries(st.integers(0, 15), st.integers(0, 9)), key=st.integers(0, 15))
@settings(deadline=None)
def test_an_update_leaves_older_versions_as_they_were(first: dict[int, int], key: int) -> None:
    before = grown(SMALL, first)
    hash_before = before and pruned(SMALL, before).hash

    put(SMALL, before, key, 1000)
    drop(SMALL, before, key)

    assert dict(items(before)) == first
    assert (before and whole(SMALL, before).hash) == hash_before


def test_dropping_what_is_not_there_gives_the_very_same_tree() -> None:
    tree = grown(SMALL, {1: 1, 2: 2, 9: 9})

    assert drop(SMALL, tree, 3) is tree
    assert drop(SMALL, None, 3) is None


@given(numbers=st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), min_size=1, max_size=20))
@settings(deadline=None)
def test_a_plain_dictionary_has_the_hash_that_another_library_gives_it(numbers: dict[int, int]) -> None:
    theirs = HashMap(32, value_serializer=lambda value, cell: cell.store_ref(value))
    tree: Tree[Cell] | None = None
    for key, number in numbers.items():
        tree = put(REFERENCES, tree, key, Builder().uint(number, 64).cell())
        theirs.set_int_key(key, TheirBuilder().store_uint(number, 64).end_cell())

    assert tree is not None
    assert whole(REFERENCES, tree).hash == theirs.serialize().hash


@given(numbers=st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), min_size=1, max_size=20))
@settings(deadline=None)
def test_a_plain_dictionary_is_read_back(numbers: dict[int, int]) -> None:
    tree: Tree[Cell] | None = None
    for key, number in numbers.items():
        tree = put(REFERENCES, tree, key, Builder().uint(number, 64).cell())
    assert tree is not None

    found = read_plain(read_one(write_boc(whole(REFERENCES, tree))), 32)

    assert {key: int.from_bytes(rest.reference().data, "big") for key, rest in found.items()} == numbers


def full_cells(cell: Cell) -> int:
    """Count the cells of a tree that are not pruned."""
    return 0 if cell.kind == PRUNED_BRANCH else 1 + sum(map(full_cells, cell.references))


@pytest.mark.slow
@given(
    entries=st.dictionaries(st.integers(0, 2**16 - 1), st.integers(0, 9), min_size=1, max_size=30),
    others=st.lists(st.integers(0, 2**16 - 1), max_size=4),
    draw=st.data(),
)
@settings(deadline=None)
def test_a_proof_shows_the_paths_that_are_asked_for_and_no_others(
    entries: dict[int, int], others: list[int], draw: st.DataObject
) -> None:
    layout = Amounts(16)
    tree = grown(layout, entries)
    assert tree is not None
    asked = draw.draw(st.lists(st.sampled_from(sorted(entries)), unique=True, max_size=3)) + others

    proof = shown(layout, tree, asked)

    assert proof.hash == whole(layout, tree).hash == shallow(layout, tree).hash == pruned(layout, tree).hash
    assert full_cells(shallow(layout, tree)) == 1
    # A path is never longer than a key has bits.
    assert full_cells(proof) <= 1 + 16 * len(asked)
    leaves = leaves_of(proof, 16)
    assert {key: entries[key] for key in asked if key in entries}.items() <= leaves.items()
    assert leaves.items() <= entries.items()


def leaves_of(cell: Cell, bits: int) -> dict[int, int]:
    """Read the leaves that a proof shows, going round what is pruned."""
    found: dict[int, int] = {}
    waiting = [(cell, 0, bits)]
    while waiting:
        node, prefix, left = waiting.pop()
        if node.kind == PRUNED_BRANCH:
            continue
        reader = Slice(node)
        label, size = read_label(reader, left)
        prefix, left = prefix << size | label, left - size
        if left:
            waiting += [
                (reader.reference(), prefix << 1, left - 1),
                (reader.reference(), prefix << 1 | 1, left - 1),
            ]
        else:
            reader.coins()
            found[prefix] = reader.uint(32)
    return found


def test_keys_that_were_chosen_to_make_the_deepest_tree_are_served() -> None:
    # Anybody can send money to any address. These 257 make a chain of forks, one a bit.
    keys = [0, *(1 << bit for bit in range(256))]

    tree = grown(LONG, dict.fromkeys(keys, 1))

    assert tree is not None
    assert total_weight(tree) == 257
    assert pruned(LONG, tree).depth == 256
    assert shown(LONG, tree, keys).hash == whole(LONG, tree).hash
    assert [key for key, _ in items(tree)] == sorted(keys)
    for key in keys[:-1]:
        tree = drop(LONG, tree, key)
    assert list(items(tree)) == [(1 << 255, 1)]


@given(data=st.integers(0, 2**80 - 1))
def test_a_dictionary_of_random_bits_is_read_or_refused(data: int) -> None:
    leaf = Builder().uint(data, 80).cell()
    cell = Builder().uint(data & 0xFFF, 12).reference(leaf).reference(leaf).cell()

    try:
        found = read_plain(cell, 32)
    except MalformedMessage:
        return

    assert all(0 <= key < 1 << 32 for key in found)


def test_a_label_longer_than_its_key_is_refused() -> None:
    # `hml_short` of nine bits, where four are left.
    cell = Builder().uint(0b0_111111111_0, 11).uint(0, 9).cell()

    with pytest.raises(MalformedMessage, match="longer than its key"):
        read_plain(cell, 4)
