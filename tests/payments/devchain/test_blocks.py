"""Blocks, states and proofs as another library reads and checks them."""

from hashlib import sha256

import pytest
from pytoniq_core import Address
from pytoniq_core import Cell as TheirCell
from pytoniq_core.proof.check_proof import (
    ProofError,
    check_account_proof,
    check_block_header_proof,
    check_shard_proof,
)
from pytoniq_core.tl.block import BlockIdExt
from pytoniq_core.tlb.block import Block as TheirBlock
from pytoniq_core.tlb.block import ShardStateUnsplit

from cocoon_p2p.payments.boc import read_boc, write_boc
from cocoon_p2p.payments.cells import Cell
from cocoon_p2p.payments.devchain import AccountId, DevChain
from cocoon_p2p.payments.devchain.blocks import MASTERCHAIN, WORKCHAIN, Block, BlockId
from cocoon_p2p.payments.devchain.proofs import (
    account_proof,
    config_proof,
    full_block,
    header_proof,
    shard_proof,
    transactions_proof,
)
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import NOW, STRANGER, deployed, say_send

ADDRESS = Address((0, STRANGER))
NOBODY = AccountId(b"nobody was ever at this address.")


@pytest.fixture
def chain() -> DevChain:
    """A chain of three blocks, the last with five transactions on two accounts."""
    chain = DevChain(now=NOW)
    address = deployed(chain)
    for number in range(40):
        chain.give(AccountId(sha256(bytes((number,))).digest()), NANO_PER_TON)
    chain.make_block()
    chain.now += 5
    chain.give(address, NANO_PER_TON, body=say_send(STRANGER, 1000, times=4, mode=1))
    chain.make_block()
    return chain


def theirs(cell: Cell) -> TheirCell:
    return TheirCell.one_from_boc(write_boc(cell))


def their_id(block: BlockId) -> BlockIdExt:
    return BlockIdExt(block.workchain, block.shard, block.seqno, block.root_hash, block.file_hash)


def their_block(block: Block) -> TheirBlock:
    return TheirBlock.deserialize(theirs(block.root).begin_parse())


def test_a_blocks_name_is_its_hashes(chain: DevChain) -> None:
    for block, workchain in ((chain.last.shard, WORKCHAIN), (chain.last.master, MASTERCHAIN)):
        assert block.id.workchain == workchain
        assert block.id.root_hash == theirs(block.root).get_hash(0)
        assert block.id.file_hash == sha256(write_boc(block.root)).digest()


def test_each_block_names_the_ones_before_it(chain: DevChain) -> None:
    for before, pair in zip(list(chain.history.pairs()), list(chain.history.pairs())[1:], strict=False):
        shard, master = their_block(pair.shard).info, their_block(pair.master).info

        assert shard.prev_ref.prev.root_hash == before.shard.id.root_hash
        assert shard.master_ref.master.root_hash == before.master.id.root_hash
        assert master.prev_ref.prev.root_hash == before.master.id.root_hash
        assert (shard.seqno, master.seqno) == (before.shard.id.seqno + 1,) * 2
        assert shard.start_lt > before.shard.end_lt
        assert shard.gen_utime == pair.shard.utime


def test_a_block_tells_its_transactions_fees_and_where_the_money_went(chain: DevChain) -> None:
    pair = chain.last

    block = TheirBlock.deserialize(theirs(full_block(pair)).begin_parse())

    told = [
        (one.account_addr, one.lt, one.total_fees.grams)
        for account in block.extra.account_blocks[0].values()
        for one in account.transactions[0].values()
    ]
    known = [past.transaction for past in chain.history.all_transactions() if past.block == pair.shard.id]
    assert sorted(told) == sorted((one.address, one.lt, one.fees) for one in known)
    assert len(known) == 5
    flow = block.value_flow
    assert flow.from_prev_blk.grams == pair.flow.before
    assert flow.to_next_blk.grams == pair.flow.after
    assert flow.minted.grams == pair.flow.minted == NANO_PER_TON
    assert flow.fees_collected.grams == pair.flow.fees


def test_a_full_block_is_the_block_with_nothing_pruned(chain: DevChain) -> None:
    block = full_block(chain.last)

    assert (block.hash, block.level_mask) == (chain.last.shard.id.root_hash, 0)
    assert chain.last.shard.root.level_mask == 1
    assert full_block(DevChain(now=NOW).last).level_mask == 0


def test_a_masterchain_state_names_the_shards_block_and_the_configuration(chain: DevChain) -> None:
    pair = chain.last

    state = ShardStateUnsplit.deserialize(theirs(pair.master.state).begin_parse())

    (described,) = state.custom.shard_hashes[0].list
    assert (described.root_hash, described.seq_no) == (pair.shard.id.root_hash, pair.shard.id.seqno)
    first, *_, last = sorted(past.transaction.lt for past in chain.history.all_transactions())[1:]
    assert described.start_lt < last <= described.end_lt
    assert first < described.start_lt
    assert described.start_lt % 1_000_000 == 0
    assert state.gen_utime == pair.master.utime
    assert state.global_id == chain.global_id


