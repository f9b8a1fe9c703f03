"""What a running node's owner is shown of its money: by its accounts, and its books of today.

The books are added up once a day, when the node starts and at midnight (UTC). In between an account's
charges go on from what they said of its channel.
"""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import trio

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.ledger import ChannelName, Side, Store
from cocoon_p2p.node.chain_heard import ChainHeard
from cocoon_p2p.overview.channels import ChannelView, in_order, view_of
from cocoon_p2p.overview.snapshot import MoneyView
from cocoon_p2p.overview.today import DAY_SECONDS, Tally, midnight, tally_in, tally_of
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.settlement import Accounts, PayingAccount, ReceivingAccount

log = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0
"Between looks whether a new day has begun, and after books that could not be read."

RISKY_SHARE = 0.9
"Of a channel's capacity: one that is used up further is told to its owner."


class MoneyShown:
    """Reckons what is shown of a node's money.

    Args:
        accounts: The node's.
        ledger: Its file, or a server's URL.
        store: The same, open.
        chain: What was heard of the chain; None: none stands behind the channels.
        wallet: The account that the node pays from or is paid at, if its balance is known at all.
        clock: Seconds since the Unix epoch.
    """

    def __init__(
        self,
        accounts: Accounts,
        ledger: Path | str,
        store: Store,
        chain: ChainHeard | None,
        wallet: AccountId | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._store = store
        self._chain = chain
        self._wallet = wallet
        self._clock = clock
        self._books: Tally | None = None
        self._since: dict[ChannelName, int] = {}
        "What channels were charged since their books were added up; some are forgotten meanwhile."

    async def keep_books(self) -> None:
        """Add the books up, now and at each midnight, until cancelled."""
        day = None
        while True:
            now = self._clock()
            if midnight(now) != day:
                try:
                    await self.add_up()
                    day = midnight(now)
                except CocoonError as exc:
                    log.warning("books not added up", extra={"error": str(exc)})
            # A machine that sleeps stops trio's clock, and its own may be set: neither makes a day longer.
            await trio.sleep(min(AGAIN_SECONDS, midnight(now) + DAY_SECONDS - now))

    async def add_up(self) -> None:
        """Add the books up, of today until now.

        Raises:
            ConfigurationError, Unavailable: They cannot be read; what was reckoned before stands.
        """
        self._books = await self._tally(midnight(self._clock()))
        self._since.clear()

    async def _tally(self, since: int) -> Tally:
        if isinstance(self._ledger, Path):
            return await trio.to_thread.run_sync(tally_in, self._ledger, since, abandon_on_cancel=True)
        return await trio.to_thread.run_sync(tally_of, await self._store.lines(), since)

    def view(self) -> MoneyView:
        """Reckon what is shown now: some microseconds an account."""
        paying, receiving = self._accounts.payees(), self._accounts.payers()
        income, expense = self._today(paying, receiving)
        wallet, seen_at = self._balance()
        chain = self._chain
        return MoneyView(
            income_today=income,
            expense_today=expense,
            in_channels=sum(map(_left, paying)),
            uncollected=sum(map(_uncollected, receiving)),
            wallet=wallet,
            wallet_seconds_ago=None if seen_at is None else max(0.0, self._clock() - seen_at),
            chain="" if chain is None else chain.standing,
            chain_seconds_ago=None
            if chain is None or chain.answered_at is None
            else max(0.0, self._clock() - chain.answered_at),
            channels_open=[*(each.phase for each in paying), *(each.phase for each in receiving)].count(
                Phase.OPEN
            ),
            channels_closing=sum(map(_is_closing, receiving)),
        )

    def channels(self, most: int) -> list[ChannelView]:
        """Show channels that are not settled, so many at most: no side drives out the half of the other."""
        receiving = [each for each in self._accounts.payers() if not each.backing.is_settled]
        paying = [each for each in self._accounts.payees() if not each.backing.is_settled]
        del paying[max(most // 2, most - len(receiving)) :]
        shown: list[PayingAccount | ReceivingAccount] = [*receiving[: most - len(paying)], *paying]
        return in_order(map(view_of, shown))

    def at_risk(self) -> list[ChannelView]:
        """Show channels that may need their owner: stopped, about to close, or nearly used up."""
        risky: list[PayingAccount | ReceivingAccount] = [*filter(_is_at_risk, self._accounts.payers())]
        risky += [each for each in self._accounts.payees() if _is_at_risk(each) or _is_used_up(each)]
        return in_order(map(view_of, risky))

    def _today(
        self, paying: Iterable[PayingAccount], receiving: Iterable[ReceivingAccount]
    ) -> tuple[int, int]:
        books = self._books
        if books is None:
            # For a moment after the start.
            return 0, 0
        for paid in paying:
            self._note(books, ChannelName(Side.PAYER, paid.channel), paid.charged)
        for paying_us in receiving:
            self._note(books, ChannelName(Side.PAYEE, paying_us.channel), paying_us.charged())
        income = sum(amount for name, amount in self._since.items() if name.side is Side.PAYEE)
        expense = sum(amount for name, amount in self._since.items() if name.side is Side.PAYER)
        return books.income + income, books.expense + expense

    def _note(self, books: Tally, name: ChannelName, charged: int) -> None:
        more = charged - books.charged.get(name, 0)
        if more or name in self._since:
            self._since[name] = more

    def _balance(self) -> tuple[int | None, float | None]:
        if self._chain is None or self._wallet is None:
            return None, None
        found = self._chain.balance(self._wallet)
        return (None, None) if found is None else found


def _is_at_risk(account: PayingAccount | ReceivingAccount) -> bool:
    backing = account.backing
    return not backing.is_settled and (account.phase is Phase.STOPPED or bool(backing.close_at))


def _is_closing(account: ReceivingAccount) -> bool:
    return not account.backing.is_settled and bool(account.backing.close_at)


def _is_used_up(account: PayingAccount) -> bool:
    return account.phase is Phase.OPEN and account.vouchered > RISKY_SHARE * account.capacity


def _left(account: PayingAccount) -> int:
    """Say what may still be promised to a payee."""
    if account.phase is not Phase.OPEN:
        return 0
    return max(account.capacity - account.charged - account.held, 0)


def _uncollected(account: ReceivingAccount) -> int:
    """Say what a contract owes us by voucher; without a contract there is nothing to collect from."""
    backing = account.backing
    if not backing.epoch or backing.is_settled:
        return 0
    # Both have agreed to a close at what was charged: vouchers beyond it are worth nothing.
    due = account.charged() if account.phase is Phase.CLOSED else account.vouchered()
    return max(due - backing.claimed, 0)
