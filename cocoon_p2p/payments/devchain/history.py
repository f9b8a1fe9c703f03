"""What the chain remembers: its last blocks whole, and its last transactions. All else is forgotten.

A real node keeps more, on disk. A chain for tests and demonstrations must run for days in
one process, so everything here has a limit, and what is past it is answered as a node
answers that was started yesterday: not found.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from cocoon_p2p.payments.devchain.blocks import BlockId, BlockPair
from cocoon_p2p.payments.devchain.messages import AccountId
from cocoon_p2p.payments.devchain.tvm import Transaction


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a chain remembers, and how long it works at one go."""

    blocks: int = 1000
    "Steps, a shard block and a masterchain block each. 13 kB a step, and 3 kB for each transaction in it."

    transactions: int = 50_000
    "Of all accounts together: 0.7 kB each."

    cascade: int = 10_000
    "Transactions that one message may cause before the rest waits for the next block."


@dataclass(frozen=True, slots=True)
class PastTransaction:
    """A transaction, and the shard block that it is in."""

    transaction: Transaction
    block: BlockId


class History:
    """The last blocks and transactions of a chain."""

    def __init__(self, limits: Limits, first: BlockId | None = None) -> None:
        """Begin, with nothing remembered but, perhaps, the name of the very first masterchain block."""
        assert limits.blocks > 0
        self._limits = limits
        self._pairs: deque[BlockPair] = deque(maxlen=limits.blocks)
        self._first = first
        self._order: deque[AccountId] = deque()
        self._transactions: dict[AccountId, deque[PastTransaction]] = {}

    @property
    def last(self) -> BlockPair:
        return self._pairs[-1]

    @property
    def first(self) -> BlockId:
        """The name of the very first masterchain block, which is never forgotten."""
        assert self._first is not None
        return self._first

    @property
    def oldest_seqno(self) -> int:
        return self._pairs[0].shard.id.seqno

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def pairs(self) -> Iterator[BlockPair]:
        """Give what is remembered, oldest first."""
        return iter(self._pairs)

    def pair(self, seqno: int) -> BlockPair | None:
        """Give the blocks with this number, if they are remembered. Both chains count alike."""
        index = seqno - self.oldest_seqno
        return self._pairs[index] if 0 <= index < len(self._pairs) else None

    def add_pair(self, pair: BlockPair) -> None:
        """Remember the next blocks, and forget the oldest if there are too many."""
        self._first = self._first or pair.master.id
        self._pairs.append(pair)

    def add_transaction(self, past: PastTransaction) -> None:
        """Remember one, and forget the oldest if there are too many."""
        address = past.transaction.address
        self._order.append(address)
        self._transactions.setdefault(address, deque()).append(past)
        if len(self._order) > self._limits.transactions:
            self._forget_one()

    def _forget_one(self) -> None:
        address = self._order.popleft()
        of_account = self._transactions[address]
        of_account.popleft()
        if not of_account:
            del self._transactions[address]

    def transactions(self, address: AccountId, *, up_to_lt: int, count: int) -> list[PastTransaction]:
        """Give an account's transactions up to and including `up_to_lt`, newest first, at most `count`."""
        found: list[PastTransaction] = []
        for past in reversed(self._transactions.get(address, ())):
            if len(found) == count:
                break
            if past.transaction.lt <= up_to_lt:
                found.append(past)
        return found

    def all_transactions(self) -> Iterator[PastTransaction]:
        """Give all that is remembered, oldest first."""
        return heapq.merge(*self._transactions.values(), key=lambda past: past.transaction.lt)
