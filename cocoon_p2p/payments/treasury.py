"""A node's side of the chain: it looks at every channel's contract, and does for it what is due.

    look soon ---.                        .--> tell the account what was seen
    the clock ---+--> look, with proof ---+--> a payer: fund, top up, hand in close terms, finish a close
    a start -----'                        '--> a payee: claim, hand in close terms

Whatever it does it decides from what it has just seen, so that it may be stopped anywhere and go on:
a claim and a close count once by the contract's own rules, and a payment of ours is remembered before it
is made, until it has arrived (`_fund`).

Spec: payments/settlement.md (Backing, Funding, Claims, Closing).
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import trio

from cocoon_p2p.errors import CocoonError, Refused, Unavailable
from cocoon_p2p.ledger import Note, Store
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.chain import AccountSeen, Chain
from cocoon_p2p.payments.channel import CLOSE_DELAY_SECONDS, CLOSE_TERMS_SECONDS, Backing, Phase
from cocoon_p2p.payments.claiming import changed, claim, new_number
from cocoon_p2p.payments.contract import AccountId, Deployment
from cocoon_p2p.payments.events import BackingSeen, ChannelSettled, TermsLapsed
from cocoon_p2p.payments.funding import OPENING_COSTS, FundingPolicy, Standing, to_put_in, top_up_due
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.payments.receiving import ReceivingAccount
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.payments.sight import Gone, NotOpened, due, is_claim_due, paid_total, read_sight
from cocoon_p2p.payments.spending import OutcomeUnknown, Purse
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import ChannelId, Funded
from cocoon_p2p.units import Nano, format_ton

log = logging.getLogger(__name__)

ROUND_SECONDS = 3600.0
"How often everything is looked at; more often where a close delay is short."

ROUNDS_A_DELAY = 8
"Looks within one close delay: what a payer starts is seen in time, even if some looks fail."

AGAIN_FIRST_SECONDS, AGAIN_LAST_SECONDS = 2.0, 300.0
"After a failure a channel is looked at again, with doubling pauses."

MOVED_SECONDS = 10.0
"How often spending alone makes a channel be looked at."

NOTICE_LOOKS = 3
"How often the notice of what a contract paid is looked for, once the contract is gone."

AT_ONCE_MAX = 8
"Channels that are attended to at once."

CLAIM_ABOVE = Nano(1_000_000_000)

_FUNDING = "funding/"
_CLAIMED = "claimed/"

Account = PayingAccount | ReceivingAccount


@dataclass(frozen=True, slots=True)
class ClaimPolicy:
    """When a payee collects."""

    above: Nano = CLAIM_ABOVE
    "As soon as this much is due: a claim costs some 0.003 TON."

    after_seconds: float = 7 * 24 * 3600.0
    "And whatever is due, this often."


class Treasury:
    """A node's side of the chain (a `bank.Bank`). `run` must serve it.

    Args:
        chain: The network that channels are on.
        store: The node's ledger: what is under way is noted there.
        payout: Where the node is paid; None: nobody pays it.
        purse: The wallet that it pays from; None: it pays nobody, and claims by external messages alone.
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
        funding: FundingPolicy | None = None,
        claims: ClaimPolicy | None = None,
        close_delay_seconds: int = CLOSE_DELAY_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.chain = chain
        self.payout = payout
        self.purse = purse
        self.close_delay_seconds = close_delay_seconds
        self._store = store
        self._funding = funding
        self._claims = claims or ClaimPolicy()
        self._clock = clock
        self._ahead = 0.0
        "How far the chain's clock is ahead of ours."

        self._accounts: Accounts | None = None
        self._notes: dict[str, bytes] = {}
        self._asked: set[ChannelId] = set()
        self._failures: dict[ChannelId, int] = {}
        self._moved_at: dict[ChannelId, float] = {}
        self._unfundable: set[ChannelId] = set()
        self._woken = trio.Event()
        self._locks: defaultdict[ChannelId, trio.Lock] = defaultdict(trio.Lock)
        self._places = trio.CapacityLimiter(AT_ONCE_MAX)

    # ------------------------------------------------------------ what accounts ask (`bank.Bank`)

    @property
    def global_id(self) -> int:
        return self.chain.global_id

    @property
    def wallet(self) -> AccountId | None:
        return None if self.purse is None else self.purse.wallet.account

    def now(self) -> float:
        return self._clock() + self._ahead

    def look_soon(self, channel: ChannelId) -> None:
        self._asked.add(channel)
        self._woken.set()

    def moved(self, channel: ChannelId, *, room: Nano) -> None:
        account = None if self._accounts is None else self._accounts.account(channel)
        if isinstance(account, PayingAccount):
            is_due = self._funding is not None and self._top_up(account, Standing(Nano(0), 0)) > 0
        else:
            is_due = room >= self._claims.above
        now = trio.current_time()
        if is_due and now >= self._moved_at.get(channel, 0.0):
            self._moved_at[channel] = now + MOVED_SECONDS
            self.look_soon(channel)

    # ------------------------------------------------------------ the round

    async def run(self, accounts: Accounts) -> None:
        """Watch over all accounts until cancelled. A cancel leaves everything to be gone on with."""
        self._accounts = accounts
        self._notes = dict(await self._store.notes(""))
        async with trio.open_nursery() as nursery:
            while True:
                for account in _attended(accounts):
                    self._asked.add(account.channel)
                await self._until_next_round(nursery)

    async def _until_next_round(self, nursery: trio.Nursery) -> None:
        with trio.move_on_after(min(ROUND_SECONDS, self.close_delay_seconds / ROUNDS_A_DELAY)):
            while True:
                asked, self._asked = self._asked, set()
                for channel in asked:
                    nursery.start_soon(self._attend_and_bear, channel)
                await self._woken.wait()
                self._woken = trio.Event()

    async def _attend_and_bear(self, channel: ChannelId) -> None:
        """Attend to a channel; if that fails, again in a while."""
        try:
            async with self._places:
                await self.attend(channel)
            self._failures.pop(channel, None)
        except CocoonError as exc:
            failures = self._failures[channel] = self._failures.get(channel, 0) + 1
            facts = {"channel": channel.hex()[:16], "error": str(exc), "failures": failures}
            log.log(logging.WARNING if failures > 1 else logging.INFO, "channel not attended to", extra=facts)
            await trio.sleep(min(AGAIN_FIRST_SECONDS * 2 ** min(failures, 16), AGAIN_LAST_SECONDS))
            self.look_soon(channel)

    async def attend(self, channel: ChannelId) -> None:
        """Look at a channel's contract, tell its account, and do what is due; now, not in its turn.

        A cancel may leave a message sent; what became of it is seen by the next look.

        Raises:
            Unavailable: The chain cannot be reached, or what was sent has not landed yet.
            Refused: What is due cannot be done: the wallet has too little, say.
        """
        account = None if self._accounts is None else self._accounts.account(channel)
        if account is None or account.deployment is None or account.backing.is_settled:
            return
        async with self._locks[channel]:
            await self._finish_funding(account)
            seen = await self._look(account, account.deployment)
            if seen is None or await self._close(account, seen):
                return
            if isinstance(account, PayingAccount):
                await self._fund_by_policy(account)
            else:
                await self._claim(account, account.deployment)

    async def _look(self, account: Account, deployment: Deployment) -> AccountSeen | None:
        """Look at a contract and tell its account; None if it is gone."""
        seen = await self.chain.account(AccountId(account.channel))
        self._take(account, deployment, seen)
        if isinstance(read_sight(deployment, account.backing, seen), Gone):
            account.apply(ChannelSettled(await self._paid_total(account, deployment)))
            await self._forget(account.channel)
            return None
        return seen

    def _take(self, account: Account, deployment: Deployment, seen: AccountSeen) -> None:
        """Tell the account what was seen."""
        self._ahead = seen.at - self._clock()
        sight = read_sight(deployment, account.backing, seen)
        if isinstance(sight, Backing):
            account.apply(BackingSeen(sight))

    async def _paid_total(self, account: Account, deployment: Deployment) -> Nano:
        """Find out what a contract that is gone paid."""
        wallet = deployment.payer if isinstance(account, PayingAccount) else deployment.payee
        past = await self.chain.transactions(wallet, since_lt=account.backing.epoch)
        total = paid_total(account.channel, deployment, past, to=wallet)
        if total is None and self._failures.get(account.channel, 0) < NOTICE_LOOKS:
            raise Unavailable("the contract is gone, and the notice of what it paid is still under way")
        # Without a notice (nothing came to us, or the server has forgotten): what we saw last.
        return max(total or Nano(0), account.backing.claimed)

    # ------------------------------------------------------------ closing

    async def _close(self, account: Account, seen: AccountSeen) -> bool:
        """Bring a close further that was agreed on, or whose delay is over; say whether one is under way."""
        is_payer = isinstance(account, PayingAccount)
        account.apply(TermsLapsed(self.now()))
        body = account.close_body() if account.phase is Phase.CLOSED else None
        if body is not None:
            # The payer first: it gets the change. A payee with a wallet follows when half the time is over.
            if self.purse is not None and (is_payer or self._is_half_over(account)):
                await self._tell_contract(account, body, seen)
            return True
        close_at = account.backing.close_at
        if is_payer and self.purse is not None and 0 < close_at <= seen.at:
            await self._tell_contract(account, contract.finish_close(), seen)
        return close_at != 0 and is_payer

    def _is_half_over(self, account: Account) -> bool:
        until = account.terms_until
        return until is not None and self.now() > until - CLOSE_TERMS_SECONDS / 2

    async def start_close(self, account: PayingAccount) -> None:
        """Begin to close without the payee: after the delay, what it has not claimed comes back to us.

        A cancel leaves the request in the wallet's journal; calling again is harmless.

        Raises:
            Refused: There is no wallet, or it has too little for the fees.
            Unavailable: The chain cannot be reached.
        """
        async with self._locks[account.channel]:
            deployment = self._contract_of(account)
            seen = await self._look(account, deployment)
            if seen is not None and account.backing.epoch and not account.backing.close_at:
                await self._tell_contract(account, contract.start_close(), seen)

    async def _tell_contract(self, account: Account, body: bytes, seen: AccountSeen) -> None:
        """Send the contract a message from our wallet, and look what it did."""
        transfer = Transfer(AccountId(account.channel), contract.ATTACHED_MIN, body, is_bounceable=True)
        await self._require_purse().spend(new_number(), [transfer])
        await changed(self.chain, AccountId(account.channel), seen)
        await self._look(account, self._contract_of(account))

    # ------------------------------------------------------------ a payee's claims

    async def _claim(self, account: ReceivingAccount, deployment: Deployment) -> None:
        voucher = account.voucher()
        if voucher is None or voucher.epoch != account.backing.epoch:
            return
        amount = due(Nano(voucher.total), account.backing)
        waited = self.now() - self._waiting_since(account.channel) if amount else 0.0
        is_old = waited >= self._claims.after_seconds
        if not is_claim_due(amount, account.backing, above=self._claims.above, is_old=is_old):
            return
        seen = await self.chain.account(AccountId(account.channel))
        await claim(self.chain, voucher, self.purse)
        self._take(account, deployment, await changed(self.chain, AccountId(account.channel), seen))
        log.info("claimed", extra={"channel": account.channel.hex()[:16], "amount": amount})
        await self._note(_CLAIMED + account.channel.hex(), int(self.now()))

    def _waiting_since(self, channel: ChannelId) -> int:
        """Say when a channel was last collected, or when it was first seen to have something."""
        key = _CLAIMED + channel.hex()
        if key not in self._notes:
            self._write(key, int(self.now()))
        return int.from_bytes(self._notes[key])

    # ------------------------------------------------------------ a payer's deposits

    async def fund(self, account: PayingAccount, capacity: Nano) -> None:
        """Open a channel's contract, or top it up, by so much capacity; returns when it is there.

        A cancel leaves the payment to be found by the next look: it is not made twice.

        Raises:
            Refused: There is no wallet, it has too little, or the contract sent the money back.
            Unavailable: The chain cannot be reached, or the payment has not arrived yet.
        """
        async with self._locks[account.channel]:
            await self._finish_funding(account)
            await self._look(account, self._contract_of(account))
            await self._fund(account, capacity)

    async def _fund_by_policy(self, account: PayingAccount) -> None:
        if self._funding is None or self.purse is None or account.channel in self._unfundable:
            return
        capacity = self._top_up(account, self._standing())
        if capacity:
            await self._fund(account, capacity)

    def _top_up(self, account: PayingAccount, standing: Standing) -> Nano:
        if self._funding is None or account.phase is not Phase.OPEN:
            return Nano(0)
        # By what we have seen ourselves: the payee may not have looked yet.
        seen = contract.capacity(account.backing.deposit)
        room = Nano(seen + account.grant - account.charged - account.held)
        return top_up_due(self._funding, standing, account.backing, charged=account.charged, room=room)

    def _standing(self) -> Standing:
        payees = () if self._accounts is None else self._accounts.payees()
        locked = [one.backing for one in payees if one.backing.epoch and not one.backing.is_settled]
        return Standing(Nano(sum(one.deposit - one.claimed for one in locked)), len(locked))

    async def _fund(self, account: PayingAccount, capacity: Nano) -> None:
        purse, deployment = self._require_purse(), self._contract_of(account)
        transfer = Transfer(
            AccountId(account.channel),
            Nano(to_put_in(capacity, account.backing) + OPENING_COSTS),
            contract.top_up(),
            state_init=None if account.backing.epoch else contract.state_init(deployment),
            is_bounceable=True,
        )
        wallet = await self.chain.account(purse.wallet.account)
        # Noted before it is paid: who finds the note looks in the wallet's history before paying again.
        await self._note(_FUNDING + account.channel.hex(), wallet.last_lt)
        try:
            await purse.spend(new_number(), [transfer])
        except OutcomeUnknown:
            raise
        except (Refused, Unavailable):
            await self._note(_FUNDING + account.channel.hex(), None)
            raise
        await self._finish_funding(account)

    async def _finish_funding(self, account: Account) -> None:
        """See a payment through to its contract, if one is under way."""
        note = self._notes.get(_FUNDING + account.channel.hex())
        if note is None or self.purse is None or not isinstance(account, PayingAccount):
            return
        await self.purse.settle()
        paid = await self._paid_at(account, since_lt=int.from_bytes(note))
        if paid:
            await self._arrive(account, paid)
        await self._note(_FUNDING + account.channel.hex(), None)

    async def _paid_at(self, account: PayingAccount, *, since_lt: int) -> int:
        """Find our payment to a contract in the wallet's history: its logical time, or 0."""
        past = await self.chain.transactions(self._require_purse().wallet.account, since_lt=since_lt)
        channel = AccountId(account.channel)
        made = (one.lt for one in past if any(sent.other == channel for sent in one.sent))
        return max(made, default=0)

    async def _arrive(self, account: PayingAccount, paid: int) -> None:
        """Wait until a contract has had our payment, and tell the account and the payee."""
        deployment = self._contract_of(account)
        seen = await self.chain.account(AccountId(account.channel))
        while seen.last_lt <= paid:
            seen = await changed(self.chain, AccountId(account.channel), seen)
        if isinstance(read_sight(deployment, account.backing, seen), NotOpened):
            self._unfundable.add(account.channel)
            raise Refused(
                f"the channel's contract sent the deposit back (channel={account.channel.hex()[:16]})",
                code=Reason.WRONG_NETWORK.code,
                hint="was it made for another TON network? close it and open another one",
            )
        self._take(account, deployment, seen)
        account.send(Funded(account.channel))
        deposit = format_ton(account.backing.deposit)
        log.info("channel funded", extra={"channel": account.channel.hex()[:16], "deposit": deposit})

    # ------------------------------------------------------------ notes

    async def _note(self, key: str, number: int | None) -> None:
        """Remember a number, or forget it; on disk on return."""
        self._write(key, number)
        await self._store.submit().wait()

    def _write(self, key: str, number: int | None) -> None:
        if number is None:
            self._notes.pop(key, None)
        else:
            self._notes[key] = number.to_bytes(8)
        self._store.submit(Note(key, self._notes.get(key)))

    async def _forget(self, channel: ChannelId) -> None:
        for key in (_FUNDING, _CLAIMED):
            if key + channel.hex() in self._notes:
                await self._note(key + channel.hex(), None)

    def _require_purse(self) -> Purse:
        if self.purse is None:
            raise Refused(
                "there is no wallet to pay from",
                code=Reason.NO_CREDIT.code,
                hint="make one with `cocoon wallet new` and name its file in [wallet] of the config",
            )
        return self.purse

    def _contract_of(self, account: Account) -> Deployment:
        if account.deployment is None:
            raise Refused("no contract stands behind the channel", code=Reason.WRONG_NETWORK.code)
        return account.deployment


def _attended(accounts: Accounts) -> tuple[Account, ...]:
    """Give all accounts whose contract may have something to show."""
    # What a payer says it has not funded yet is not looked at, until it says that it has.
    funded = (account for account in accounts.payers() if account.backing.epoch)
    every: tuple[Account, ...] = (*accounts.payees(), *funded)
    return tuple(one for one in every if one.deployment is not None and not one.backing.is_settled)
