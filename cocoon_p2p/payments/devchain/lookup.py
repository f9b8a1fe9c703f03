"""Finding what a query is about: a block by its name, number or time; an account of the one workchain."""

from cocoon_p2p.payments.devchain import lite_answers as answers
from cocoon_p2p.payments.devchain import lite_queries as queries
from cocoon_p2p.payments.devchain.blocks import MASTERCHAIN, WORKCHAIN, Block, BlockId, BlockPair
from cocoon_p2p.payments.devchain.history import History
from cocoon_p2p.payments.devchain.messages import AccountId

# As real lite servers number them.
NOT_READY, BAD_QUERY, NOT_APPLIED = 651, -400, 0

_BY_SEQNO = 1


class QueryRefused(Exception):
    """A query is answered with an error. The connection lives on."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = answers.LiteError(code, message)


def find_block(history: History, wanted: BlockId, workchain: int | None = None) -> tuple[BlockPair, Block]:
    """Find a remembered block by its name, on one workchain or on either."""
    pair = history.pair(wanted.seqno)
    block = None if pair is None else _of(pair, wanted.workchain)
    if pair is None or block is None or block.id != wanted:
        raise QueryRefused(NOT_READY, "block not found, or forgotten")
    if workchain is not None and wanted.workchain != workchain:
        raise QueryRefused(BAD_QUERY, "a masterchain block is wanted here")
    return pair, block


def _of(pair: BlockPair, workchain: int) -> Block | None:
    return {WORKCHAIN: pair.shard, MASTERCHAIN: pair.master}.get(workchain)


def account_id(name: queries.AccountName) -> AccountId:
    if name.workchain != WORKCHAIN:
        raise QueryRefused(BAD_QUERY, "only accounts of workchain 0 are here")
    return AccountId(name.id)


def look_up(history: History, query: queries.LookupBlock) -> Block | None:
    """Find a block by its number, or the first that ends at or after a time."""
    workchain = query.id.workchain
    if query.mode & _BY_SEQNO:
        pair = history.pair(query.id.seqno)
        return None if pair is None else _of(pair, workchain)
    for pair in history.pairs():
        block = _of(pair, workchain)
        if block is None:
            return None
        if query.lt is not None and block.end_lt >= query.lt:
            return block
        if query.utime is not None and block.utime >= query.utime:
            return block
    return None
