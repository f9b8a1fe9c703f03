"""What a wallet has beyond what its node needs is sent on, and too little in it is said in time.

A proxy is paid into the wallet that it pays its workers from, so its earnings pile up there: money in a
hot wallet. This task sends the surplus to an address whose key is elsewhere.

Spec: payments/settlement.md (The chain).
"""

import logging
from dataclasses import dataclass

import trio

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.payments.chain import Chain
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.treasury.claiming import new_number
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.payments.wallet.spending import Purse, fees_allowed
from cocoon_p2p.units import Nano, format_ton

log = logging.getLogger(__name__)

LOOK_SECONDS = 3600.0
WARN_BELOW = Nano(100_000_000)

GAS_KEPT = Nano(120_000_000)
"""Stays in the wallet whatever its owner says: without it, it could send neither the rest nor a small claim,
which must bring along some 0.05 TON; and less would be warned of each hour."""

LEAST_SWEPT = Nano(100_000_000)
"Less is not sent on: a transfer costs some 0.003 TON."


@dataclass(frozen=True, slots=True)
class SweepPolicy:
    keep: Nano
    "What stays in the wallet, for deposits and fees."

    least: Nano
    "Less than this beyond it is not worth a transfer."

    to: AccountId | None = None
    "Where the surplus goes; None: it stays."

    warn_below: Nano = WARN_BELOW
    "With less in the wallet, closing and topping up may fail for lack of gas."


def surplus(policy: SweepPolicy, balance: Nano) -> Nano:
    """Say how much of a wallet's balance is to be sent on now; 0 for nothing."""
    beyond = Nano(max(balance - _kept(policy), 0))
    return beyond if policy.to is not None and beyond >= max(policy.least, LEAST_SWEPT) else Nano(0)


def _kept(policy: SweepPolicy) -> Nano:
    return max(policy.keep, GAS_KEPT)


async def keep_swept(chain: Chain, purse: Purse, policy: SweepPolicy) -> None:
    """Look at the wallet now and then, until cancelled. A cancel leaves a payment in the wallet's journal."""
    while True:
        try:
            await sweep(chain, purse, policy)
        except CocoonError as exc:
            log.warning("wallet not looked after", extra={"error": str(exc)})
        await trio.sleep(LOOK_SECONDS)


async def sweep(chain: Chain, purse: Purse, policy: SweepPolicy) -> Nano:
    """Send a wallet's surplus on, once; say how much that was.

    Raises:
        Refused, Unavailable: As `Purse.spend`.
    """
    # What was being sent when we were stopped is on its way still: the balance does not show it.
    await purse.settle()
    balance = (await chain.account(purse.wallet.account)).balance
    if balance < policy.warn_below:
        address = purse.wallet.address_text()
        log.warning("the wallet runs low", extra={"balance": format_ton(balance), "address": address})
    amount = surplus(policy, balance)
    if amount and policy.to is not None:
        sent = [Transfer(policy.to, amount)]
        # Its fees come out of what is kept. A deposit that came first may have taken the surplus meanwhile.
        leaving = Nano(_kept(policy) - fees_allowed(sent))
        await purse.spend(new_number(), sent, leaving=leaving)
        log.info("earnings sent on", extra={"amount": format_ton(amount)})
    return amount
