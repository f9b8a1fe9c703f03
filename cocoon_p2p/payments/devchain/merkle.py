"""Proofs that something is part of a tree whose hash is known: the path to it, and all else pruned.

The chain keeps its trees with their bulk pruned already. A proof puts fuller cells in the
place of pruned branches (`with_part`), leaves out what is not asked for (`only`), and wraps it
all up (`merkle_proof`).

Spec: TVM, section 3.1 (exotic cells); block.tlb, `MERKLE_PROOF`, `MERKLE_UPDATE`.
"""

from cocoon_p2p.payments.cells import MERKLE_PROOF, MERKLE_UPDATE, PRUNED_BRANCH, Cell, merkle, stub


def pruned(cell: Cell) -> Cell:
    return cell if cell.kind == PRUNED_BRANCH else stub(cell.hash, cell.depth)


def merkle_update(old: Cell, new: Cell) -> Cell:
    """Say that one tree became another, and no more than that: both are pruned whole."""
    return merkle(MERKLE_UPDATE, (pruned(old), pruned(new)))


def merkle_proof(root: Cell) -> Cell:
    """Wrap up a tree, some of it pruned, as the proof that it is part of the whole one."""
    return merkle(MERKLE_PROOF, (root,))


def only(cell: Cell, *kept: int) -> Cell:
    """Prune all of a cell's references but some, given by their places."""
    references = [one if place in kept else pruned(one) for place, one in enumerate(cell.references)]
    return Cell(cell.bits, cell.data, references, cell.kind)


def with_part(cell: Cell, path: tuple[int, ...], part: Cell) -> Cell:
    """Put a fuller cell in the place of a pruned one: the reference that `path` leads to."""
    if not path:
        assert part.hash == cell.hash
        return part
    references = list(cell.references)
    references[path[0]] = with_part(references[path[0]], path[1:], part)
    return Cell(cell.bits, cell.data, references, cell.kind)
