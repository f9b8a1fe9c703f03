"""Wallets for tests: keys that need no words, on a chain that needs no socket."""

from collections.abc import Callable, Sequence

import pytest
import trio

from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.chain import AccountSeen, Chain, Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import AccountId as LocalAccountId
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.lite.transactions import read_transaction
from cocoon_p2p.payments.wallet import Wallet, WalletKey
from cocoon_p2p.payments.wallet.journal import End, NotPaid
from cocoon_p2p.payments.wallet.landing import Spending
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.units import NANO_PER_TON

pytest.importorskip(
    "tonpy", reason="tonpy is missing: `make test` installs it from the lock where it has a wheel"
)

NOW = 1_800_000_000
KEY = WalletKey.from_seed(b"K" * 32)
STRANGER, OTHER = AccountId(b"\xcc" * 32), AccountId(b"\xdd" * 32)
WORDS = [
    *("hospital", "stove", "relief", "fringe", "tongue", "always", "charge", "angry"),
    *("urge", "sentence", "again", "match", "nerve", "inquiry", "senior", "coconut"),
    *("label", "tumble", "carry", "category", "beauty", "bean", "road", "solution"),
]
"TON's own test words: public, and worth nothing."


def begun(*, given: int = 10 * NANO_PER_TON, key: WalletKey = KEY) -> tuple[DevChain, LocalChain, Wallet]:
    """Begin a chain on which a wallet has money, and nothing is deployed yet."""
    devchain = DevChain(now=NOW)
    wallet = Wallet(key.public_key, devchain.global_id)
    if given:
        devchain.give(LocalAccountId(wallet.account), given)
    devchain.make_block()
    return devchain, LocalChain(devchain), wallet


def received(devchain: DevChain, wallet: AccountId, receiver: AccountId) -> int:
    """Add up all that a wallet ever sent an account. (Its balance is less: it pays for its storage.)"""
    devchain.make_block()
    past = devchain.history.transactions(LocalAccountId(wallet), up_to_lt=1 << 64, count=1 << 64)
    done = [read_transaction(read_one(one.transaction.boc), wallet).transaction for one in past]
    return sum(payment.amount for one in done for payment in one.sent if payment.other == receiver)


def balance(devchain: DevChain, account: AccountId) -> int:
    return int(devchain.account(LocalAccountId(account)).balance)


class MemoryJournal:
    """A journal that outlives every purse of its test."""

    def __init__(self) -> None:
        self.kept: Spending | None = None
        self.ends: dict[int, End] = {}
        self.saves = 0

    async def pending(self) -> Spending | None:
        return self.kept

    async def save(self, spending: Spending) -> None:
        self.kept = spending
        self.saves += 1

    async def done(self, number: int, end: End) -> None:
        assert number not in self.ends or self.ends[number] == end or isinstance(self.ends[number], NotPaid)
        self.kept = None
        self.ends[number] = end


class Crash(BaseException):
    """The process is gone."""


class Fuse:
    """Stops a purse at one of the moments before and after each call that it makes, counted from 1."""

    def __init__(self, stop_at: int, stop: Callable[[], None]) -> None:
        self._left = stop_at
        self._stop = stop

    @property
    def has_blown(self) -> bool:
        return self._left <= 0

    async def moment(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._stop()
        await trio.lowlevel.checkpoint()


def crash() -> None:
    raise Crash


class FusedJournal:
    def __init__(self, journal: MemoryJournal, fuse: Fuse) -> None:
        self._journal = journal
        self._fuse = fuse

    async def pending(self) -> Spending | None:
        await self._fuse.moment()
        return await self._journal.pending()

    async def save(self, spending: Spending) -> None:
        await self._fuse.moment()
        await self._journal.save(spending)
        await self._fuse.moment()

    async def done(self, number: int, end: End) -> None:
        await self._fuse.moment()
        await self._journal.done(number, end)
        await self._fuse.moment()


class FusedChain:
    def __init__(self, chain: Chain, fuse: Fuse) -> None:
        self._chain = chain
        self._fuse = fuse

    @property
    def global_id(self) -> int:
        return self._chain.global_id

    async def time(self) -> int:
        await self._fuse.moment()
        return await self._chain.time()

    async def account(self, account: AccountId) -> AccountSeen:
        await self._fuse.moment()
        return await self._chain.account(account)

    async def transactions(self, account: AccountId, *, since_lt: int = 0) -> Sequence[Transaction]:
        await self._fuse.moment()
        return await self._chain.transactions(account, since_lt=since_lt)

    async def send(self, message: bytes) -> None:
        await self._fuse.moment()
        await self._chain.send(message)
        await self._fuse.moment()
