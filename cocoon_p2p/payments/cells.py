"""Cells: what TON's states, blocks and proofs are made of. Enough to hash, to build and to read them.

A cell holds up to 1023 bits and 4 references. Its hash names the whole tree below it, so a
subtree of which only the hash is known can stand in for itself: a *pruned branch*. The local
chain keeps contracts' code, data and messages inside the virtual machine and only builds what
is around them; in its trees every account and transaction is such a branch.

`hash` and `depth` of a `Cell` are those of level 0: what the tree would have with nothing
pruned. Only one level of pruning is needed here, so `level_mask` is 0 or 1.

Spec: TVM, section 3.1 (cells, their kinds, their hashes); crypto/block/block.tlb.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Self

from cocoon_p2p.errors import MalformedMessage

ORDINARY, PRUNED_BRANCH, LIBRARY, MERKLE_PROOF, MERKLE_UPDATE = -1, 1, 2, 3, 4

BITS_MAX = 1023
REFERENCES_MAX = 4
DEPTH_MAX = 600
"The deepest tree that is read: TON takes messages 512 deep. Recursion over it stays within Python's limit."

_EXOTIC_FLAG = 8
_LEVEL_FACTOR = 32
_PRUNED_BITS = 8 * (2 + 32 + 2)


class Cell:
    """A cell. Never changed once made; not a dataclass because a block makes hundreds."""

    __slots__ = ("bits", "data", "depth", "hash", "kind", "level_mask", "references", "standing")

    bits: int
    "How many bits of data it holds."

    data: bytes
    "The bits, the last byte completed by a 1 and zeros if they do not fill it."

    references: tuple["Cell", ...]
    kind: int
    level_mask: int
    depth: int
    hash: bytes
    standing: tuple[bytes, int] | None
    "Hash and depth of level 1, once somebody asked."

    def __init__(self, bits: int, data: bytes, references: Iterable["Cell"] = (), kind: int = ORDINARY):
        self.bits = bits
        self.data = data
        self.references = tuple(references)
        self.kind = kind
        mask = depth = 0
        depths = hashes = b""
        for reference in self.references:
            mask |= reference.level_mask
            if reference.depth >= depth:
                depth = reference.depth + 1
            depths += reference.depth.to_bytes(2, "big")
            hashes += reference.hash
        self.level_mask = mask
        self.depth = depth
        self.standing = None
        self.hash = sha256(_descriptors(self, 0) + data + depths + hashes).digest()

    @property
    def descriptors(self) -> bytes:
        """The two bytes that come before a cell's data, in hashes and in bags."""
        return _descriptors(self, self.level_mask)

    def __repr__(self) -> str:
        return f"Cell({self.hash.hex()[:16]}, {self.bits} bits, {len(self.references)} references)"


def stub(hash_: bytes, depth: int) -> Cell:
    """Stand in for a tree of which only the hash and depth are known: a pruned branch of level 1."""
    # Not made by `Cell`, which would reckon the hash and depth of the branch itself.
    cell = Cell.__new__(Cell)
    cell.bits = _PRUNED_BITS
    cell.data = b"\x01\x01" + hash_ + depth.to_bytes(2, "big")
    cell.references = ()
    cell.kind = PRUNED_BRANCH
    cell.level_mask, cell.hash, cell.depth, cell.standing = 1, hash_, depth, None
    return cell


def merkle(kind: int, children: tuple[Cell, ...]) -> Cell:
    """Make the cell that turns pruned trees back into ordinary ones: a Merkle proof, or an update.

    Its data repeat the children's hashes and depths of level 0; its own hash covers the
    children as they stand, with their branches pruned.
    """
    names = b"".join(child.hash for child in children)
    depths = b"".join(child.depth.to_bytes(2, "big") for child in children)
    data = bytes((kind,)) + names + depths
    cell = Cell(8 * len(data), data, children, kind)
    shown = [as_it_stands(child) for child in children]
    cell.level_mask = 0
    cell.depth = 1 + max(depth for _, depth in shown)
    cell.hash = _hash(cell, data, shown, 0)
    return cell


def as_it_stands(root: Cell) -> tuple[bytes, int]:
    """Give a tree's hash and depth of level 1, where pruned branches count as themselves.

    It tells a tree from the same tree with more of it pruned, which `hash` does not.
    """
    # Each cell once, and no recursion: the tree may be a stranger's, deep and folded over itself.
    waiting = [root]
    while waiting:
        cell = waiting[-1]
        missing = [one for one in cell.references if one.standing is None and one.level_mask]
        if missing and cell.standing is None:
            waiting += missing
            continue
        waiting.pop()
        if cell.standing is None:
            cell.standing = _standing(cell)
    assert root.standing is not None
    return root.standing


