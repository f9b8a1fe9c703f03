"""What a lite server answers, out of a chain: plain code, without a connection.

Answers carry proofs where lite_api.tl has room for them. What is not served, or is about a
block that is forgotten, is answered with an error, as real servers answer.

Not served: full states, proofs of blocks by validators' signatures (there are none, so a
client cannot work at trust level 0), masterchain accounts (there are none), listings in
reverse. `getConfigParams` gives all parameters.
"""

from collections.abc import Iterable

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.devchain import lite_answers as answers
from cocoon_p2p.payments.devchain import lite_queries as queries
from cocoon_p2p.payments.devchain.account import Account, Status, no_account
from cocoon_p2p.payments.devchain.augmap import find
from cocoon_p2p.payments.devchain.blocks import MASTERCHAIN, Block, BlockPair
from cocoon_p2p.payments.devchain.chain import DevChain
from cocoon_p2p.payments.devchain.layouts import key_of
from cocoon_p2p.payments.devchain.listing import bag, list_names, list_whole, one_transaction
from cocoon_p2p.payments.devchain.lookup import (
    BAD_QUERY,
    NOT_APPLIED,
    NOT_READY,
    QueryRefused,
    account_id,
    find_block,
    look_up,
)
from cocoon_p2p.payments.devchain.messages import AccountId
from cocoon_p2p.payments.devchain.moment import Moment
from cocoon_p2p.payments.devchain.proofs import (
    account_proof,
    config_proof,
    full_block,
    header_proof,
    shard_description,
    shard_proof,
)
from cocoon_p2p.payments.devchain.tvm import MessageRejected

VERSION = 0x101
CAPABILITIES = 7
"What public lite servers announce: they can wait for a block, and list whole transactions."

TRANSACTIONS_MAX = 16
"The most transactions of one account in an answer, as on public lite servers."

_WANTS_PROOFS, _WANTS_STATE_PROOF, _WANTS_RESULT = 1, 2, 4
_SERVED_METHOD_MODES = _WANTS_PROOFS | _WANTS_STATE_PROOF | _WANTS_RESULT


def answer(chain: DevChain, query: object) -> object:
    """Answer a query that was read.

    Raises:
        QueryRefused: It is not served, or asks for what is not there.
        MalformedMessage: Something in it is not what it should be.
    """
    match query:
        case queries.GetTime():
            return answers.CurrentTime(chain.now)
        case queries.GetVersion():
            return answers.Version(0, VERSION, CAPABILITIES, chain.now)
        case queries.GetMasterchainInfo():
            return _masterchain_info(chain)
        case queries.GetMasterchainInfoExt():
            return _masterchain_info_ext(chain, query.mode)
        case queries.SendMessage():
            return _send(chain, query.body)
        case queries.GetAccountState():
            return _account_state(chain, query)
        case queries.RunMethod():
            return _run_method(chain, query)
        case queries.GetTransactions():
            return _transactions(chain, query)
        case queries.GetLibraries():
            return _libraries(chain, query.library_list)
        case _:
            return _answer_about_blocks(chain, query)


def _answer_about_blocks(chain: DevChain, query: object) -> object:
    match query:
        case queries.GetBlock():
            pair, block = find_block(chain.history, query.id)
            root = full_block(pair) if block is pair.shard else block.root
            return answers.BlockData(block.id, write_boc(root))
        case queries.GetBlockHeader():
            _, block = find_block(chain.history, query.id)
            return answers.BlockHeader(block.id, query.mode, write_boc(header_proof(block)))
        case queries.LookupBlock():
            return _lookup(chain, query)
        case queries.GetAllShardsInfo():
            _, block = find_block(chain.history, query.id, MASTERCHAIN)
            shards = Builder().maybe_reference(shard_description(block)).cell()
            return answers.AllShardsInfo(block.id, shard_proof(block), write_boc(shards))
        case queries.GetShardInfo():
            pair, block = find_block(chain.history, query.id, MASTERCHAIN)
            leaf = shard_description(block).references[0]
            return answers.ShardInfo(block.id, pair.shard.id, shard_proof(block), write_boc(leaf))
        case queries.GetOneTransaction():
            return one_transaction(chain.history, query)
        case queries.ListBlockTransactions():
            return list_names(chain.history, query)
        case queries.ListBlockTransactionsExt():
            return list_whole(chain.history, query)
        case queries.GetConfigAll() | queries.GetConfigParams():
            _, block = find_block(chain.history, query.id, MASTERCHAIN)
            proof = config_proof(block, chain.tvm.config.root)
            return answers.ConfigInfo(query.mode, block.id, write_boc(header_proof(block)), proof)
        case _:
            raise QueryRefused(BAD_QUERY, f"not served here: {type(query).__name__}")


