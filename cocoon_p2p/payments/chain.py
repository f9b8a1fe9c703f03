"""The chain, as payments need it: what an account holds, what happened to it, and a way to send.

A port: `lite` speaks to TON's networks and to a local chain through it. Accounts come with proofs,
so nothing is asked that a server could answer as it likes; what a contract would say through a
get-method is read from its data.

Spec: payments/settlement.md (The chain).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cocoon_p2p.errors import Refused
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.units import Nano


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """An account of the basechain, as a block that was proven had it."""

    account: AccountId
    balance: Nano
    code: bytes | None
    "Its code, a bag; None: nothing is deployed (or it is frozen)."

    data: bytes | None
    "Its data, a bag; None likewise."

    last_lt: int
    "The logical time of its last transaction; 0: it never had one, or was deleted."

    at: int
    "When the block was made, in seconds since the Unix epoch, by the chain's clock."


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came into an account, or left it, with what was said along."""

    other: AccountId | None
    "From or to whom; None: an external message (which carries no money), or an account elsewhere."

    amount: Nano
    body: bytes
    "The message's body, a bag."


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction of an account."""

    lt: int
    hash: bytes
    at: int
    "Seconds since the Unix epoch, by the chain's clock."

    received: Payment | None
    "The message that caused it; None: the chain itself did."

    message_hash: bytes | None
    "That message's hash: whoever sent one knows by it that this one landed. None likewise."

    sent: tuple[Payment, ...]
    fees: Nano
    "All that it cost the account: storage, gas, the import, and sending what was sent."

    exit_code: int | None
    "What the contract ended with; None: it did not run."

    is_aborted: bool
    "Whether it changed nothing but for fees."


class MessageRefused(Refused):
    """An external message that a contract would not take. Nothing has happened on chain.

    Attributes:
        exit_code: What the contract ended with, where that was told; see `contract.ExitCode`.
    """

    def __init__(self, reason: str, *, exit_code: int | None = None) -> None:
        told = "" if exit_code is None else f" (exit code {exit_code})"
        super().__init__(f"the chain does not take the message: {reason}{told}", code="message-refused")
        self.exit_code = exit_code


class Chain(Protocol):
    """One TON network."""

    @property
    def global_id(self) -> int:
        """The network's number: -239 for mainnet, -3 for testnet."""
        ...

    async def time(self) -> int:
        """Say when the newest block was made, in seconds since the Unix epoch.

        Whoever signs something that expires on chain goes by it, not by the machine's clock.

        Raises:
            Unavailable: No server answers, or too few agree.
        """
        ...

    async def account(self, account: AccountId) -> AccountSeen:
        """Look an account up. What is told is never older than what was told before.

        Raises:
            Unavailable: No server answers, or too few agree.
            RemoteProtocolError: It is too large to be read here. No wallet or channel is.
        """
        ...

    async def transactions(self, account: AccountId, *, since_lt: int = 0) -> Sequence[Transaction]:
        """Read an account's transactions after a logical time, oldest first.

        A chain forgets: there may be a gap after `since_lt`. An account that is gone has none, and
        one that came back has those since then.

        Raises:
            Unavailable: No server answers, or too few agree.
            RemoteProtocolError: One is too large to be read here.
        """
        ...

    async def send(self, message: bytes) -> None:
        """Hand in an external message, a bag. That it is taken says nothing of its being carried out.

        Sending one twice is harmless: what takes external messages here takes each once.

        Raises:
            Unavailable: No server takes it.
            MessageRefused: The contract would not take it, or it is malformed.
        """
        ...
