"""The machine's stack as bytes, in and out, with bounds that the machine itself does not have.

A tuple may hold the same tuple twice, thirty times over: thirty cells, and a billion entries
once it is taken apart. Stacks come from strangers and from strangers' contracts, so both ways
are counted first. And a stack that claims more entries than it has is refused, where tonpy
reads a shorter one.

Spec: block.tlb, `VmStack`, `VmStackValue`, `VmTuple`.
"""

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.cells import Cell, Slice
from cocoon_p2p.payments.devchain.native import (
    NATIVE_ERRORS,
    NativeEntry,
    NativeReader,
    NativeStack,
    from_boc,
    to_boc,
    tonpy,
)

ENTRIES_MAX = 10_000
"The most entries of a stack, those of its tuples counted in."

DEPTH_MAX = 250
"How deep tuples may lie in tuples: as bytes they are cells in cells, of which TON takes 1024."

# vm/stack.hpp, `StackEntry::Type`. tonpy's own Python names are off by one from here on.
_TUPLE = 6
_PLAIN = frozenset((0, 1, 2, 3, 4, _TUPLE))
"Null, number, cell, builder, slice, tuple. A continuation may hold a stack of its own, so none is written."

_DEPTH_BITS = 24


def read_stack(boc: bytes) -> NativeStack:
    """Read a stack; no bytes are an empty one.

    Raises:
        MalformedMessage: It is none, or larger than `ENTRIES_MAX`.
    """
    if not boc:
        return tonpy().PyStack()
    root = read_one(boc)
    entries = Slice(root).uint(_DEPTH_BITS)
    if entries > ENTRIES_MAX or _expanded(root) > 2 * ENTRIES_MAX:
        raise MalformedMessage(f"a stack is too large (entries={entries} limit={ENTRIES_MAX})")
    try:
        stack = tonpy().deserialize_stack(NativeReader(from_boc(boc)).slice)
    except NATIVE_ERRORS as exc:
        raise MalformedMessage("not a stack") from exc
    if stack.depth() != entries:
        raise MalformedMessage(f"a stack is cut short (claimed={entries} found={stack.depth()})")
    return stack


def _expanded(root: Cell) -> int:
    """Count a tree's cells as often as they are referred to, which is what reading them costs."""
    counted: dict[bytes, int] = {}
    waiting = [root]
    while waiting:
        cell = waiting[-1]
        missing = [reference for reference in cell.references if reference.hash not in counted]
        if missing:
            waiting += missing
        else:
            counted[cell.hash] = 1 + sum(counted[reference.hash] for reference in cell.references)
            waiting.pop()
    return counted[root.hash]


def write_stack(stack: NativeStack) -> bytes:
    """Write a stack as a bag of cells.

    Raises:
        MalformedMessage: It is larger than `ENTRIES_MAX`, deeper than `DEPTH_MAX`, or holds what cannot
            be written.
    """
    _check_size(stack)
    try:
        return to_boc(stack.serialize(0))
    except NATIVE_ERRORS as exc:
        raise MalformedMessage("a stack that cannot be written") from exc


def _check_size(stack: NativeStack) -> None:
    left = ENTRIES_MAX - stack.depth()
    waiting: list[tuple[NativeEntry, int]] = []
    if left >= 0:
        waiting = [(stack.at(index), 1) for index in range(stack.depth())]
    while waiting and left >= 0:
        entry, depth = waiting.pop()
        kind = entry.type()
        if kind not in _PLAIN:
            raise MalformedMessage("a get-method left what is no plain value")
        if kind == _TUPLE:
            inside = entry.as_tuple()
            left -= len(inside)
            if depth >= DEPTH_MAX:
                left = -1
            waiting += [(one, depth + 1) for one in inside]
    if left < 0:
        raise MalformedMessage(f"a get-method left too much (limit={ENTRIES_MAX} entries, {DEPTH_MAX} deep)")
