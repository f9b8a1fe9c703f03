"""What a lite server answers to each query, and to those that ask for what is not there."""

from dataclasses import replace

import pytest

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import read_boc, read_one
from cocoon_p2p.payments.devchain import (
    AccountId,
    DevChain,
    Limits,
    external_message,
    internal_message,
    method_id,
)
from cocoon_p2p.payments.devchain import lite_answers as answers
from cocoon_p2p.payments.devchain import lite_queries as queries
from cocoon_p2p.payments.devchain.answering import TRANSACTIONS_MAX, answer
from cocoon_p2p.payments.devchain.blocks import SHARD_ALL, BlockId
from cocoon_p2p.payments.devchain.listing import LISTED_MAX
from cocoon_p2p.payments.devchain.lookup import BAD_QUERY, NOT_APPLIED, NOT_READY, QueryRefused
from cocoon_p2p.payments.devchain.methods import NO_CONTRACT
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import (
    ACCEPTED,
    CODE,
    NOW,
    STRANGER,
    arguments,
    bait,
    deployed,
    result,
    say,
    say_send,
)

CONTRACT, _ = bait()
NOBODY = AccountId(b"nobody was ever at this address.")
STRANGERS_NAME, CONTRACTS_NAME = queries.AccountName(0, STRANGER), queries.AccountName(0, CONTRACT)


@pytest.fixture
def chain() -> DevChain:
    """Blocks 1 (a deployment, at NOW) and 2 (21 transactions of two accounts, ten seconds later)."""
    chain = DevChain(now=NOW)
    deployed(chain)
    chain.make_block()
    chain.now += 10
    chain.give(CONTRACT, NANO_PER_TON, body=say_send(STRANGER, 1000, times=20, mode=1))
    chain.make_block()
    return chain


def refused(chain: DevChain, query: object) -> answers.LiteError:
    with pytest.raises(QueryRefused) as caught:
        answer(chain, query)
    return caught.value.answer


def test_the_time_is_the_chains(chain: DevChain) -> None:
    chain.now += 3

    assert answer(chain, queries.GetTime()) == answers.CurrentTime(NOW + 13)
    version = answer(chain, queries.GetVersion())
    assert isinstance(version, answers.Version)
    assert version.now == NOW + 13


def test_the_masterchains_last_block_and_first_are_named(chain: DevChain) -> None:
    info = answer(chain, queries.GetMasterchainInfo())
    more = answer(chain, queries.GetMasterchainInfoExt(0))

    assert isinstance(info, answers.MasterchainInfo)
    assert isinstance(more, answers.MasterchainInfoExt)
    assert info.last == more.last == chain.last.master.id
    assert info.init == more.init
    assert info.init.root_hash == chain.history.first.root_hash
    assert (more.last_utime, more.now) == (NOW + 10, NOW + 10)
    assert refused(chain, queries.GetMasterchainInfoExt(1)).code == BAD_QUERY


def test_an_account_is_answered_as_of_the_block_that_is_asked(chain: DevChain) -> None:
    before = chain.history.pair(1)
    assert before is not None

    now = answer(chain, queries.GetAccountState(chain.last.master.id, STRANGERS_NAME))
    then = answer(chain, queries.GetAccountState(before.master.id, STRANGERS_NAME))
    by_shard = answer(chain, queries.GetAccountState(chain.last.shard.id, STRANGERS_NAME))

    assert isinstance(now, answers.AccountState)
    assert isinstance(then, answers.AccountState)
    assert isinstance(by_shard, answers.AccountState)
    assert (now.id, now.shardblk) == (chain.last.master.id, chain.last.shard.id)
    assert read_one(now.state).hash == chain.account(STRANGER).root_hash
    assert then.state == b""
    assert by_shard.shard_proof == b""
    assert by_shard.proof == now.proof != then.proof


def test_what_ran_after_the_last_block_is_not_answered_yet(chain: DevChain) -> None:
    query = queries.GetAccountState(chain.last.master.id, queries.AccountName(0, NOBODY))

    chain.give(NOBODY, 5)

    state = answer(chain, query)
    assert isinstance(state, answers.AccountState)
    assert state.state == b""


