"""The dictionaries of a shard: its accounts, and what a block did to them.

Spec: block.tlb, `ShardAccounts`, `ShardAccountBlocks`, `AccountBlock`.
"""

from dataclasses import dataclass

from cocoon_p2p.payments.cells import Builder, stub
from cocoon_p2p.payments.devchain.account import Account
from cocoon_p2p.payments.devchain.augmap import Tree, shallow
from cocoon_p2p.payments.devchain.augmap import whole as whole_tree
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

    def weight(self, value: Transaction, /) -> int:
        return value.fees

    def write_weight(self, builder: Builder, weight: int, /) -> None:
        builder.money(weight)

    def write_value(self, builder: Builder, value: Transaction, /) -> None:
        builder.reference(stub(value.hash, value.depth))


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

    def __init__(self, *, whole: bool) -> None:
        """`whole`: whether a leaf has all of its account's dictionary of transactions, or its root alone."""
        self._write_transactions = whole_tree if whole else shallow

    def weight(self, value: AccountChange, /) -> int:
        return value.transactions.weight

    def write_weight(self, builder: Builder, weight: int, /) -> None:
        builder.money(weight)

    def write_value(self, builder: Builder, value: AccountChange, /) -> None:
        builder.uint(5, 4).octets(value.address)
        builder.root_of(self._write_transactions(TRANSACTIONS, value.transactions))
        builder.reference(Builder().uint(0x72, 8).octets(value.before).octets(value.after).cell())


ACCOUNTS = AccountsLayout()
TRANSACTIONS = TransactionsLayout()
CHANGES = ChangesLayout(whole=False)
CHANGES_WHOLE = ChangesLayout(whole=True)


def key_of(address: AccountId) -> int:
    """Give the key under which an account is in a shard's dictionaries."""
    return int.from_bytes(address, "big")
