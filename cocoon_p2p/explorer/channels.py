"""What a look at one channel's contract comes to: pure.

    (nothing) --seen--> FOLLOWED --seen, with more claimed--> FOLLOWED
                        FOLLOWED --gone--> LEAVING --the last notice, or two minutes--> (forgotten)

Each payment of a contract comes with a notice that says what was collected in all. What is above the total
before it was settled then. So no payment counts twice, and one whose notice a chain has forgotten counts with
the next.

A contract that is gone has no history. What it paid at its end stands in the two wallets', as notices from
its address: that is the hash of its code and terms, so nobody else can have sent them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.chain import AccountSeen, Payment, Transaction
from cocoon_p2p.payments.contract import AccountId, ContractState

LEAVING_SECONDS = 120
"How long the notice of a contract's end is waited for, by the chain's clock."


@dataclass(frozen=True, slots=True)
class Followed:
    """A channel whose contract was seen open."""

    account: AccountId
    epoch: int
    payer: AccountId
    payee: AccountId
    locked: int
    "What the contract holds, in nanoTON."

    counted: int
    "What was collected on it and stands in the settlements."

    lt: int
    "The last transaction of it that was read."

    looked_at: int
    "When it was last looked at, by the chain's clock; so is the next."

    gone_at: int = 0
    "When it was first seen to be gone; 0: it is there."


@dataclass(frozen=True, slots=True)
class Settlement:
    """A payment out of a channel."""

    at: int
    amount: int


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look came to."""

    channel: Followed | None
    "None: it is nothing to be followed (any more)."

    settlements: tuple[Settlement, ...] = ()


def state_of(seen: AccountSeen) -> ContractState | None:
    """Read a channel's contract; None: there is none that is open, or it is something else."""
    if seen.code is None or seen.data is None:
        return None
    try:
        state = contract.read_state(seen.code, seen.data)
    except MalformedMessage:
        return None
    # Who was not born as a channel may have become one, and may be something else tomorrow.
    if not state.epoch or AccountId(contract.channel_id(state.deployment)) != seen.account:
        return None
    return state


def look(
    known: Followed | None, seen: AccountSeen, state: ContractState, past: Sequence[Transaction]
) -> Looked:
    """Judge a contract that is open.

    Args:
        known: As it stood before; None: it is new to us.
        seen: The account.
        state: What it stores.
        past: Its transactions since `known`, or all that are told.
    """
    if known is None or known.epoch != state.epoch:
        terms = state.deployment
        known = Followed(seen.account, state.epoch, terms.payer, terms.payee, 0, 0, 0, 0)
    # What it did in an earlier life has been counted, or never will be.
    notices = (
        (one.at, total)
        for one in past
        if one.lt >= state.epoch
        for sent in one.sent
        if (total := _total(sent)) is not None
    )
    settlements, counted = _settled(known.counted, notices, up_to=state.claimed)
    if state.claimed > counted:
        settlements, counted = (*settlements, Settlement(seen.at, state.claimed - counted)), state.claimed
    now = replace(
        known,
        locked=seen.balance,
        counted=counted,
        lt=max(known.lt, seen.last_lt),
        looked_at=seen.at,
        gone_at=0,
    )
    return Looked(now, settlements)


def look_gone(known: Followed, at: int, past: Iterable[Transaction]) -> Looked:
    """Judge a contract that is gone.

    Args:
        known: As it stood before.
        at: When it was seen to be gone, by the chain's clock.
        past: Transactions of its two wallets since then.
    """
    notices: list[tuple[int, int]] = []
    is_whole = False
    for one in past:
        told = one.received
        if told is None or told.other != known.account or one.lt <= known.lt:
            continue
        notice = _notice(told)
        if notice is not None:
            notices.append((one.at, notice.total))
            # The payer's rest comes last, with all that was collected.
            is_whole = is_whole or notice.is_rest
    settlements, counted = _settled(known.counted, sorted(notices, key=lambda told: told[1]))
    gone_at = known.gone_at or at
    if is_whole or at - gone_at > LEAVING_SECONDS:
        return Looked(None, settlements)
    return Looked(replace(known, locked=0, counted=counted, looked_at=at, gone_at=gone_at), settlements)


def _settled(
    counted: int, totals: Iterable[tuple[int, int]], *, up_to: int | None = None
) -> tuple[tuple[Settlement, ...], int]:
    found: list[Settlement] = []
    for at, total in totals:
        if counted < total and (up_to is None or total <= up_to):
            found.append(Settlement(at, total - counted))
            counted = total
    return tuple(found), counted


def _total(sent: Payment) -> int | None:
    notice = _notice(sent)
    return None if notice is None else notice.total


def _notice(payment: Payment) -> contract.Notice | None:
    try:
        return contract.read_notice(payment.body)
    except MalformedMessage:
        return None


@dataclass(frozen=True, slots=True)
class Wallets:
    """How many wallets stand behind open channels, by what they do there. Who they are is nobody's matter."""

    paying: int
    "Pay and are not paid: clients', as far as each has a wallet of its own."

    both: int
    "Are paid and pay: proxies'."

    paid: int
    "Are paid only: workers', and proxies' that have opened no channel to one."


def wallets(channels: Iterable[Followed]) -> Wallets:
    """Count the wallets behind channels that are open."""
    of_open = [channel for channel in channels if not channel.gone_at]
    payers = {channel.payer for channel in of_open}
    payees = {channel.payee for channel in of_open}
    return Wallets(len(payers - payees), len(payers & payees), len(payees - payers))
