"""A payer's deposits: each is put in once, whatever happens between deciding on it and its arrival.

    decide -> NOTE -> pay (`spending`) -> the wallet paid -> the contract has it -> tell -> forget the note

Who finds a note looks in the wallet's history before it pays again.

Spec: payments/settlement.md (Funding).
"""

import logging
from collections.abc import Callable, Iterable

from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.failpoint import Failpoint, reached
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.chain import Transaction
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.payments.treasury.claiming import changed, new_number
from cocoon_p2p.payments.treasury.funding import OPENING_COSTS, FundingPolicy, Standing, to_put_in, top_up_due
from cocoon_p2p.payments.treasury.lookout import Account, Lookout, deployment_of
from cocoon_p2p.payments.treasury.notebook import Notebook
from cocoon_p2p.payments.treasury.sight import NotOpened, read_sight
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.payments.wallet.spending import OutcomeUnknown, Purse
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import ChannelId, Funded
from cocoon_p2p.units import Nano, format_ton

log = logging.getLogger(__name__)

_FUNDING = "funding/"


def required(purse: Purse | None) -> Purse:
    """Give a node's purse.

    Raises:
        Refused: It has none.
    """
    if purse is None:
        raise Refused(
            "there is no wallet to pay from",
            code=Reason.NO_CREDIT.code,
            hint="make one with `cocoon wallet new` and name its file in [wallet] of the config",
        )
    return purse


