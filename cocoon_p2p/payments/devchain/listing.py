"""The transactions of one block, for those who read every block."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.devchain import lite_answers as answers
from cocoon_p2p.payments.devchain import lite_queries as queries
from cocoon_p2p.payments.devchain.augmap import find, items
from cocoon_p2p.payments.devchain.blocks import MASTERCHAIN, WORKCHAIN, Block, BlockPair
from cocoon_p2p.payments.devchain.history import History
from cocoon_p2p.payments.devchain.layouts import key_of
from cocoon_p2p.payments.devchain.lookup import BAD_QUERY, QueryRefused, account_id, find_block
from cocoon_p2p.payments.devchain.proofs import transactions_proof
from cocoon_p2p.payments.devchain.tvm import Transaction

LISTED_MAX = 256
"The most transactions of one block in an answer, as on public lite servers."

_WANTS_PROOF, _REVERSE = 32, 64
_ACCOUNT, _LT, _HASH = 1, 2, 4


def bag(transactions: Iterable[Transaction]) -> bytes:
    cells = [read_one(transaction.boc) for transaction in transactions]
    return write_boc(*cells) if cells else b""


def one_transaction(history: History, query: queries.GetOneTransaction) -> answers.TransactionInfo:
    pair, block = find_block(history, query.id, WORKCHAIN)
    address = account_id(query.account)
    change = find(pair.changes, key_of(address))
    found = None if change is None else find(change.transactions, query.lt)
    proof = transactions_proof(pair, (address,))
    return answers.TransactionInfo(block.id, proof, b"" if found is None else found.boc)


_Listing = queries.ListBlockTransactions | queries.ListBlockTransactionsExt


def _listed(pair: BlockPair, block: Block, query: _Listing) -> tuple[Sequence[Transaction], bool]:
    """Give the transactions that are asked for, by account and then by time, and whether more follow."""
    if query.mode & _REVERSE:
        raise QueryRefused(BAD_QUERY, "listings in reverse are not served")
    if block.id.workchain == MASTERCHAIN:
        return (), False
    count = min(query.count, LISTED_MAX)
    following = _following(pair, b"", 0)
    if query.after is not None:
        following = _following(pair, query.after.account, query.after.lt)
    found = list(islice(following, count + 1))
    return found[:count], len(found) > count


def _following(pair: BlockPair, account: bytes, lt: int) -> Iterator[Transaction]:
    """Give a block's transactions after one place in their order."""
    for _, change in items(pair.changes):
        if change.address >= account:
            for _, transaction in items(change.transactions):
                if change.address > account or transaction.lt > lt:
                    yield transaction


def _listing_proof(pair: BlockPair, query: _Listing, found: Iterable[Transaction]) -> bytes:
    if not query.mode & _WANTS_PROOF:
        return b""
    # In the order in which they are listed: the proof's bytes must not depend on a set's.
    return transactions_proof(pair, dict.fromkeys(transaction.address for transaction in found))


def list_names(history: History, query: queries.ListBlockTransactions) -> answers.BlockTransactions:
    pair, block = find_block(history, query.id)
    found, more = _listed(pair, block, query)
    names = tuple(_name(transaction, query.mode & (_ACCOUNT | _LT | _HASH)) for transaction in found)
    proof = _listing_proof(pair, query, found)
    return answers.BlockTransactions(block.id, query.count, more, names, proof)


def _name(transaction: Transaction, mode: int) -> answers.TransactionName:
    return answers.TransactionName(
        mode,
        transaction.address if mode & _ACCOUNT else None,
        transaction.lt if mode & _LT else None,
        transaction.hash if mode & _HASH else None,
    )


def list_whole(history: History, query: queries.ListBlockTransactionsExt) -> answers.BlockTransactionsExt:
    pair, block = find_block(history, query.id)
    found, more = _listed(pair, block, query)
    proof = _listing_proof(pair, query, found)
    return answers.BlockTransactionsExt(block.id, query.count, more, bag(found), proof)
