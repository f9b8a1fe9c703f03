"""What lite clients check answers by: Merkle proofs from a block's hash down to what was asked.

A proof about a state is two trees in one bag: the block, down to the hash of the state that
it leads to, and the state, down to what is proven.

Spec: lite_api.tl; crypto/block/check-proof.cpp, which is what clients follow.
"""

from collections.abc import Iterable

from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Cell
from cocoon_p2p.payments.devchain.augmap import shown, whole
from cocoon_p2p.payments.devchain.blocks import Block, BlockPair
from cocoon_p2p.payments.devchain.layouts import ACCOUNTS, CHANGES_FULL, CHANGES_NAMED, key_of
from cocoon_p2p.payments.devchain.merkle import merkle_proof, only, with_part
from cocoon_p2p.payments.devchain.messages import AccountId

# Places of references: in `Block`, from there to the root of `ShardAccountBlocks`; in
# `ShardStateUnsplit` to the root of `ShardAccounts`, and to parts of `McStateExtra`.
_INFO, _UPDATE, _EXTRA = 0, 2, 3
_CHANGES_ROOT = (_EXTRA, 2, 0)
_ACCOUNTS_ROOT = (1, 0)
_SHARDS, _CONFIG = (3, 0), (3, 1)


def header_proof(block: Block) -> Cell:
    """Prove a block's number, time and forebears, and the hash of the state that it leads to."""
    return merkle_proof(only(block.root, _INFO, _UPDATE))


def shard_proof(master: Block) -> bytes:
    """Prove which block of the shard a masterchain block names."""
    return write_boc(header_proof(master), merkle_proof(master.state))


def account_proof(pair: BlockPair, address: AccountId) -> bytes:
    """Prove what an account's state hashes to after a block, or that there is no account."""
    state = pair.shard.state
    if pair.accounts is not None:
        state = with_part(state, _ACCOUNTS_ROOT, shown(ACCOUNTS, pair.accounts, (key_of(address),)))
    return write_boc(header_proof(pair.shard), merkle_proof(state))


def config_proof(master: Block, config: Cell) -> bytes:
    """Give the whole configuration, which everywhere else is known by its hash alone."""
    return write_boc(merkle_proof(with_part(master.state, _CONFIG, config)))


def transactions_proof(pair: BlockPair, addresses: Iterable[AccountId]) -> bytes:
    """Prove all that a block did to some accounts, and which accounts it left alone."""
    root = only(pair.shard.root, _EXTRA)
    if pair.changes is not None:
        root = with_part(root, _CHANGES_ROOT, shown(CHANGES_NAMED, pair.changes, map(key_of, addresses)))
    return write_boc(merkle_proof(root))


def full_block(pair: BlockPair) -> Cell:
    """Give the shard's block with its transactions in it, where the chain itself keeps hashes."""
    if pair.changes is None:
        return pair.shard.root
    return with_part(pair.shard.root, _CHANGES_ROOT, whole(CHANGES_FULL, pair.changes))


def shard_description(master: Block) -> Cell:
    """Give the cell in which a masterchain block's state names the shard's block."""
    shards, place = master.state, _SHARDS
    for reference in place:
        shards = shards.references[reference]
    return shards
