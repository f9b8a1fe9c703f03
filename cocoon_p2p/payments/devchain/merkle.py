"""Proofs that something is part of a tree whose hash is known: the path to it, and all else pruned.

Spec: TVM, section 3.1 (exotic cells); block.tlb, `MERKLE_PROOF`, `MERKLE_UPDATE`.
"""

from collections.abc import Iterable

from cocoon_p2p.payments.cells import MERKLE_PROOF, MERKLE_UPDATE, PRUNED_BRANCH, Cell, merkle, stub


def pruned(cell: Cell) -> Cell:
    return cell if cell.kind == PRUNED_BRANCH else stub(cell.hash, cell.depth)


def merkle_update(old: Cell, new: Cell) -> Cell:
    """Say that one tree became another, and no more than that: both are pruned whole."""
    return merkle(MERKLE_UPDATE, (pruned(old), pruned(new)))


def merkle_proof(root: Cell, shown: Iterable[Cell]) -> Cell:
    """Prove `shown`, cells of the tree under `root`; every other is pruned.

    The very cells are meant, not equal ones elsewhere in the tree. A cell is shown only if
    all those above it are.
    """
    names = {id(cell) for cell in shown}
    return merkle(MERKLE_PROOF, (_proof_body(root, names),))


def _proof_body(cell: Cell, shown: set[int]) -> Cell:
    if id(cell) not in shown:
        return pruned(cell)
    if cell.kind in (PRUNED_BRANCH, MERKLE_UPDATE):
        return cell
    return Cell(cell.bits, cell.data, [_proof_body(one, shown) for one in cell.references], cell.kind)
