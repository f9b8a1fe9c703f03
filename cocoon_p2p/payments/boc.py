"""Bags of cells: trees of cells as bytes, each cell once.

Written without an index, a checksum or hashes, which is what lite servers send. Read with all
of them, because nodes and libraries write them.

Spec: TVM whitepaper, section 5 of the appendix of TON's (`serialized_boc#b5ee9c72`),
crypto/tl/boc.tlb.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.cells import (
    BITS_MAX,
    DEPTH_MAX,
    MERKLE_PROOF,
    MERKLE_UPDATE,
    ORDINARY,
    PRUNED_BRANCH,
    REFERENCES_MAX,
    Cell,
    as_it_stands,
    merkle,
    stub,
)

_MAGIC = bytes.fromhex("b5ee9c72")
_HAS_INDEX, _HAS_CHECKSUM, _SIZE_MASK = 128, 64, 7
_HAS_HASHES = 16
_LEVEL_SHIFT = 5
_CHECKSUM_BYTES = 4
_MERKLE_CHILDREN = {MERKLE_PROOF: 1, MERKLE_UPDATE: 2}
_STUB_BYTES = 36

CELLS_MAX = 1 << 20
"The most cells that are read from one bag: more than any that the local chain writes."


def write_boc(*roots: Cell) -> bytes:
    """Write trees into one bag; a cell that they share is written once. Parents come before children."""
    order: dict[bytes, Cell] = {}
    for root in roots:
        _children_first(root, order)
    cells = list(reversed(order.values()))
    index = {_name(cell): number for number, cell in enumerate(cells)}
    size = _bytes_for(len(cells))
    body = b"".join(
        cell.descriptors
        + cell.data
        + b"".join(index[_name(reference)].to_bytes(size, "big") for reference in cell.references)
        for cell in cells
    )
    offset_size = _bytes_for(len(body))
    counts = [len(cells), len(roots), 0]
    return b"".join(
        (
            _MAGIC,
            bytes((size, offset_size)),
            *(count.to_bytes(size, "big") for count in counts),
            len(body).to_bytes(offset_size, "big"),
            *(index[_name(root)].to_bytes(size, "big") for root in roots),
            body,
        )
    )


def _children_first(root: Cell, order: dict[bytes, Cell]) -> None:
    waiting = [root]
    while waiting:
        cell = waiting[-1]
        missing = [one for one in reversed(cell.references) if _name(one) not in order]
        if missing:
            waiting += missing
        else:
            order.setdefault(_name(cell), cell)
            waiting.pop()


def _name(cell: Cell) -> bytes:
    return as_it_stands(cell)[0]


def _bytes_for(number: int) -> int:
    return max(1, (number.bit_length() + 7) // 8)


def read_boc(data: bytes) -> tuple[Cell, ...]:
    """Read the roots of a bag of cells.

    Raises:
        MalformedMessage: It is no bag, is cut short, a reference does not point forward, a cell
            is impossible, or it is larger than `CELLS_MAX` or deeper than `DEPTH_MAX`.
    """
    roots, raw = read_raw(data)
    cells = _build(raw)
    return tuple(cells[root] for root in roots)


def read_one(data: bytes) -> Cell:
    """Read a bag that holds one tree. Raises as `read_boc`."""
    roots = read_boc(data)
    if len(roots) != 1:
        raise MalformedMessage(f"a bag of one tree was expected (roots={len(roots)})")
    return roots[0]


def read_raw(data: bytes) -> tuple[tuple[int, ...], list["RawCell"]]:
    """Read a bag without making cells of it: the numbers of its roots, and all that it says of each cell.

    Nothing is hashed, and references may point anywhere: that is for whoever makes the cells.

    Raises:
        MalformedMessage: As `read_boc`, but for what is said above.
    """
    reader = _Reader(data)
    if reader.take(4) != _MAGIC:
        raise MalformedMessage("not a bag of cells")
    flags, offset_size = reader.take(2)
    size = flags & _SIZE_MASK
    if not 1 <= size <= 4 or not 1 <= offset_size <= 8:
        raise MalformedMessage(f"a bag of cells with impossible sizes (size={size} offset={offset_size})")
    count, root_count, absent = reader.number(size), reader.number(size), reader.number(size)
    reader.number(offset_size)
    if not 1 <= root_count <= count <= CELLS_MAX or absent:
        raise MalformedMessage(f"a bag with impossible counts (cells={count} roots={root_count})")
    roots = tuple(reader.number(size) for _ in range(root_count))
    if flags & _HAS_INDEX:
        reader.take(count * offset_size)
    raw = [_read_cell(reader, size) for _ in range(count)]
    reader.end(_CHECKSUM_BYTES if flags & _HAS_CHECKSUM else 0)
    if max(roots) >= count:
        raise MalformedMessage("a root is not in its bag")
    return roots, raw


@dataclass(frozen=True, slots=True)
class RawCell:
    """A cell as a bag says it is."""

    bits: int
    data: bytes
    kind: int
    references: tuple[int, ...]
    "The numbers of other cells in the bag."


class _Reader:
    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise MalformedMessage("a bag of cells is cut short")
        self._at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def end(self, trailer: int) -> None:
        self.take(trailer)
        if self._at != len(self._data):
            raise MalformedMessage("bytes are left after a bag of cells")


def _read_cell(reader: _Reader, size: int) -> RawCell:
    first, second = reader.take(2)
    references = first & 7
    if references > REFERENCES_MAX:
        raise MalformedMessage(f"a cell has impossible descriptors (first={first:#x})")
    if first & _HAS_HASHES:
        # A writer's help for readers in a hurry: a hash and depth a level. They are reckoned anew here.
        levels = 1 + (first >> _LEVEL_SHIFT).bit_count()
        reader.take(levels * (32 + 2))
    data = reader.take((second + 1) // 2)
    bits = 8 * len(data)
    if second % 2:
        if not data[-1]:
            raise MalformedMessage("a cell's last byte does not say where its bits end")
        # The lowest 1 of the last byte closes the data.
        bits -= (data[-1] & -data[-1]).bit_length()
    if bits > BITS_MAX or (first & 8 and not data):
        raise MalformedMessage(f"a cell has an impossible size (bits={bits})")
    kind = data[0] if first & 8 else ORDINARY
    return RawCell(bits, data, kind, tuple(reader.number(size) for _ in range(references)))


def _build(raw: Sequence[RawCell]) -> list[Cell]:
    """Make the cells, last first: references point forward."""
    made: dict[int, Cell] = {}
    for number in range(len(raw) - 1, -1, -1):
        one = raw[number]
        if any(reference not in made for reference in one.references):
            raise MalformedMessage("a reference does not point forward")
        made[number] = _make(one, tuple(made[reference] for reference in one.references))
        if made[number].depth > DEPTH_MAX:
            raise MalformedMessage(f"a tree is too deep (limit={DEPTH_MAX})")
    return [made[number] for number in range(len(raw))]


def _make(raw: RawCell, references: tuple[Cell, ...]) -> Cell:
    if raw.kind == PRUNED_BRANCH:
        if len(raw.data) != _STUB_BYTES or raw.data[1] != 1 or references:
            raise MalformedMessage("only branches pruned at level 1 are read")
        return stub(raw.data[2:34], int.from_bytes(raw.data[34:], "big"))
    if raw.kind in _MERKLE_CHILDREN:
        if len(references) != _MERKLE_CHILDREN[raw.kind]:
            raise MalformedMessage("a Merkle cell has the wrong number of references")
        cell = merkle(raw.kind, references)
        if cell.data != raw.data:
            raise MalformedMessage("a Merkle cell does not fit what it stands for")
        return cell
    return Cell(raw.bits, raw.data, references, raw.kind)
