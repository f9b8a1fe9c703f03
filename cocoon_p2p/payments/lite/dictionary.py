"""TON's dictionaries, read: prefix trees of cells, of which a proof may show only some paths.

A node's cell begins with a label, the part of the key that all below it share. A fork has two
references, for the next bit 0 and 1. Dictionaries with sums (`HashmapAug`) carry a sum in each
node, after the label; `skip` reads past it.

Spec: TVM, section 3.3; block.tlb, `Hashmap`, `HmLabel`, `HashmapAug`.
"""

from collections.abc import Callable, Iterator

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.cells import PRUNED_BRANCH, Cell, Slice


def _nothing(_: Slice) -> None:
    return None


def find(root: Cell, key: int, key_bits: int, skip: Callable[[Slice], None] = _nothing) -> Slice | None:
    """Follow a key's path to its value; None if the tree shows that the key is not in it.

    Args:
        root: The tree's root, which exists.
        key: What to look for.
        key_bits: The length of the tree's keys.
        skip: Reads past a node's sum, where nodes have one.

    Raises:
        MalformedMessage: The path is not shown, or this is no such dictionary.
    """
    cell, left = root, key_bits
    while True:
        slice_ = _opened(cell)
        label, size = _read_label(slice_, left)
        left -= size
        if key >> left & (1 << size) - 1 != label:
            return None
        if left == 0:
            skip(slice_)
            return slice_
        left -= 1
        zero, one = slice_.reference(), slice_.reference()
        cell = one if key >> left & 1 else zero


def items(root: Cell, key_bits: int) -> Iterator[tuple[int, Slice]]:
    """Give all keys and values of a tree without sums, in the order of the keys.

    Raises:
        MalformedMessage: Some of it is not shown, or this is no such dictionary.
    """
    waiting = [(root, 0, key_bits)]
    while waiting:
        cell, prefix, left = waiting.pop()
        slice_ = _opened(cell)
        label, size = _read_label(slice_, left)
        left -= size
        prefix = prefix << size | label
        if left == 0:
            yield prefix, slice_
            continue
        zero, one = slice_.reference(), slice_.reference()
        waiting += ((one, prefix << 1 | 1, left - 1), (zero, prefix << 1, left - 1))


def _opened(cell: Cell) -> Slice:
    if cell.kind == PRUNED_BRANCH:
        raise MalformedMessage("a dictionary's path is not shown")
    return Slice(cell)


def _read_label(slice_: Slice, longest: int) -> tuple[int, int]:
    """Read `HmLabel`: the bits, and how many."""
    size_bits = longest.bit_length()
    if not slice_.uint(1):
        size = 0
        while slice_.uint(1):
            size += 1
        label = slice_.uint(size)
    elif not slice_.uint(1):
        size = slice_.uint(size_bits)
        label = slice_.uint(size)
    else:
        bit, size = slice_.uint(1), slice_.uint(size_bits)
        label = ((1 << size) - 1) * bit
    if size > longest:
        raise MalformedMessage(f"a dictionary's label is too long (bits={size} limit={longest})")
    return label, size
