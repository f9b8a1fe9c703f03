"""Bags of cells from strangers, read: whole trees, and proofs with the parts that they leave out as branches.

A proof of a real block has a Merkle update in it, so its branches are pruned at two levels, and
each cell has a hash a level. What counts in the end is level 0: what the tree would hash to
with nothing pruned. The higher ones are reckoned because Merkle cells are made of them.

A Merkle cell says in its data what its children hash to, and the children say it themselves.
That both agree must be checked: the hash of a Merkle cell covers its data and the children's
*next* level, but not what a pruned child says of its own level 0. Whoever reads it there
unchecked can be shown any state below a true block.

Spec: TVM, section 3.1 (cells, their kinds, their hashes); crypto/vm/cells/DataCell.cpp.
"""

from collections.abc import Sequence
from hashlib import sha256

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import RawCell, read_raw
from cocoon_p2p.payments.cells import MERKLE_PROOF, MERKLE_UPDATE, ORDINARY, PRUNED_BRANCH, Cell

_LEVELS = 4
_LEVEL_MASK_MAX = 7
_HASH_BYTES, _DEPTH_BYTES = 32, 2
_DEPTH_MAX = 1024
"The deepest that TON has."

_MERKLE_CHILDREN = {MERKLE_PROOF: 1, MERKLE_UPDATE: 2}
_EXOTIC_FLAG, _LEVEL_FACTOR = 8, 32

_Name = tuple[bytes, int]
"A hash and a depth."

_Names = tuple[_Name, ...]
"One for each level."


def read_proofs(data: bytes, count: int) -> tuple[Cell, ...]:
    """Read the trees that a bag's proofs prove.

    Args:
        data: The bag.
        count: How many proofs there should be.

    Raises:
        MalformedMessage: It is no such bag, or a cell in it is not what it says.
    """
    roots = read_trees(data)
    if len(roots) != count or any(root.kind != MERKLE_PROOF for root in roots):
        raise MalformedMessage(f"a bag of Merkle proofs was expected (proofs={count})")
    return tuple(root.references[0] for root in roots)


def read_whole(data: bytes) -> tuple[Cell, ...]:
    """Read trees that show all of themselves: else a branch that is left out would be read as data.

    What contracts keep and send may contain proofs, and proofs of proofs.

    Raises:
        MalformedMessage: It is no bag, or a cell in it is not what it says, or something is left out.
    """
    roots = read_trees(data)
    if any(root.level_mask for root in roots):
        raise MalformedMessage("a tree of which a part is left out")
    return roots


def read_trees(data: bytes) -> tuple[Cell, ...]:
    """Read a bag with branches pruned at any level. A cell's `hash` and `depth` are those of level 0.

    Raises:
        MalformedMessage: It is no bag, or a cell in it is not what it says.
    """
    roots, raw = read_raw(data)
    cells: dict[int, Cell] = {}
    names: dict[int, _Names] = {}
    for number in range(len(raw) - 1, -1, -1):
        one = raw[number]
        # References point forward, so all that is below is there.
        if any(reference not in cells for reference in one.references):
            raise MalformedMessage("a reference does not point forward")
        children = [cells[reference] for reference in one.references]
        mask = _level_mask(one, children)
        names[number] = _named(one, mask, [names[reference] for reference in one.references])
        cells[number] = _cell(one, children, mask, names[number][0])
    return tuple(cells[root] for root in roots)


def _level_mask(raw: RawCell, children: Sequence[Cell]) -> int:
    if raw.kind == PRUNED_BRANCH:
        return raw.data[1] if len(raw.data) > 1 else 0
    below = 0
    for child in children:
        below |= child.level_mask
    return below >> 1 if raw.kind in _MERKLE_CHILDREN else below


def _cell(raw: RawCell, children: Sequence[Cell], mask: int, name: _Name) -> Cell:
    # Not made by `Cell`, which knows one level and would hash everything once more.
    cell = Cell.__new__(Cell)
    cell.bits, cell.data, cell.references, cell.kind = raw.bits, raw.data, tuple(children), raw.kind
    cell.level_mask, cell.standing = mask, None
    cell.hash, cell.depth = name
    return cell


def _named(raw: RawCell, mask: int, children: Sequence[_Names]) -> _Names:
    """Reckon a cell's hash and depth at each level."""
    if raw.kind == PRUNED_BRANCH:
        return _branch_names(raw, mask)
    is_merkle = raw.kind in _MERKLE_CHILDREN
    if is_merkle:
        _check_merkle(raw, children)
    names: list[_Name] = []
    for level in range(_LEVELS):
        if level and not mask >> level - 1 & 1:
            names.append(names[-1])
            continue
        seen = [child[min(level + is_merkle, _LEVELS - 1)] for child in children]
        # A level's hash covers the one of the level below in the place of the data.
        data = names[-1][0] if level else raw.data
        names.append(_name(raw, mask & (1 << level) - 1, data, seen))
    return tuple(names)


def _name(raw: RawCell, mask: int, data: bytes, seen: Sequence[_Name]) -> _Name:
    depth = 1 + max(depth for _, depth in seen) if seen else 0
    if depth > _DEPTH_MAX:
        raise MalformedMessage(f"a tree is too deep (limit={_DEPTH_MAX})")
    depths = b"".join(depth.to_bytes(_DEPTH_BYTES, "big") for _, depth in seen)
    hashes = b"".join(hash_ for hash_, _ in seen)
    return sha256(_descriptors(raw, mask) + data + depths + hashes).digest(), depth


def _descriptors(raw: RawCell, mask: int) -> bytes:
    first = len(raw.references) + _EXOTIC_FLAG * (raw.kind != ORDINARY) + _LEVEL_FACTOR * mask
    return bytes((first, raw.bits // 8 + (raw.bits + 7) // 8))


def _branch_names(raw: RawCell, mask: int) -> _Names:
    """Read what a pruned branch stands for: a hash and a depth for each level that it was pruned at."""
    count = mask.bit_count()
    size = 2 + count * (_HASH_BYTES + _DEPTH_BYTES)
    if not 1 <= mask <= _LEVEL_MASK_MAX or raw.bits != 8 * size or raw.references:
        raise MalformedMessage("a pruned branch that cannot be")
    hashes, depths = raw.data[2 : 2 + count * _HASH_BYTES], raw.data[2 + count * _HASH_BYTES :]
    told = [
        (
            hashes[place * _HASH_BYTES : (place + 1) * _HASH_BYTES],
            int.from_bytes(depths[place * _DEPTH_BYTES : (place + 1) * _DEPTH_BYTES], "big"),
        )
        for place in range(count)
    ]
    itself = sha256(_descriptors(raw, mask) + raw.data).digest(), 0
    # At level `l` it counts as pruned at as many levels as its mask has bits below `l`.
    return tuple(([*told, itself])[(mask & (1 << level) - 1).bit_count()] for level in range(_LEVELS))


def _check_merkle(raw: RawCell, children: Sequence[_Names]) -> None:
    named = [child[0] for child in children]
    said = b"".join(hash_ for hash_, _ in named)
    said += b"".join(depth.to_bytes(_DEPTH_BYTES, "big") for _, depth in named)
    if len(children) != _MERKLE_CHILDREN[raw.kind] or raw.data != bytes((raw.kind,)) + said:
        raise MalformedMessage("a Merkle cell does not fit what it stands for")
