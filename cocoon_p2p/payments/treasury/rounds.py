"""A node's side of the chain: it looks at every channel's contract, and does for it what is due.

    look soon ---.                        .--> tell the account what was seen
    the clock ---+--> look, with proof ---+--> a payer: fund, top up, hand in close terms, finish a close
    a start -----'                        '--> a payee: claim, hand in close terms

Whatever it does it decides from what it has just seen, so that it may be stopped anywhere and go on:
a claim and a close count once by the contract's own rules, and a deposit is remembered before it is
made, until it has arrived.

This is the round: whose turn it is. What is done then stands in `deposits`, `closes` and `claims`.

Spec: payments/settlement.md (Opening, Backing, Closing).
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.frozen import replace
from cocoon_p2p.ledger import Store
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.chain import Chain
from cocoon_p2p.payments.channel import CLOSE_DELAY_SECONDS, Phase
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.payments.treasury.claims import ClaimPolicy as ClaimPolicy
from cocoon_p2p.payments.treasury.claims import Claims
from cocoon_p2p.payments.treasury.closes import Closes
from cocoon_p2p.payments.treasury.deposits import Deposits
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.payments.treasury.lookout import Account, Lookout
from cocoon_p2p.payments.treasury.notebook import Notebook
from cocoon_p2p.payments.treasury.sight import due
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.protocols.messages import ChannelId, Funded
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

ROUND_SECONDS = 3600.0
"How often everything is looked at; more often where a close delay is short."

ROUNDS_A_DELAY = 8
"Looks within one close delay: what a payer starts is seen in time, even if some looks fail."

AGAIN_FIRST_SECONDS, AGAIN_LAST_SECONDS = 2.0, 300.0
"After a failure a channel is looked at again, with doubling pauses."

MOVED_SECONDS = 10.0
"How often spending alone makes a channel be looked at."

TELL_SECONDS = 15.0
"How often a payee is told of a deposit that it says it has not seen: its servers may be behind ours."


class Treasury:
    """A node's side of the chain (a `bank.Bank`). `run` must serve it.

    Args:
        chain: The network that channels are on.
        store: The node's ledger: what is under way is noted there.
        payout: Where the node is paid; None: nobody pays it.
        purse: The wallet that it pays from; None: it pays nobody, and claims by external messages alone.
        funder: Without a purse, somebody else's wallet: channels are made out to it. It puts the money in,
            gets the rest, and may close alone; we only look.
        funding: What the purse puts into channels; None: nothing by itself.
        claims: When to collect.
        close_delay_seconds: Of channels that we open; shorter ones are not taken.
        clock: Seconds since the Unix epoch, until the chain has told its own time.
    """

    def __init__(
        self,
        chain: Chain,
        store: Store,
        *,
        payout: AccountId | None,
        purse: Purse | None = None,
        funder: AccountId | None = None,
        funding: FundingPolicy | None = None,
        claims: ClaimPolicy | None = None,
        close_delay_seconds: int = CLOSE_DELAY_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.chain = chain
        self.payout = payout
        self.purse = purse
        self._funder = funder
        self.close_delay_seconds = close_delay_seconds
        self._notebook = Notebook(store)
        self._lookout = Lookout(chain, self._notebook, clock)
        self._deposits = Deposits(self._lookout, self._notebook, purse, funding, self._payees)
        self._closes = Closes(self._lookout, purse)
        self._claims = Claims(self._lookout, self._notebook, purse, claims or ClaimPolicy(), store.submit)
        self._accounts: Accounts | None = None
        self._is_ready = trio.Event()
        "Set once the notes are read: nothing is paid before."

        self._due: dict[ChannelId, float] = {}
        "When to look at which channel, on trio's clock."

        self._busy: set[ChannelId] = set()
        self._failures: dict[ChannelId, int] = {}
        self._moved_until: dict[ChannelId, float] = {}
        self._woken = trio.Event()
        self._locks: dict[ChannelId, trio.Lock] = {}

    # ------------------------------------------------------------ what accounts ask (`bank.Bank`)

    @property
    def global_id(self) -> int:
        return self.chain.global_id

    @property
    def wallet(self) -> AccountId | None:
        return self._funder if self.purse is None else self.purse.wallet.account

    def now(self) -> float:
        return self._lookout.now()

    def look_soon(self, channel: ChannelId) -> None:
        self._look_in(channel, 0.0)

    def moved(self, channel: ChannelId, *, room: Nano) -> None:
        account = self._account(channel)
        if isinstance(account, PayingAccount):
            is_due = self._deposits.due(account) > 0
        else:
            is_due = account is not None and room >= self._claims.policy.above
        now = trio.current_time()
        if is_due and now >= self._moved_until.get(channel, 0.0):
            self._moved_until[channel] = now + MOVED_SECONDS
            self.look_soon(channel)

    # ------------------------------------------------------------ the round

    async def run(self, accounts: Accounts) -> None:
        """Watch over all accounts until cancelled. A cancel leaves everything to be gone on with."""
        self._accounts = accounts
        await self._notebook.load()
        self._is_ready.set()
        round_seconds = min(ROUND_SECONDS, self.close_delay_seconds / ROUNDS_A_DELAY)
        async with trio.open_nursery() as nursery:
            while True:
                self._moved_until.clear()
                for account in self._attended(accounts):
                    self.look_soon(account.channel)
                with trio.move_on_after(round_seconds):
                    await self._serve(nursery)

    async def _serve(self, nursery: trio.Nursery) -> None:
        """Attend to channels when they are due: to each alone, so that none waits for another's payment."""
        while True:
            self._woken = trio.Event()
            now = trio.current_time()
            for channel in [one for one, at in self._due.items() if at <= now and one not in self._busy]:
                del self._due[channel]
                self._busy.add(channel)
                nursery.start_soon(self._attend_and_bear, channel)
            waiting = (at for channel, at in self._due.items() if channel not in self._busy)
            with trio.move_on_at(min(waiting, default=float("inf"))):
                await self._woken.wait()

    async def _attend_and_bear(self, channel: ChannelId) -> None:
        """Attend to a channel, and plan the next time; after a failure that is in a while."""
        try:
            again = await self._attend(channel)
            self._failures.pop(channel, None)
        except CocoonError as exc:
            failures = self._failures[channel] = self._failures.get(channel, 0) + 1
            facts = {"channel": channel.hex()[:16], "error": str(exc), "failures": failures}
            log.log(logging.WARNING if failures > 1 else logging.INFO, "channel not attended to", extra=facts)
            again = min(AGAIN_FIRST_SECONDS * 2 ** min(failures, 16), AGAIN_LAST_SECONDS)
        self._busy.discard(channel)
        self._woken.set()
        if again is not None:
            self._look_in(channel, again)

    def _look_in(self, channel: ChannelId, seconds: float) -> None:
        at = trio.current_time() + seconds
        self._due[channel] = min(at, self._due.get(channel, at))
        self._woken.set()

    def _attended(self, accounts: Accounts) -> list[Account]:
        """Give all accounts whose contract may have something to show."""
        # What a payer says it has not funded yet is not looked at, until it says that it has.
        funded = (account for account in accounts.payers() if account.backing.epoch)
        every: list[Account] = [*accounts.payees(), *funded]
        return [one for one in every if self._is_attended(one)]

    def _is_attended(self, account: Account) -> bool:
        if account.deployment is None:
            return False
        return not account.backing.is_settled or self._deposits.is_under_way(account.channel)

    # ------------------------------------------------------------ one channel

    async def attend(self, channel: ChannelId) -> None:
        """Look at a channel's contract, tell its account, and do what is due; now, not in its turn.

        A cancel may leave a message sent; what became of it is seen by the next look.

        Raises:
            Unavailable: The chain cannot be reached, or what was sent has not landed yet.
            Refused: What is due cannot be done: the wallet has too little, say.
            RemoteProtocolError: A server lied.
        """
        await self._attend(channel)

    async def leave(self) -> None:
        """Collect what is worth it, before the node goes away and can look after nothing.

        A cancel may leave a claim sent. One that fails is logged: it is due again when the node is back.
        """
        above = self._claims.policy.leaving_above
        if not above or self._accounts is None:
            return
        self._claims.policy = replace(self._claims.policy, above=min(above, self._claims.policy.above))
        async with trio.open_nursery() as nursery:
            for account in self._accounts.payers():
                voucher = account.claimable()
                if voucher is not None and due(Nano(voucher.total), account.backing) >= above:
                    nursery.start_soon(self._attend_and_bear, account.channel)

    async def fund(self, account: PayingAccount, capacity: Nano) -> None:
        """Open a channel's contract, or top it up, by so much capacity; returns when it is there.

        A cancel leaves the payment to be found by the next look: it is not made twice.

        Raises:
            Refused: There is no wallet, it has too little, the channel closes, or the contract sent the
                money back.
            Unavailable: The chain cannot be reached, or the payment has not arrived yet.
        """
        async with self._alone(account.channel):
            await self._deposits.finish(account)
            await self._lookout.look(account)
            await self._deposits.put_in(account, capacity)
        self._look_in(account.channel, TELL_SECONDS)

    async def start_close(self, account: PayingAccount) -> None:
        """Begin to close without the payee: after the delay, what it has not claimed comes back to us.

        A cancel leaves the request in the wallet's journal; calling again is harmless.

        Raises:
            Refused: There is no wallet, it has too little for the fees, or it is not the one that opened
                the channel.
            Unavailable: The chain cannot be reached, or what was sent has not landed yet.
        """
        async with self._alone(account.channel):
            await self._deposits.finish(account)
            await self._closes.start(account)
        self.look_soon(account.channel)

    async def _attend(self, channel: ChannelId) -> float | None:
        """Attend to a channel; say in how many seconds to look again, None for at the next round."""
        async with self._alone(channel):
            account = self._account(channel)
            if account is None or not self._is_attended(account):
                return None
            await self._deposits.finish(account)
            seen = await self._lookout.look(account)
            if seen is None or account.backing.is_settled:
                return None
            again = await self._closes.further(account, seen)
            if again is not None:
                return again
            if isinstance(account, PayingAccount):
                await self._deposits.put_in_by_policy(account)
                return self._tell_again(account)
            await self._claims.collect(account, seen)
            close_at = account.backing.close_at
            # Once it can be finished it is the payer's to do, or not: it is looked for with growing pauses.
            return max(abs(close_at - self.now()), AGAIN_FIRST_SECONDS) if close_at else None

    def _tell_again(self, account: PayingAccount) -> float | None:
        """Tell a payee of a deposit that it has not seen."""
        is_seen = account.capacity >= contract.capacity(account.backing.deposit)
        if is_seen or not account.is_connected or account.phase is not Phase.OPEN:
            return None
        account.send(Funded(account.channel))
        return TELL_SECONDS

    @asynccontextmanager
    async def _alone(self, channel: ChannelId) -> AsyncIterator[None]:
        """Have a channel's contract to oneself, once the notes are read."""
        await self._is_ready.wait()
        lock = self._locks.setdefault(channel, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            # Strangers have channels too: what nobody waits for is not kept.
            if not lock.locked():
                self._locks.pop(channel, None)

    def _account(self, channel: ChannelId) -> Account | None:
        return None if self._accounts is None else self._accounts.account(channel)

    def _payees(self) -> tuple[PayingAccount, ...]:
        return () if self._accounts is None else self._accounts.payees()