def run_method(block: BlockId, name: str, *numbers: int, mode: int = 7) -> queries.RunMethod:
    return queries.RunMethod(mode, block, CONTRACTS_NAME, method_id(name), arguments(*numbers))


def test_a_get_method_runs_as_of_the_block_that_is_asked(chain: DevChain) -> None:
    before = chain.history.pair(1)
    assert before is not None
    chain.now += 1000

    environments = []
    for pair in (before, chain.last):
        done = answer(chain, run_method(pair.master.id, "environment"))
        assert isinstance(done, answers.RunMethodResult)
        assert (done.exit_code, done.shardblk) == (0, pair.shard.id)
        assert done.result is not None
        environments.append(result(done.result))

    assert [environment[0] for environment in environments] == [NOW, NOW + 10]
    assert environments[0][2] != environments[1][2]


def test_a_get_methods_answer_has_the_parts_that_its_mode_asks_for(chain: DevChain) -> None:
    block = chain.last.master.id

    everything = answer(chain, run_method(block, "add", 2, 3))
    nothing = answer(chain, run_method(block, "add", 2, 3, mode=0))

    assert isinstance(everything, answers.RunMethodResult)
    assert isinstance(nothing, answers.RunMethodResult)
    assert everything.result is not None
    assert result(everything.result) == [5]
    assert everything.proof
    assert everything.shard_proof
    assert (nothing.result, nothing.proof, nothing.shard_proof, nothing.exit_code) == (None, None, None, 0)
    assert refused(chain, run_method(block, "add", 2, 3, mode=8)).code == BAD_QUERY


def test_a_get_method_on_nobody_has_its_own_exit_code(chain: DevChain) -> None:
    done = answer(chain, queries.RunMethod(4, chain.last.master.id, STRANGERS_NAME, 85143, b""))

    assert isinstance(done, answers.RunMethodResult)
    assert done.exit_code == NO_CONTRACT


def test_a_stack_that_is_none_is_malformed(chain: DevChain) -> None:
    query = replace(run_method(chain.last.master.id, "add"), params=b"noise")

    with pytest.raises(MalformedMessage):
        answer(chain, query)


def transactions(chain: DevChain, count: int, skip: int = 0) -> queries.GetTransactions:
    past = chain.history.transactions(STRANGER, up_to_lt=2**62, count=99)[skip].transaction
    return queries.GetTransactions(count, STRANGERS_NAME, past.lt, past.hash)


def test_an_accounts_transactions_are_answered_newest_first_and_sixteen_at_most(chain: DevChain) -> None:
    known = [past.transaction.hash for past in chain.history.transactions(STRANGER, up_to_lt=2**62, count=99)]

    few = answer(chain, transactions(chain, 3))
    many = answer(chain, transactions(chain, 1000, skip=1))

    assert isinstance(few, answers.TransactionList)
    assert isinstance(many, answers.TransactionList)
    assert [cell.hash for cell in read_boc(few.transactions)] == known[:3]
    assert [cell.hash for cell in read_boc(many.transactions)] == known[1 : 1 + TRANSACTIONS_MAX]
    assert set(many.ids) == {chain.last.shard.id}


def test_a_transaction_that_is_not_there_or_is_another_is_refused(chain: DevChain) -> None:
    good = transactions(chain, 5)

    assert refused(chain, replace(good, hash=bytes(32))).code == NOT_READY
    assert refused(chain, replace(good, lt=good.lt + 1)).code == NOT_READY
    assert refused(chain, replace(good, account=queries.AccountName(0, NOBODY))).code == NOT_READY


def test_one_transaction_is_answered_with_its_proof_or_with_none(chain: DevChain) -> None:
    lt = transactions(chain, 1).lt

    there = answer(chain, queries.GetOneTransaction(chain.last.shard.id, STRANGERS_NAME, lt))
    not_there = answer(chain, queries.GetOneTransaction(chain.last.shard.id, STRANGERS_NAME, lt + 1))

    assert isinstance(there, answers.TransactionInfo)
    assert isinstance(not_there, answers.TransactionInfo)
    assert read_one(there.transaction).hash == transactions(chain, 1).hash
    assert not_there.transaction == b""
    assert not_there.proof == there.proof


