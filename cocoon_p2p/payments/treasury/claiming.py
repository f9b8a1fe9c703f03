"""Collecting with a voucher: by an external message, paid for out of what is due, or through a wallet.

Anybody may claim for the payee: a node for itself, a watcher on another machine with nothing but the
voucher. The contract takes each total once, so claiming twice is harmless.

Spec: payments/settlement.md (Claims without a wallet).
"""

import logging
import secrets

import trio

from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.chain import AccountSeen, Chain
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.protocols.messages import Voucher
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

LOOK_FIRST_SECONDS, LOOK_LAST_SECONDS = 0.25, 4.0
"Pauses between looks at what was sent: each twice the one before."

LANDING_SECONDS = 120.0
"How long what was sent is looked for before the round goes on; it may land later all the same."


def new_number() -> int:
    """Name a payment of ours that was never made before (`Purse.spend`)."""
    return secrets.randbits(62)


async def claim(chain: Chain, voucher: Voucher, purse: Purse | None, *, by_wallet: bool = False) -> None:
    """Hand a voucher to its contract. That it was taken is for the next look to show.

    Args:
        chain: Where the contract is.
        voucher: The best one.
        purse: A wallet to bear the fees where too little is due for an external message.
        by_wallet: Whether an external message is not to be tried, if there is a wallet.

    Raises:
        Refused: The contract does not take it: too little is due for its fees and there is no wallet, or
            it was claimed already.
        Unavailable: The chain cannot be reached.
    """
    channel, total = voucher.channel, Nano(voucher.total)
    if purse is None or not by_wallet:
        try:
            await chain.send(contract.external_claim(channel, total, voucher.signature))
            return
        except Refused as exc:
            if purse is None:
                raise
            log.info("claimed through the wallet", extra={"channel": channel.hex()[:16], "why": str(exc)})
    body = contract.claim(total, voucher.signature)
    transfer = Transfer(AccountId(channel), contract.ATTACHED_MIN, body, is_bounceable=True)
    await purse.spend(new_number(), [transfer])


async def changed(chain: Chain, account: AccountId, after: AccountSeen) -> AccountSeen:
    """Look at an account until something has happened to it.

    Raises:
        Unavailable: Nothing did for `LANDING_SECONDS`, or the chain cannot be reached.
    """
    pause = LOOK_FIRST_SECONDS
    with trio.move_on_after(LANDING_SECONDS):
        while True:
            seen = await chain.account(account)
            if (seen.last_lt, seen.code is None) != (after.last_lt, after.code is None):
                return seen
            await trio.sleep(pause)
            pause = min(2 * pause, LOOK_LAST_SECONDS)
    raise Unavailable(
        f"what was sent has not landed yet (account={account.hex()[:16]})",
        hint="it may still; the next look will show",
    )
