"""The dictionaries of a shard: its accounts, and what a block did to them.

Spec: block.tlb, `ShardAccounts`, `ShardAccountBlocks`, `AccountBlock`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.cells import Builder, Cell, stub
from cocoon_p2p.payments.devchain.account import Account
from cocoon_p2p.payments.devchain.augmap import Tree, shallow, whole
from cocoon_p2p.payments.devchain.messages import AccountId
from cocoon_p2p.payments.devchain.tvm import Transaction


class AccountsLayout:
    """`ShardAccounts`: `HashmapAug 256 ShardAccount DepthBalanceInfo`."""

    key_bits = 256

    def weight(self, value: Account, /) -> int:
        return value.balance

    def write_weight(self, builder: Builder, weight: int, /) -> None:
        # Split depth: none.
        builder.uint(0, 5).money(weight)

    def write_value(self, builder: Builder, value: Account, /) -> None:
        builder.reference(stub(value.root_hash, value.root_depth))
        builder.octets(value.last_hash).uint(value.last_lt, 64)


class TransactionsLayout:
    """`HashmapAug 64 ^Transaction CurrencyCollection`, under logical times."""

    key_bits = 64

    def __init__(self, *, full: bool) -> None:
        """`full`: whether transactions are there themselves, or as pruned branches."""
        self._full = full

    def weight(self, value: Transaction, /) -> int:
        return value.fees

    def write_weight(self, builder: Builder, weight: int, /) -> None:
        builder.money(weight)

    def write_value(self, builder: Builder, value: Transaction, /) -> None:
        builder.reference(read_one(value.boc) if self._full else stub(value.hash, value.depth))


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What a block did to one account (`AccountBlock`)."""

    address: AccountId
    before: bytes
    "The hash of its state before the block."

    after: bytes
    transactions: Tree[Transaction]


class ChangesLayout:
    """`ShardAccountBlocks`: `HashmapAug 256 AccountBlock CurrencyCollection`."""

    key_bits = 256

    def __init__(self, write_transactions: Callable[[Tree[Transaction]], Cell]) -> None:
        """`write_transactions` gives the root of an account's dictionary, with as much of it as is wanted."""
        self._write_transactions = write_transactions

    def weight(self, value: AccountChange, /) -> int:
        return value.transactions.weight

    def write_weight(self, builder: Builder, weight: int, /) -> None:
        builder.money(weight)

    def write_value(self, builder: Builder, value: AccountChange, /) -> None:
        builder.uint(5, 4).octets(value.address)
        builder.root_of(self._write_transactions(value.transactions))
        builder.reference(Builder().uint(0x72, 8).octets(value.before).octets(value.after).cell())


ACCOUNTS = AccountsLayout()
TRANSACTIONS = TransactionsLayout(full=False)
TRANSACTIONS_FULL = TransactionsLayout(full=True)

# They differ in how much of an account's transactions they show, and not in their hashes.
CHANGES = ChangesLayout(lambda tree: shallow(TRANSACTIONS, tree))
CHANGES_NAMED = ChangesLayout(lambda tree: whole(TRANSACTIONS, tree))
CHANGES_FULL = ChangesLayout(lambda tree: whole(TRANSACTIONS_FULL, tree))


def key_of(address: AccountId) -> int:
    """Give the key under which an account is in a shard's dictionaries."""
    return int.from_bytes(address, "big")
