"""What lite clients check answers by: Merkle proofs from a block's hash down to what was asked.

A proof about a state is two trees in one bag: the block, down to the hash of the state that
it leads to, and the state, down to what is proven.

Spec: lite_api.tl; crypto/block/check-proof.cpp, which is what clients follow.
"""

from collections.abc import Iterable, Iterator

from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import PRUNED_BRANCH, Cell
from cocoon_p2p.payments.devchain.augmap import Leaf, path
from cocoon_p2p.payments.devchain.blocks import Block, BlockPair
from cocoon_p2p.payments.devchain.layouts import key_of
from cocoon_p2p.payments.devchain.merkle import merkle_proof
from cocoon_p2p.payments.devchain.messages import AccountId

# The order of references in `Block` and in `McStateExtra`.
_INFO, _UPDATE, _EXTRA = 0, 2, 3
_SHARDS, _CONFIG = 0, 1


def header_proof(block: Block) -> Cell:
    """Prove a block's number, time and forebears, and the hash of the state that it leads to."""
    info, update = block.root.references[_INFO], block.root.references[_UPDATE]
    return merkle_proof(block.root, (block.root, info, *info.references, update))


def shard_proof(master: Block) -> bytes:
    """Prove which block of the shard a masterchain block names."""
    extra = _master_extra(master)
    shown = [master.state, *master.state.references, *extra.references, *_tree(extra.references[_SHARDS])]
    hidden = extra.references[_CONFIG]
    return _with_header(master, (cell for cell in shown if cell is not hidden))


def account_proof(pair: BlockPair, address: AccountId) -> bytes:
    """Prove what an account's state hashes to after a block, or that there is no account."""
    state = pair.shard.state
    nodes = path(pair.accounts, key_of(address))
    return _with_header(pair.shard, (state, *state.references, *(node.cell for node in nodes)))


def config_proof(master: Block, config: Cell) -> bytes:
    """Give the whole configuration, which everywhere else is known by its hash alone."""
    state, extra = master.state, _master_extra(master)
    references = list(extra.references)
    references[_CONFIG] = config
    full_extra = Cell(extra.bits, extra.data, references)
    full_state = Cell(state.bits, state.data, (*state.references[:-1], full_extra))
    assert full_state.hash == state.hash
    shown = (full_state, *full_state.references, *full_extra.references, *_tree(config))
    return write_boc(merkle_proof(full_state, shown))


def transactions_proof(pair: BlockPair, addresses: Iterable[AccountId]) -> bytes:
    """Prove all that a block did to some accounts, and which accounts it left alone."""
    root = pair.shard.root
    extra = root.references[_EXTRA]
    shown = [root, extra, *extra.references]
    for address in addresses:
        for node in path(pair.changes, key_of(address)):
            # A leaf holds the account's transactions, and nothing else.
            shown += _tree(node.cell) if isinstance(node, Leaf) else [node.cell]
    return write_boc(merkle_proof(root, shown))


def _with_header(block: Block, shown: Iterable[Cell]) -> bytes:
    return write_boc(header_proof(block), merkle_proof(block.state, shown))


def _master_extra(master: Block) -> Cell:
    return master.state.references[-1]


def shard_description(master: Block) -> Cell:
    """Give the cell in which a masterchain block's state names the shard's block."""
    return _master_extra(master).references[_SHARDS]


def _tree(cell: Cell) -> Iterator[Cell]:
    yield cell
    for reference in cell.references:
        if reference.kind != PRUNED_BRANCH:
            yield from _tree(reference)
