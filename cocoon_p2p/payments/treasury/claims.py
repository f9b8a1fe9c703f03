"""A payee's claims: when to collect what vouchers are worth, and seeing to it that it is collected.

Spec: payments/settlement.md (Closing alone).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import trio

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.failpoint import Failpoint, reached
from cocoon_p2p.ledger import Cost
from cocoon_p2p.payments.chain import AccountSeen, MessageRefused
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.receiving import ReceivingAccount
from cocoon_p2p.payments.treasury.claiming import changed, claim
from cocoon_p2p.payments.treasury.lookout import LOOK_SECONDS, Lookout, deployment_of
from cocoon_p2p.payments.treasury.notebook import Notebook
from cocoon_p2p.payments.treasury.sight import claim_costs, due, is_claim_due
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.protocols.messages import ChannelId, Voucher
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

CLAIM_ABOVE = Nano(1_000_000_000)
_NOTHING = Nano(0)
_CLAIMED = "claimed/"


@dataclass(frozen=True, slots=True)
class ClaimPolicy:
    """When a payee collects."""

    above: Nano = CLAIM_ABOVE
    "As soon as this much is due: a claim costs some 0.003 TON."

    after_seconds: float = 7 * 24 * 3600.0
    "And however little is due, this often, unless its fees would eat more than a tenth of it."

    leaving_above: Nano = _NOTHING
    "Before the node goes away, as soon as this much is due; 0: nothing is collected for that reason."


class Claims:
    """Collects for a node."""

    def __init__(
        self,
        lookout: Lookout,
        notebook: Notebook,
        purse: Purse | None,
        policy: ClaimPolicy,
        book: Callable[[Cost], object],
    ) -> None:
        """Make a node's claims. `book` writes a cost into its ledger."""
        self.policy = policy
        self._book = book
        self._lookout = lookout
        self._notebook = notebook
        self._purse = purse
        self._missed: set[ChannelId] = set()
        "Where a claim was handed in and did not land."

    async def collect(self, account: ReceivingAccount, seen: AccountSeen) -> None:
        """Claim if it is due, and return when the contract has paid.

        Args:
            account: Whose contract.
            seen: What was seen of it just now.

        Raises:
            Refused: The payer is leaving, and the contract does not take the claim.
            Unavailable: The chain cannot be reached, or the claim has not landed yet.
        """
        voucher = account.claimable()
        if voucher is None or voucher.epoch != account.backing.epoch:
            return
        amount = due(Nano(voucher.total), account.backing)
        waited = self._lookout.now() - self._waiting_since(account.channel) if amount else 0.0
        is_old = waited >= self.policy.after_seconds
        if not is_claim_due(amount, account.backing, above=self.policy.above, is_old=is_old):
            return
        try:
            await self._claim(account, voucher, seen)
        except MessageRefused as exc:
            if account.backing.close_at or self._purse is not None:
                raise
            # Too little for an external message. There is no hurry: more may be due at the next round.
            log.info("not claimed", extra={"channel": account.channel.hex()[:16], "why": str(exc)})

    async def _claim(self, account: ReceivingAccount, voucher: Voucher, seen: AccountSeen) -> None:
        claimed, latest = account.backing.claimed, seen
        # Handed in a second time it would be the very same message, to the very same servers.
        is_missed = account.channel in self._missed
        await claim(self._lookout.chain, voucher, self._purse, by_wallet=is_missed)
        reached(Failpoint.CLAIM_SENT)
        self._missed.add(account.channel)
        # A top-up changes the contract too: what counts is that it has paid.
        while account.backing.claimed == claimed:
            await changed(self._lookout.chain, AccountId(account.channel), latest)
            looked = await self._lookout.look(account)
            if looked is None:
                self._missed.discard(account.channel)
                return
            latest = looked
        self._missed.discard(account.channel)
        reached(Failpoint.CLAIM_LANDED)
        amount = account.backing.claimed - claimed
        log.info("claimed", extra={"channel": account.channel.hex()[:16], "amount": amount})
        self._notebook.write(_CLAIMED + account.channel.hex(), int(self._lookout.now()))
        await self._book_costs(account, seen, claimed)

    async def _book_costs(self, account: ReceivingAccount, before: AccountSeen, claimed: Nano) -> None:
        """Write down what collecting cost. Not to learn it leaves a statement short of a fee, and no more."""
        contract = AccountId(account.channel)
        payee = deployment_of(account).payee
        ours = None if self._purse is None else self._purse.wallet.account
        try:
            with trio.move_on_after(LOOK_SECONDS):
                past = await self._lookout.chain.transactions(contract, since_lt=before.last_lt)
                for one, cost in claim_costs(past, claimed=claimed, payee=payee, ours=ours):
                    self._book(Cost(contract, one.lt, "claim", cost, one.at))
        except CocoonError as exc:
            log.info("a claim's cost is not known", extra={"error": str(exc)})

    def _waiting_since(self, channel: ChannelId) -> int:
        """Say when a channel was last collected, or when it was first seen to have something."""
        key = _CLAIMED + channel.hex()
        noted = self._notebook.read(key)
        if noted is None:
            noted = (int(self._lookout.now()),)
            self._notebook.write(key, *noted)
        return noted[0]
