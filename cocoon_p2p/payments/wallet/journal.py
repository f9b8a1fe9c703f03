"""What becomes of a spending, and where that and what was signed for it is kept.

A port: a node's ledger is one, and for a wallet of a person's a file is.
"""

from dataclasses import dataclass
from typing import Protocol

from cocoon_p2p.payments.chain import Transaction
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.payments.wallet.landing import Spending


@dataclass(frozen=True, slots=True)
class Paid:
    """A spending that the wallet carried out: once, and for ever."""

    number: int
    transaction: Transaction

    left_out: tuple[Transfer, ...] = ()
    "What it was told to pay and did not, because its balance did not cover it."


@dataclass(frozen=True, slots=True)
class NotPaid:
    """A spending that was not carried out and never can be."""

    number: int


End = Paid | NotPaid


class Journal(Protocol):
    """Where a wallet's spending is kept. What was saved survives this process and the machine's power."""

    async def pending(self) -> Spending | None:
        """Give the spending that was saved and is not done, if there is one."""
        ...

    async def save(self, spending: Spending) -> None:
        """Keep a spending, instead of what was kept under its number. It is on disk on return.

        A cancelled caller's spending is saved, or is not and never will be.
        """
        ...

    async def done(self, number: int, end: End) -> None:
        """Keep how a spending ended. It is pending no more. May be told twice."""
        ...