def listing(block: BlockId, count: int, after: queries.TransactionPlace | None = None) -> object:
    mode = 0b0010_0111 | (0 if after is None else 0b1000_0000)
    return queries.ListBlockTransactions(block, mode, count, after, None, True)


def test_a_blocks_transactions_are_listed_a_page_at_a_time(chain: DevChain) -> None:
    found: list[answers.TransactionName] = []
    after = None
    pages = 0
    while True:
        page = answer(chain, listing(chain.last.shard.id, 8, after))
        assert isinstance(page, answers.BlockTransactions)
        assert page.proof
        found += page.ids
        pages += 1
        if not page.incomplete:
            break
        assert page.ids[-1].account is not None
        assert page.ids[-1].lt is not None
        after = queries.TransactionPlace(page.ids[-1].account, page.ids[-1].lt)

    known = {past.transaction.hash for past in chain.history.all_transactions() if past.block.seqno == 2}
    assert pages == 3
    assert len(found) == 21
    assert {one.hash for one in found} == known
    assert [(one.account, one.lt) for one in found] == sorted((one.account, one.lt) for one in found)


def test_a_listing_says_what_its_mode_asks_for_and_no_more(chain: DevChain) -> None:
    page = answer(chain, queries.ListBlockTransactions(chain.last.shard.id, 0b100, 2, None, None, None))
    nothing = answer(chain, queries.ListBlockTransactions(chain.last.master.id, 0b111, 2, None, None, None))

    assert isinstance(page, answers.BlockTransactions)
    assert isinstance(nothing, answers.BlockTransactions)
    assert page.proof == b""
    assert [(one.account, one.lt) for one in page.ids] == [(None, None)] * 2
    assert all(one.hash for one in page.ids)
    assert (nothing.ids, nothing.incomplete) == ((), False)
    reverse = queries.ListBlockTransactions(chain.last.shard.id, 0b100_0111, 2, None, True, None)
    assert refused(chain, reverse).code == BAD_QUERY


def test_a_block_of_many_transactions_is_listed_whole_but_never_too_many_at_once(chain: DevChain) -> None:
    chain.give(CONTRACT, NANO_PER_TON, body=say_send(STRANGER, 1000, times=200, mode=1))
    chain.give(CONTRACT, NANO_PER_TON, body=say_send(STRANGER, 1000, times=200, mode=1))
    chain.make_block()

    page = answer(
        chain, queries.ListBlockTransactionsExt(chain.last.shard.id, 0b111, 100_000, None, None, None)
    )

    assert isinstance(page, answers.BlockTransactionsExt)
    assert page.incomplete
    assert len(read_boc(page.transactions)) == LISTED_MAX


def test_a_block_its_header_and_its_shards_are_answered(chain: DevChain) -> None:
    pair = chain.last
    for block in (pair.shard, pair.master):
        data = answer(chain, queries.GetBlock(block.id))
        header = answer(chain, queries.GetBlockHeader(block.id, 0))

        assert isinstance(data, answers.BlockData)
        assert isinstance(header, answers.BlockHeader)
        assert read_one(data.data).hash == block.id.root_hash
        assert read_one(data.data).level_mask == 0
        assert read_one(header.header_proof).data[1:33] == block.id.root_hash

    shards = answer(chain, queries.GetAllShardsInfo(pair.master.id))
    shard = answer(chain, queries.GetShardInfo(pair.master.id, 0, -SHARD_ALL, False))
    assert isinstance(shards, answers.AllShardsInfo)
    assert isinstance(shard, answers.ShardInfo)
    assert (shard.shardblk, shard.shard_proof) == (pair.shard.id, shards.proof)
    assert refused(chain, queries.GetAllShardsInfo(pair.shard.id)).code == BAD_QUERY


