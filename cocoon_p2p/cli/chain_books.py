"""What the chain itself says of a demo: everybody's balance before and after, and what it cost in fees.

Fees are read from the transactions, not taken for what is missing. So what is left of all balances
together, once they are added back, is nothing; and what each party's balance moved by but for them is
what its ledger says it earned or spent.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from cocoon_p2p import control
from cocoon_p2p.cli.books import Books
from cocoon_p2p.payments.address import parse_address
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.chain import AccountSeen, Chain, Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain.control import RECALL, Recall, control_path
from cocoon_p2p.payments.lite.transactions import read_transaction
from cocoon_p2p.testing.fortune import Fortune
from cocoon_p2p.units import format_ton


@dataclass(frozen=True, slots=True)
class Contract:
    """A channel's contract, and who is at its ends, by their names in the network."""

    payer: str
    payee: str
    address: str
    "As TON spells it."


@dataclass(frozen=True, slots=True)
class Balance:
    """One party's wallet. In nanoTON."""

    name: str
    before: int
    after: int
    fees: int
    """What its own transactions cost, and those of the contracts that it paid through: what is left in
    them when they close is its own."""

    @property
    def moved(self) -> int:
        """What it earned, or spent if that is negative, fees apart."""
        return self.after - self.before + self.fees


@dataclass(frozen=True, slots=True)
class ChainBooks:
    """Everybody's wallet, and the contracts between them, all of them closed."""

    balances: tuple[Balance, ...]
    contracts: tuple[Contract, ...]

    @property
    def fees(self) -> int:
        return sum(balance.fees for balance in self.balances)

    @property
    def difference(self) -> int:
        """What nobody accounts for: it came from nowhere, or is lost if negative. There should be none."""
        return sum(balance.moved for balance in self.balances)

    def faults(self, books: Books) -> tuple[str, ...]:
        """Say where the chain differs from the ledgers, or from itself."""
        faults = [
            f"{balance.name}: the chain says {balance.moved} nanoTON came in, its ledger says {booked}"
            for balance in self.balances
            if balance.moved != (booked := books.earned(balance.name))
        ]
        if self.difference:
            faults.append(f"the balances do not add up (difference={self.difference} nanoTON)")
        return tuple(faults)

    def facts(self, books: Books) -> dict[str, object]:
        """Give it in JSON's types, in nanoTON."""
        moved = {balance.name: balance.moved for balance in self.balances}
        return {
            "before": {balance.name: balance.before for balance in self.balances},
            "after": {balance.name: balance.after for balance in self.balances},
            "fees": {balance.name: balance.fees for balance in self.balances},
            "fees_total": self.fees,
            "client_spent": -moved["client"],
            "worker_earned": sum(amount for name, amount in moved.items() if name.startswith("worker")),
            "commission": moved["proxy"],
            "difference": self.difference,
            "reconciles": not self.faults(books),
        }

    def print(self, books: Books) -> None:
        """Print everybody's balance, and whether it all adds up."""
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, header_style="bold")
        for name in ("on the chain, in TON", "before", "after", "fees", "but for fees"):
            table.add_column(name, justify="left" if name.startswith("on") else "right", no_wrap=True)
        for balance in self.balances:
            amounts = (balance.before, balance.after, balance.fees, balance.moved)
            table.add_row(balance.name, *map(_ton, amounts))
        before = sum(balance.before for balance in self.balances)
        after = sum(balance.after for balance in self.balances)
        table.add_row("all", *map(_ton, (before, after, self.fees, self.difference)), style="italic")
        console = Console()
        console.print(table)
        faults = self.faults(books)
        for fault in faults:
            console.print(f"[red]{fault}[/red]")
        if not faults:
            console.print(
                "Chain and ledgers agree to the nanoTON: all that is missing are the fees.", style="dim"
            )


async def look(chain: Chain, fortune: Fortune) -> Mapping[str, AccountSeen]:
    """See what everybody's wallet holds."""
    return {name: await chain.account(fortune.account(name)) for name in fortune.addresses}


async def reckon(
    chain: Chain, fortune: Fortune, before: Mapping[str, AccountSeen], contracts: Sequence[Contract]
) -> ChainBooks:
    """Add up what happened since `before`.

    Args:
        chain: The local chain, through its lite server.
        fortune: Everybody's wallets on it.
        before: What they held.
        contracts: All channels' that were opened since. A contract that is gone is unknown to lite
            servers: its transactions are had from the chain's owner.
    """
    fees = Counter[str]()
    for contract in contracts:
        fees[contract.payer] += _fees(await _recalled(fortune.state, contract.address, chain.global_id))
    balances: list[Balance] = []
    for name, earlier in before.items():
        account = fortune.account(name)
        now = await chain.account(account)
        fees[name] += _fees(await chain.transactions(account, since_lt=earlier.last_lt))
        balances.append(Balance(name, earlier.balance, now.balance, fees[name]))
    return ChainBooks(tuple(balances), tuple(contracts))


async def _recalled(state: Path, address: str, global_id: int) -> list[Transaction]:
    account = AccountId(parse_address(address, global_id=global_id).account)
    wish = Recall(f"0:{account.hex()}")
    recalled = await trio.to_thread.run_sync(
        control.ask, control_path(state), RECALL, wish, abandon_on_cancel=True
    )
    roots = (read_one(base64.b64decode(bag)) for bag in recalled.transactions)
    return [read_transaction(root, account).transaction for root in roots]


def _fees(transactions: Iterable[Transaction]) -> int:
    return sum(transaction.fees for transaction in transactions)


def _ton(amount: int) -> str:
    return format_ton(amount).removesuffix(" TON")
