"""Bringing closes to their end on the chain: terms are handed in, lone closes begun, and finished in time.

Spec: payments/settlement.md (Closing).
"""

from cocoon_p2p.errors import Refused
from cocoon_p2p.failpoint import Failpoint, reached
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.chain import AccountSeen
from cocoon_p2p.payments.channel import CLOSE_TERMS_SECONDS, TERMS_PARTS, Phase
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.events import TermsLapsed
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.payments.treasury.claiming import new_number
from cocoon_p2p.payments.treasury.deposits import required
from cocoon_p2p.payments.treasury.lookout import Account, Lookout, deployment_of
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.payments.wallet.journal import Paid
from cocoon_p2p.payments.wallet.landing import EXPIRY_MARGIN_SECONDS
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.protocols.ids import Reason

HAND_IN_SECONDS = 30.0
"Terms that hold for less than this are not handed in any more: they could expire on their way."

LOOK_SECONDS = 15.0
"How long the first pause is while agreed terms wait for the chain."

LAPSE_MARGIN_SECONDS = float(EXPIRY_MARGIN_SECONDS)
"How far the chain must be past terms' time before they count as void: a block that is behind may take them."


class Closes:
    """Ends a node's channels on the chain."""

    def __init__(self, lookout: Lookout, purse: Purse | None) -> None:
        self._lookout = lookout
        self._purse = purse

    async def further(self, account: Account, seen: AccountSeen) -> float | None:
        """Bring a close further that was agreed on, or whose delay is over.

        Args:
            account: Whose contract.
            seen: What was seen of it just now.

        Returns:
            In how many seconds to look again; None if no close is under way that keeps us from other things.

        Raises:
            Refused: The wallet has too little for the fees.
            Unavailable: The chain cannot be reached, or what was sent has not landed yet.
        """
        account.apply(TermsLapsed(self._lookout.now() - LAPSE_MARGIN_SECONDS))
        body = account.close_body() if account.phase is Phase.CLOSED else None
        if body is not None:
            return await self._hand_in(account, body)
        close_at = account.backing.close_at
        if not close_at or not isinstance(account, PayingAccount):
            return None
        if close_at <= seen.at and self._purse is not None:
            await self._tell(account, contract.finish_close())
        left = close_at - self._lookout.now()
        if self._purse is None:
            # It is another wallet's to finish, at any time or never: it is looked for with growing pauses.
            return max(abs(left), LOOK_SECONDS)
        return max(left, 1.0)

    async def _hand_in(self, account: Account, body: bytes) -> float:
        now, until = self._lookout.now(), float(account.terms_until or 0)
        # The payer first: it gets the change. A payee with a wallet follows when half the time is over.
        turn = now if isinstance(account, PayingAccount) else until - _terms_seconds(account) / 2
        if self._purse is None or now > until - HAND_IN_SECONDS:
            turn = until + LAPSE_MARGIN_SECONDS + 1.0
        if turn <= now:
            reached(Failpoint.CLOSE_AGREED)
            await self._tell(account, body)
        # The other may hand them in at any time: it is looked for with growing pauses.
        look = max(LOOK_SECONDS, now - until + _terms_seconds(account))
        return look if turn <= now else min(look, turn - now)

    async def start(self, account: PayingAccount) -> None:
        """Begin to close without the payee; raises as `Treasury.start_close`."""
        purse, deployment = required(self._purse), deployment_of(account)
        if deployment.payer != purse.wallet.account:
            raise Refused(
                "the channel was opened from another wallet, and only that one can close it alone",
                code=Reason.WRONG_NETWORK.code,
            )
        seen = await self._lookout.look(account)
        if seen is not None and account.backing.epoch and not account.backing.close_at:
            await self._tell(account, contract.start_close())

    async def _tell(self, account: Account, body: bytes) -> None:
        """Send the contract a message from our wallet, and look what it did."""
        channel, purse = AccountId(account.channel), required(self._purse)
        earlier = await purse.settle()
        if isinstance(earlier, Paid) and any(sent.other == channel for sent in earlier.transaction.sent):
            # What an earlier life of ours sent may be all that there is to say.
            await self._lookout.landed(account, earlier.transaction.lt)
            return
        transfer = Transfer(channel, contract.ATTACHED_MIN, body, is_bounceable=True)
        paid = await purse.spend(new_number(), [transfer])
        reached(Failpoint.CLOSE_SENT)
        await self._lookout.landed(account, paid.transaction.lt)


def _terms_seconds(account: Account) -> float:
    delay = deployment_of(account).close_delay_seconds
    return min(CLOSE_TERMS_SECONDS, delay // TERMS_PARTS)
