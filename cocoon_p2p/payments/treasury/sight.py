"""What a look at a channel's contract shows, and what it calls for: pure, for the treasury and the watcher.

A look gives an account as a proven block has it. Against what was known it is one of four things:
nothing was opened yet, an open contract, one that is gone, or one that lives another life (it was
closed, and somebody deployed it again: for us it is gone as well).

Spec: payments/settlement.md (Backing, Closing alone).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.chain import AccountSeen, Transaction
from cocoon_p2p.payments.channel import Backing
from cocoon_p2p.payments.contract import AccountId, Deployment
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.units import Nano

CLAIM_COSTS = Nano(3_000_000)
"What a claim costs whoever bears its fees: to collect less is to lose by it."

CLAIM_COSTS_SHARE = 10
"Where nothing presses, what is collected is this many times its costs at least: fees eat a tenth at most."


@dataclass(frozen=True, slots=True)
class NotOpened:
    """No top-up has arrived yet."""


@dataclass(frozen=True, slots=True)
class Gone:
    """It was open, and is not any more: everybody has been paid, or will be in a moment."""


Sight = NotOpened | Backing | Gone


def read_sight(deployment: Deployment, known: Backing, seen: AccountSeen) -> Sight:
    """Judge a look.

    Args:
        deployment: What the channel's contract is deployed with.
        known: What was seen before.
        seen: The account now.

    Raises:
        MalformedMessage: The account holds something else than this channel's contract: a server lied,
            since its address follows from code and terms.
    """
    nothing: Sight = Gone() if known.epoch else NotOpened()
    if seen.code is None or seen.data is None:
        return nothing
    state = contract.read_state(seen.code, seen.data)
    if state.deployment != deployment:
        raise MalformedMessage("the account is another channel's")
    if not state.epoch:
        return nothing
    if known.epoch not in (0, state.epoch):
        return Gone()
    return Backing(
        epoch=state.epoch,
        deposit=Nano(seen.balance + state.claimed),
        claimed=state.claimed,
        close_at=state.close_at,
    )


def paid_total(
    channel: ChannelId, deployment: Deployment, transactions: Iterable[Transaction], *, to: AccountId
) -> Nano | None:
    """Find out what a contract that is gone has paid all told, by the notices that came with its money.

    Args:
        channel: The contract.
        deployment: Its terms.
        transactions: Those of one of the two wallets, from the contract's opening on.
        to: Which wallet they are of. The payer's says it all: its rest comes last, with the total.

    Returns:
        The total; None if there is no notice (the rest may still be on its way).
    """
    totals: list[Nano] = []
    for transaction in transactions:
        payment = transaction.received
        if payment is None or payment.other != AccountId(channel):
            continue
        try:
            notice = contract.read_notice(payment.body)
        except MalformedMessage:
            continue
        if notice is not None and (notice.is_rest or to == deployment.payee):
            totals.append(notice.total)
    return max(totals, default=None)


def due(total: Nano, backing: Backing) -> Nano:
    """Say what a voucher of this total would collect now."""
    return Nano(max(min(total, contract.claimable(backing.deposit)) - backing.claimed, 0))


def is_claim_due(amount: Nano, backing: Backing, *, above: Nano, is_old: bool) -> bool:
    """Say whether to claim now.

    Args:
        amount: What is due.
        backing: What stands behind the channel.
        above: What must be due for a claim to be worth its fees.
        is_old: Whether what is due has been waiting for long.
    """
    is_cheap = amount >= CLAIM_COSTS_SHARE * CLAIM_COSTS
    # Once the payer is leaving, what is not claimed in time is lost.
    return amount > CLAIM_COSTS and (backing.close_at != 0 or amount >= above or (is_old and is_cheap))


def claim_costs(
    transactions: Iterable[Transaction], *, claimed: Nano, payee: AccountId, ours: AccountId | None
) -> Iterator[tuple[Transaction, Nano]]:
    """Find what claims of ours cost: how much less came out than was collected and sent along.

    Args:
        transactions: The contract's since before the first of them, oldest first.
        claimed: What had been collected by then.
        payee: The wallet that is paid.
        ours: The wallet that claims are sent from, if there is one. What a stranger's cost is the stranger's.

    Yields:
        Each claim's transaction, and its cost.
    """
    for one in transactions:
        # A close pays two.
        if len(one.sent) != 1 or one.received is None or (paid := one.sent[0]).other != payee:
            continue
        try:
            notice = contract.read_notice(paid.body)
        except MalformedMessage:
            continue
        if notice is None or notice.is_rest:
            continue
        collected, claimed = notice.total - claimed, notice.total
        sender = one.received.other
        cost = collected + one.received.amount - paid.amount
        if sender in (None, ours) and cost >= 0:
            yield one, Nano(cost)