@pytest.mark.parametrize(
    ("mode", "place", "lt", "utime", "seqno"),
    [
        (1, 1, None, None, 1),
        (1, 3, None, None, None),
        (1, -1, None, None, None),
        (2, 0, 1_000_000, None, 0),
        (2, 0, 1_000_001, None, 1),
        (2, 0, 10**9, None, None),
        (4, 0, None, NOW, 0),
        (4, 0, None, NOW + 1, 2),
        (4, 0, None, NOW + 11, None),
        (0, 0, None, None, None),
    ],
)
@pytest.mark.parametrize("workchain", [0, -1])
def test_a_block_is_looked_up_by_number_or_time(
    chain: DevChain,
    workchain: int,
    mode: int,
    place: int,
    lt: int | None,
    utime: int | None,
    seqno: int | None,
) -> None:
    query = queries.LookupBlock(mode, queries.BlockPlace(workchain, -SHARD_ALL, place), lt, utime)

    if seqno is None:
        assert refused(chain, query).code == NOT_READY
        return
    found = answer(chain, query)

    assert isinstance(found, answers.BlockHeader)
    assert (found.id.seqno, found.id.workchain) == (seqno, workchain)


def test_no_block_is_looked_up_in_another_workchain(chain: DevChain) -> None:
    for mode, lt in ((1, None), (2, 5)):
        query = queries.LookupBlock(mode, queries.BlockPlace(7, -SHARD_ALL, 1), lt, None)

        assert refused(chain, query).code == NOT_READY


def test_a_block_that_is_forgotten_or_never_was_is_not_found() -> None:
    chain = DevChain(now=NOW, limits=Limits(blocks=2))
    forgotten = chain.last.master.id
    for _ in range(3):
        chain.make_block()
    made_up = replace(chain.last.master.id, root_hash=bytes(32))
    another_file = replace(chain.last.master.id, file_hash=bytes(32))

    for block in (forgotten, made_up, another_file, replace(made_up, workchain=5)):
        assert refused(chain, queries.GetAccountState(block, STRANGERS_NAME)).code == NOT_READY


def test_the_configuration_is_answered_whole(chain: DevChain) -> None:
    everything = answer(chain, queries.GetConfigAll(0, chain.last.master.id))
    some = answer(chain, queries.GetConfigParams(0, chain.last.master.id, (19,)))

    assert isinstance(everything, answers.ConfigInfo)
    assert everything == some
    assert len(everything.config_proof) > len(chain.tvm.config.boc)
    assert refused(chain, queries.GetConfigAll(0, chain.last.shard.id)).code == BAD_QUERY


def test_a_library_is_answered_if_it_is_public(chain: DevChain) -> None:
    name = chain.add_library(CODE)

    found = answer(chain, queries.GetLibraries((bytes(32), name)))

    assert found == answers.LibraryResult((answers.LibraryEntry(name, CODE),))


def test_a_message_is_taken_if_its_contract_takes_it(chain: DevChain) -> None:
    taken = answer(chain, queries.SendMessage(external_message(CONTRACT, say(ACCEPTED))))

    assert taken == answers.SendStatus(1)
    assert chain.is_block_due
    for body in (b"noise", external_message(CONTRACT, say(8)), external_message(NOBODY, say(ACCEPTED))):
        error = refused(chain, queries.SendMessage(body))
        assert error.code == NOT_APPLIED
        assert error.message.startswith("cannot apply external message")


def test_nobody_makes_money_by_a_lite_server(chain: DevChain) -> None:
    internal = internal_message(STRANGER, NOBODY, NANO_PER_TON, bounce=False)

    assert refused(chain, queries.SendMessage(internal)).code == NOT_APPLIED
    assert not chain.is_block_due


def test_accounts_of_the_masterchain_are_not_served(chain: DevChain) -> None:
    name = queries.AccountName(-1, bytes(32))

    for query in (
        queries.GetAccountState(chain.last.master.id, name),
        queries.RunMethod(4, chain.last.master.id, name, 85143, b""),
        queries.GetTransactions(1, name, 1, bytes(32)),
        queries.GetOneTransaction(chain.last.shard.id, name, 1),
    ):
        assert refused(chain, query).code == BAD_QUERY


def test_what_is_no_query_is_refused(chain: DevChain) -> None:
    assert refused(chain, answers.CurrentTime(5)).code == BAD_QUERY