def _zero_state(chain: DevChain) -> answers.ZeroStateId:
    zero = chain.history.first
    return answers.ZeroStateId(zero.workchain, zero.root_hash, zero.file_hash)


def _masterchain_info(chain: DevChain) -> answers.MasterchainInfo:
    last = chain.last.master
    return answers.MasterchainInfo(last.id, last.state.hash, _zero_state(chain))


def _masterchain_info_ext(chain: DevChain, mode: int) -> answers.MasterchainInfoExt:
    last = chain.last.master
    if mode:
        raise QueryRefused(BAD_QUERY, "only mode 0 of getMasterchainInfoExt is served")
    return answers.MasterchainInfoExt(
        0, VERSION, CAPABILITIES, last.id, last.utime, chain.now, last.state.hash, _zero_state(chain)
    )


def _send(chain: DevChain, body: bytes) -> answers.SendStatus:
    try:
        chain.send(body)
    except (MessageRejected, MalformedMessage) as exc:
        raise QueryRefused(NOT_APPLIED, f"cannot apply external message to current state : {exc}") from exc
    return answers.SendStatus(1)


def _account_in(pair: BlockPair, address: AccountId) -> Account:
    return find(pair.accounts, key_of(address)) or no_account()


def _proofs_to(pair: BlockPair, block: Block, address: AccountId) -> tuple[bytes, bytes]:
    """Prove the shard's block, if a masterchain block was asked, and the account in it."""
    to_shard = shard_proof(block) if block.id.workchain == MASTERCHAIN else b""
    return to_shard, account_proof(pair, address)


def _account_state(chain: DevChain, query: queries.GetAccountState) -> answers.AccountState:
    pair, block = find_block(chain.history, query.id)
    address = account_id(query.account)
    account = _account_in(pair, address)
    state = b"" if account.status is Status.NONE else account.state
    return answers.AccountState(block.id, pair.shard.id, *_proofs_to(pair, block, address), state)


def _run_method(chain: DevChain, query: queries.RunMethod) -> answers.RunMethodResult:
    """Run a get-method on an account as it was after a block, at that block's time."""
    if query.mode & ~_SERVED_METHOD_MODES:
        raise QueryRefused(BAD_QUERY, "only modes 0 to 7 of runSmcMethod are served")
    pair, block = find_block(chain.history, query.id)
    address = account_id(query.account)
    moment = Moment(pair.shard.utime, pair.shard.end_lt, pair.shard.id.root_hash)
    done = chain.tvm.get_method(_account_in(pair, address), address, query.method_id, query.params, moment)
    to_shard, to_account = None, None
    if query.mode & _WANTS_PROOFS:
        to_shard, to_account = _proofs_to(pair, block, address)
    return answers.RunMethodResult(
        mode=query.mode,
        id=block.id,
        shardblk=pair.shard.id,
        shard_proof=to_shard,
        proof=to_account,
        state_proof=b"" if query.mode & _WANTS_STATE_PROOF else None,
        init_c7=None,
        lib_extras=None,
        exit_code=done.exit_code,
        result=done.stack if query.mode & _WANTS_RESULT else None,
    )


def _transactions(chain: DevChain, query: queries.GetTransactions) -> answers.TransactionList:
    address = account_id(query.account)
    count = min(query.count, TRANSACTIONS_MAX)
    found = chain.history.transactions(address, up_to_lt=query.lt, count=count)
    if not found or found[0].transaction.lt != query.lt or found[0].transaction.hash != query.hash:
        raise QueryRefused(NOT_READY, "transaction not found, or forgotten")
    blocks = tuple(past.block for past in found)
    return answers.TransactionList(blocks, bag(past.transaction for past in found))


def _lookup(chain: DevChain, query: queries.LookupBlock) -> answers.BlockHeader:
    found = look_up(chain.history, query)
    if found is None:
        raise QueryRefused(NOT_READY, "block not found, or forgotten")
    return answers.BlockHeader(found.id, query.mode, write_boc(header_proof(found)))


def _libraries(chain: DevChain, wanted: Iterable[bytes]) -> answers.LibraryResult:
    known = chain.libraries
    found = (answers.LibraryEntry(name, known[name]) for name in wanted if name in known)
    return answers.LibraryResult(tuple(found))