def test_a_header_proof_leads_to_the_states_hash(chain: DevChain) -> None:
    for block in (chain.last.shard, chain.last.master):
        proof = theirs(header_proof(block))

        found = check_block_header_proof(proof[0], block.id.root_hash, store_state_hash=True)
        assert found == block.state.hash


def test_an_account_is_proven_from_the_masterchain_down(chain: DevChain) -> None:
    pair = chain.last
    state = TheirCell.one_from_boc(chain.account(STRANGER).state)

    check_shard_proof(shard_proof(pair.master), their_id(pair.master.id), their_id(pair.shard.id))
    proven = check_account_proof(
        account_proof(pair, STRANGER), their_id(pair.shard.id), ADDRESS, state, return_account_descr=True
    )

    assert proven.last_trans_lt == chain.account(STRANGER).last_lt


def test_each_fork_of_the_accounts_weighs_what_is_under_it() -> None:
    chain = DevChain(now=NOW)
    for mark, amount in ((b"\x00", 7), (b"\xff", 8)):
        chain.give(AccountId(mark * 32), amount)
    chain.make_block()

    _, proof = read_boc(account_proof(chain.last, AccountId(bytes(32))))
    leaf, root = ShardStateUnsplit.deserialize(theirs(proof)[0].begin_parse()).accounts[1]

    assert (leaf.balance.grams, root.balance.grams) == (7, 15)
    assert (leaf.split_depth, root.split_depth) == (0, 0)


def test_another_accounts_state_is_not_proven(chain: DevChain) -> None:
    pair = chain.last
    wrong = TheirCell.one_from_boc(chain.account(AccountId(sha256(b"\x00").digest())).state)

    with pytest.raises(ProofError):
        check_account_proof(account_proof(pair, STRANGER), their_id(pair.shard.id), ADDRESS, wrong)


def test_an_older_blocks_proof_is_of_the_older_state(chain: DevChain) -> None:
    before = chain.history.pair(chain.last.shard.id.seqno - 1)
    assert before is not None
    state = TheirCell.one_from_boc(chain.account(STRANGER).state)

    with pytest.raises((ProofError, KeyError)):
        check_account_proof(account_proof(before, STRANGER), their_id(before.shard.id), ADDRESS, state)


def test_that_nobody_is_at_an_address_is_proven(chain: DevChain) -> None:
    _, proof = read_boc(account_proof(chain.last, NOBODY))

    state = ShardStateUnsplit.deserialize(theirs(proof)[0].begin_parse())

    assert proof.data[1:33] == chain.last.shard.state.hash
    assert int.from_bytes(NOBODY, "big") not in state.accounts[0]


def test_an_empty_chain_proves_that_it_is_empty() -> None:
    pair = DevChain(now=NOW).last

    _, proof = read_boc(account_proof(pair, NOBODY))

    assert proof.data[1:33] == pair.shard.state.hash


def test_a_proof_is_a_path_and_not_the_state(chain: DevChain) -> None:
    # 42 accounts; a path through six or so forks, and a masterchain block's parts.
    assert len(account_proof(chain.last, STRANGER)) < 2000


def test_the_configurations_proof_is_the_configuration(chain: DevChain) -> None:
    (proof,) = read_boc(config_proof(chain.last.master, chain.tvm.config.root))

    state = ShardStateUnsplit.deserialize(theirs(proof)[0].begin_parse())

    assert proof.data[1:33] == chain.last.master.state.hash
    assert set(state.custom.config.config) == {0, 1, 8, 12, 18, 19, 20, 21, 24, 25, 31}


def test_a_blocks_transactions_are_proven_for_the_accounts_that_are_asked(chain: DevChain) -> None:
    pair = chain.last

    (proof,) = read_boc(transactions_proof(pair, (STRANGER,)))

    assert proof.data[1:33] == pair.shard.id.root_hash
    block = TheirBlock.deserialize(theirs(proof)[0].begin_parse())
    proven = block.extra.account_blocks[0][int.from_bytes(STRANGER, "big")].transactions[0]
    past = chain.history.transactions(STRANGER, up_to_lt=2**62, count=16)
    assert {lt: cell.get_hash(0) for lt, cell in proven.items()} == {
        one.transaction.lt: one.transaction.hash for one in past
    }


def test_that_a_block_left_an_account_alone_is_proven(chain: DevChain) -> None:
    (proof,) = read_boc(transactions_proof(chain.last, (NOBODY,)))

    assert proof.data[1:33] == chain.last.shard.id.root_hash


def test_a_block_reads_back_from_its_bytes(chain: DevChain) -> None:
    data = write_boc(chain.last.shard.root)

    (root,) = read_boc(data)

    assert (root.hash, write_boc(root)) == (chain.last.shard.id.root_hash, data)