class Deposits:
    """Puts a node's money into its channels.

    Args:
        lookout: Looks at contracts.
        notebook: Remembers what is under way.
        purse: What it pays from; None: nothing is put in.
        policy: What is put in by itself; None: nothing.
        payees: Gives all accounts that we pay through.
    """

    def __init__(
        self,
        lookout: Lookout,
        notebook: Notebook,
        purse: Purse | None,
        policy: FundingPolicy | None,
        payees: Callable[[], Iterable[PayingAccount]],
    ) -> None:
        self._lookout = lookout
        self._chain = lookout.chain
        self._notebook = notebook
        self._purse = purse
        self._policy = policy
        self._payees = payees
        self._decided: dict[ChannelId, Nano] = {}
        "What was decided on and is not in a note yet."

        self._sent_back: set[ChannelId] = set()
        "Channels whose contract sent the money back: their notes stay, so that it is not tried again."

    def is_under_way(self, channel: ChannelId) -> bool:
        """Whether a deposit was noted that has not arrived, as far as we know."""
        return self._notebook.read(_key(channel)) is not None and channel not in self._sent_back

    # ------------------------------------------------------------ by policy

    def due(self, account: PayingAccount, standing: Standing | None = None) -> Nano:
        """Say by how much a channel's capacity should be raised, by the policy; 0 for not at all.

        Args:
            account: The channel's.
            standing: What is locked up altogether; None: no matter how much.
        """
        if self._policy is None or self._purse is None or account.phase is not Phase.OPEN:
            return Nano(0)
        deployment = account.deployment
        if deployment is None or deployment.payer != self._purse.wallet.account:
            return Nano(0)
        # By what we have seen ourselves: the payee may not have looked yet.
        seen = contract.capacity(account.backing.deposit)
        room = Nano(seen + account.grant - account.charged - account.held)
        return top_up_due(
            self._policy,
            standing or Standing(Nano(0), 0),
            account.backing,
            charged=account.charged,
            room=room,
        )

    async def put_in_by_policy(self, account: PayingAccount) -> None:
        """Open a channel's contract or top it up, if that is due. Raises as `put_in`."""
        capacity = self.due(account, self._standing())
        if capacity and account.channel not in self._sent_back:
            await self.put_in(account, capacity)

    def _standing(self) -> Standing:
        """Add up what is locked up, with what is on its way."""
        locked = {
            one.channel: one.backing.deposit - one.backing.claimed
            for one in self._payees()
            if one.backing.epoch and not one.backing.is_settled
        }
        noted = {channel: numbers[-1] for channel, numbers in self._notebook.under(_FUNDING).items()}
        under_way = {**noted, **self._decided}
        deposits = sum(locked.values()) + sum(under_way.values())
        return Standing(Nano(deposits), len(locked.keys() | under_way.keys()))

    # ------------------------------------------------------------ one deposit

    async def put_in(self, account: PayingAccount, capacity: Nano) -> None:
        """Open a channel's contract, or top it up; raises as `Treasury.fund`."""
        purse, deployment, channel = required(self._purse), deployment_of(account), account.channel
        if account.phase is not Phase.OPEN:
            raise Refused("the channel is closing: nothing is put in any more", code=Reason.DRAINING.code)
        if channel in self._sent_back:
            raise _came_back(channel)
        amount = to_put_in(capacity, account.backing)
        transfer = Transfer(
            AccountId(channel),
            Nano(amount + OPENING_COSTS),
            contract.top_up(),
            state_init=None if account.backing.epoch else contract.state_init(deployment),
            is_bounceable=True,
        )
        self._decided[channel] = amount
        try:
            wallet = await self._chain.account(purse.wallet.account)
            await self._notebook.save(_key(channel), wallet.last_lt, amount)
        finally:
            del self._decided[channel]
        reached(Failpoint.FUNDING_NOTED)
        try:
            await purse.spend(new_number(), [transfer])
        except OutcomeUnknown:
            raise
        except (Refused, Unavailable):
            await self._notebook.save(_key(channel))
            raise
        reached(Failpoint.FUNDING_PAID)
        await self.finish(account)

    async def finish(self, account: Account) -> None:
        """See a deposit through to its contract, if one is under way.

        Raises:
            Refused: The contract sent it back.
            Unavailable: The chain cannot be reached, or the deposit has not arrived yet.
        """
        channel, purse = account.channel, self._purse
        note = self._notebook.read(_key(channel))
        if note is None or purse is None or not isinstance(account, PayingAccount):
            return
        if channel in self._sent_back:
            return
        await purse.settle()
        paid = _paid_at(await self._chain.transactions(purse.wallet.account, since_lt=note[0]), channel)
        if paid:
            await self._arrive(account, purse, paid)
        await self._notebook.save(_key(channel))

    async def _arrive(self, account: PayingAccount, purse: Purse, paid: int) -> None:
        """Wait until a contract has had our deposit, and tell the account and the payee."""
        channel, deployment = AccountId(account.channel), deployment_of(account)
        wallet = purse.wallet.account
        while True:
            seen = await self._chain.account(channel)
            if _has_come(await self._chain.transactions(channel, since_lt=paid), wallet):
                break
            # It came back: the contract did not want it, or was closed meanwhile.
            if _has_come(await self._chain.transactions(wallet, since_lt=paid), channel):
                break
            await changed(self._chain, channel, seen)
        looked = await self._lookout.look(account)
        if looked is None:
            return
        if isinstance(read_sight(deployment, account.backing, looked), NotOpened):
            self._sent_back.add(account.channel)
            raise _came_back(account.channel)
        reached(Failpoint.FUNDING_ARRIVED)
        account.send(Funded(account.channel))
        deposit = format_ton(account.backing.deposit)
        log.info("channel funded", extra={"channel": account.channel.hex()[:16], "deposit": deposit})


def _key(channel: ChannelId) -> str:
    return _FUNDING + channel.hex()


def _paid_at(past: Iterable[Transaction], channel: ChannelId) -> int:
    """Find our deposit into a contract among the wallet's transactions: its logical time, or 0."""
    account, wanted = AccountId(channel), read_one(contract.top_up()).hash
    made = (
        one.lt
        for one in past
        for sent in one.sent
        # Closes are sent there too.
        if sent.other == account and read_one(sent.body).hash == wanted
    )
    return max(made, default=0)


def _has_come(past: Iterable[Transaction], sender: AccountId) -> bool:
    return any(one.received is not None and one.received.other == sender for one in past)


def _came_back(channel: ChannelId) -> Refused:
    return Refused(
        f"the channel's contract sent the deposit back (channel={channel.hex()[:16]})",
        code=Reason.WRONG_NETWORK.code,
        hint="was it made for another TON network? close it and open another one",
    )
