"""The block that is being filled: what ran since the last one was made."""

from dataclasses import dataclass, field

from cocoon_p2p.payments.devchain.account import Account, Status
from cocoon_p2p.payments.devchain.augmap import Tree, drop, find, put, total_weight
from cocoon_p2p.payments.devchain.blocks import ValueFlow
from cocoon_p2p.payments.devchain.layouts import ACCOUNTS, CHANGES, TRANSACTIONS, AccountChange, key_of
from cocoon_p2p.payments.devchain.messages import AccountId
from cocoon_p2p.payments.devchain.tvm import Executed, Transaction


@dataclass(slots=True)
class OpenBlock:
    """Collects transactions on top of the accounts of the last block."""

    before: Tree[Account] | None
    "All accounts as the last block left them."

    no_account: Account
    "What stands where there is none."

    start_lt: int
    lt: int
    "The last logical time that was given out."

    seed: bytes
    imported: int = 0
    "Money in messages that waited when the block was begun, in nanoTON."

    lost: int = 0
    "Money in messages that nobody here can receive."

    minted: int = 0
    fees: int = 0
    transactions: list[Transaction] = field(default_factory=list[Transaction])
    "In the order in which they ran."

    _accounts: dict[AccountId, Account] = field(default_factory=dict[AccountId, Account])

    _hashes_before: dict[AccountId, bytes] = field(default_factory=dict[AccountId, bytes])
    "What the states of those that changed had hashed to."

    def account(self, address: AccountId) -> Account:
        """Give an account as it stands now."""
        changed = self._accounts.get(address)
        return changed or find(self.before, key_of(address)) or self.no_account

    def add(self, before: Account, executed: Executed, forward_fee: int) -> None:
        """Add a transaction that ran on an account as it stood, and what its message's road had cost."""
        transaction = executed.transaction
        self._hashes_before.setdefault(transaction.address, before.root_hash)
        self._accounts[transaction.address] = executed.account
        self.transactions.append(transaction)
        self.fees += transaction.fees + forward_fee
        self.lt = transaction.lt + len(executed.out_messages)

    def accounts(self) -> Tree[Account] | None:
        """Give all accounts as they stand now."""
        tree = self.before
        for address, account in self._accounts.items():
            if account.status is Status.NONE:
                tree = drop(ACCOUNTS, tree, key_of(address))
            else:
                tree = put(ACCOUNTS, tree, key_of(address), account)
        return tree

    def changes(self) -> Tree[AccountChange] | None:
        """Give what was done, account by account."""
        by_account: dict[AccountId, Tree[Transaction]] = {}
        for transaction in self.transactions:
            others = by_account.get(transaction.address)
            by_account[transaction.address] = put(TRANSACTIONS, others, transaction.lt, transaction)
        tree: Tree[AccountChange] | None = None
        for address, transactions in by_account.items():
            after = self._accounts[address].root_hash
            change = AccountChange(address, self._hashes_before[address], after, transactions)
            tree = put(CHANGES, tree, key_of(address), change)
        return tree

    def flow(self, after: Tree[Account] | None, waiting: int) -> ValueFlow:
        """Give where the money went; `waiting` is what is in messages that did not run yet."""
        return ValueFlow(
            before=total_weight(self.before),
            after=total_weight(after),
            imported=self.imported,
            exported=waiting + self.lost,
            fees=self.fees,
            minted=self.minted,
        )
