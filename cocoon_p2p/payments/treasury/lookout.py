"""Looking at channels' contracts, and telling their accounts what was seen; and what time it is there.

Spec: payments/settlement.md (Backing).
"""

from collections.abc import Callable

import trio

from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.failpoint import Failpoint, reached
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.chain import AccountSeen, Chain
from cocoon_p2p.payments.channel import Backing, Phase
from cocoon_p2p.payments.contract import AccountId, Deployment
from cocoon_p2p.payments.events import BackingSeen, ChannelSettled
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.payments.receiving import ReceivingAccount
from cocoon_p2p.payments.treasury.claiming import changed
from cocoon_p2p.payments.treasury.notebook import Notebook
from cocoon_p2p.payments.treasury.sight import Gone, paid_total, read_sight
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.units import Nano

AT_ONCE_MAX = 8
"Contracts that are looked at at once."

LOOK_SECONDS = 60.0
"How long one look may take."

NOTICE_SECONDS = 30.0
"""How long the notice of a contract's last payment is waited for, once the contract is gone. It is a message
of its own, and there some blocks later."""

_SEEN = "chain/seen"

Account = PayingAccount | ReceivingAccount


class Lookout:
    """Where a treasury looks at contracts from.

    Args:
        chain: The network that channels are on.
        notebook: Remembers how far the chain was when something was last seen.
        clock: Seconds since the Unix epoch, until the chain has told its own time.
    """

    def __init__(self, chain: Chain, notebook: Notebook, clock: Callable[[], float]) -> None:
        self.chain = chain
        self._notebook = notebook
        self._clock = clock
        self._ahead = 0.0
        "How far the chain's clock is ahead of ours."

        self._places = trio.CapacityLimiter(AT_ONCE_MAX)
        self._gone_since: dict[ChannelId, float] = {}
        "When a contract was first seen to be gone whose last payment is not known yet, on trio's clock."

    def now(self) -> float:
        """Tell the chain's time, as well as it is known without asking."""
        return self._clock() + self._ahead

    async def look(self, account: Account) -> AccountSeen | None:
        """Look at an account's contract and tell the account; None if the contract is gone.

        Raises:
            Unavailable: The chain cannot be reached; or what a contract paid that is gone is not known yet.
            MalformedMessage: A server lied.
        """
        deployment = deployment_of(account)
        seen = await self._see(AccountId(account.channel))
        sight = read_sight(deployment, account.backing, seen)
        if isinstance(sight, Gone):
            await self._settle(account, deployment)
            return None
        self._gone_since.pop(account.channel, None)
        if isinstance(sight, Backing):
            if sight != account.backing:
                self._notebook.write(_SEEN, seen.at)
            account.apply(BackingSeen(sight))
        return seen

    async def landed(self, account: Account, lt: int) -> AccountSeen | None:
        """Look until a contract has had what was sent to it at a logical time; None if it is gone.

        Raises:
            Unavailable: It has not for `claiming.LANDING_SECONDS`; or as `look`.
        """
        seen = await self.look(account)
        while seen is not None and seen.last_lt <= lt:
            await changed(self.chain, AccountId(account.channel), seen)
            seen = await self.look(account)
        return seen

    async def _see(self, account: AccountId) -> AccountSeen:
        seen: AccountSeen | None = None
        async with self._places:
            with trio.move_on_after(LOOK_SECONDS):
                seen = await self.chain.account(account)
        if seen is None:
            raise Unavailable(f"the chain did not answer (seconds={LOOK_SECONDS:.0f})")
        # A server that lags behind what an earlier life of ours saw would show an open contract as gone.
        (latest,) = self._notebook.read(_SEEN) or (0,)
        if seen.at < latest:
            raise Unavailable(f"the chain is behind what we saw of it (at={seen.at} seen={latest})")
        self._ahead = seen.at - self._clock()
        return seen

    async def _settle(self, account: Account, deployment: Deployment) -> None:
        """Tell an account what its contract paid that is gone, once that is known."""
        since = self._gone_since.setdefault(account.channel, trio.current_time())
        is_payer = isinstance(account, PayingAccount)
        wallet = deployment.payer if is_payer else deployment.payee
        past = await self.chain.transactions(wallet, since_lt=account.backing.epoch)
        told = paid_total(account.channel, deployment, past, to=wallet)
        agreed = account.terms_total if account.phase is Phase.CLOSED else None
        # The payer's notice says it all. A payee had one with each claim: the last may be under way.
        is_whole = told is not None and (is_payer or told >= _expected(account, agreed))
        if not is_whole and trio.current_time() < since + NOTICE_SECONDS:
            raise Unavailable("the contract is gone, and the notice of what it paid is still under way")
        if told is None and is_payer and agreed is not None:
            # Nothing was left to come back with a notice, or the servers have forgotten it.
            told = agreed
        reached(Failpoint.CLOSE_LANDED)
        # Notes first: a channel that is settled is not looked at again.
        self._notebook.forget(account.channel)
        account.apply(ChannelSettled(Nano(max(told or 0, account.backing.claimed))))
        del self._gone_since[account.channel]


def _expected(account: Account, agreed: Nano | None) -> Nano:
    """Say what a payee's channel should have paid by its end."""
    if agreed is not None or isinstance(account, PayingAccount):
        return agreed or Nano(0)
    voucher = account.voucher()
    best = Nano(0) if voucher is None else Nano(voucher.total)
    return min(best, contract.claimable(account.backing.deposit))


def deployment_of(account: Account) -> Deployment:
    """Give what an account's contract is deployed with.

    Raises:
        Refused: There is none: the channel is one without a chain.
    """
    if account.deployment is None:
        raise Refused("no contract stands behind the channel", code=Reason.WRONG_NETWORK.code)
    return account.deployment