def _standing(cell: Cell) -> tuple[bytes, int]:
    """Reckon what `as_it_stands` gives, when that of what is below is known."""
    if not cell.level_mask:
        return cell.hash, cell.depth
    if cell.kind == PRUNED_BRANCH:
        return sha256(cell.descriptors + cell.data).digest(), 0
    below = [one.standing or (one.hash, one.depth) for one in cell.references]
    # A level's hash covers the one of the level below in the place of the data.
    return _hash(cell, cell.hash, below, cell.level_mask), 1 + max(depth for _, depth in below)


def _descriptors(cell: Cell, mask: int) -> bytes:
    first = len(cell.references) + _EXOTIC_FLAG * (cell.kind != ORDINARY) + _LEVEL_FACTOR * mask
    return bytes((first, cell.bits // 8 + (cell.bits + 7) // 8))


def _hash(cell: Cell, data: bytes, references: list[tuple[bytes, int]], mask: int) -> bytes:
    depths = b"".join(depth.to_bytes(2, "big") for _, depth in references)
    hashes = b"".join(hash_ for hash_, _ in references)
    return sha256(_descriptors(cell, mask) + data + depths + hashes).digest()


class Builder:
    """Writes the data of one cell, field after field, as TL-B orders them. Each call gives itself back."""

    __slots__ = ("_bits", "_references", "_value")

    def __init__(self) -> None:
        self._value = 0
        self._bits = 0
        self._references: list[Cell] = []

    def uint(self, value: int, bits: int) -> Self:
        """Add an unsigned number, most significant bit first."""
        assert 0 <= value < 1 << bits, (value, bits)
        self._value = self._value << bits | value
        self._bits += bits
        return self

    def sint(self, value: int, bits: int) -> Self:
        """Add a signed number (two's complement)."""
        assert -(1 << bits - 1) <= value < 1 << bits - 1, (value, bits)
        return self.uint(value & (1 << bits) - 1, bits)

    def octets(self, data: bytes) -> Self:
        return self.uint(int.from_bytes(data, "big"), 8 * len(data))

    def reference(self, cell: Cell) -> Self:
        self._references.append(cell)
        return self

    def maybe_reference(self, cell: Cell | None) -> Self:
        """Add `Maybe ^Cell`: one bit, and the reference if there is one."""
        return self.uint(0, 1) if cell is None else self.uint(1, 1).reference(cell)

    def coins(self, nano: int) -> Self:
        """Add `Coins` (`VarUInteger 16`): the length in bytes, then the amount."""
        size = (nano.bit_length() + 7) // 8
        return self.uint(size << 8 * size | nano, 4 + 8 * size)

    def money(self, nano: int) -> Self:
        """Add a `CurrencyCollection` of TON alone."""
        return self.coins(nano).uint(0, 1)

    def root_of(self, cell: Cell) -> Self:
        """Add a cell's own bits and references, where TL-B has the type without `^`."""
        unused = -cell.bits % 8
        self.uint(int.from_bytes(cell.data, "big") >> unused, cell.bits)
        self._references += cell.references
        return self

    def cell(self) -> Cell:
        assert self._bits <= BITS_MAX
        assert len(self._references) <= REFERENCES_MAX
        unused = -self._bits % 8
        value = (self._value << 1 | 1) << unused - 1 if unused else self._value
        return Cell(self._bits, value.to_bytes((self._bits + 7) // 8, "big"), self._references)


class Slice:
    """Reads a cell's fields in order. What is asked for and not there raises `MalformedMessage`."""

    __slots__ = ("_left", "_references", "_value")

    def __init__(self, cell: Cell) -> None:
        self._value = int.from_bytes(cell.data, "big") >> -cell.bits % 8
        self._left = cell.bits
        self._references = list(reversed(cell.references))

    @property
    def bits_left(self) -> int:
        return self._left

    def uint(self, bits: int) -> int:
        if bits > self._left:
            raise MalformedMessage(f"a cell ends too early (wanted={bits} left={self._left} bits)")
        self._left -= bits
        return self._value >> self._left & (1 << bits) - 1

    def sint(self, bits: int) -> int:
        value = self.uint(bits)
        return value - (value >> bits - 1 << bits)

    def octets(self, size: int) -> bytes:
        return self.uint(8 * size).to_bytes(size, "big")

    def coins(self) -> int:
        return self.uint(8 * self.uint(4))

    def reference(self) -> Cell:
        if not self._references:
            raise MalformedMessage("a cell has too few references")
        return self._references.pop()

    def maybe_reference(self) -> Cell | None:
        return self.reference() if self.uint(1) else None

    def rest(self) -> Cell:
        """Take all that is left, as a cell of its own."""
        bits = self._left
        builder = Builder().uint(self.uint(bits), bits)
        while self._references:
            builder.reference(self._references.pop())
        return builder.cell()
