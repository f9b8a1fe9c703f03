"""What the channel contract is to do, as a pure function: how each message ends, and who then has what.

Written from payments/settlement.md, not from the contract. Only what a message cost (its gas, and sending
what it caused) is not known beforehand; the model says who bears it.
"""

from dataclasses import dataclass, replace
from enum import Enum

from cocoon_p2p.payments.contract import ATTACHED_MIN, STORAGE_RESERVE, ExitCode
from tests.payments.contract.scene import DELAY

IMPORT_FEE = 400_000
FLOOR = 10 * (10_000 * 400 + IMPORT_FEE)
"Ten times what 10,000 gas and the import of a message cost."

DONE = 0
NOBODY_THERE = "skipped"


@dataclass(frozen=True)
class TopUp:
    amount: int
    lt: int
    "The transaction's logical time: the epoch, if this opens the channel."


@dataclass(frozen=True)
class Claim:
    total: int
    is_good: bool
    "Whether the voucher bears the payer's signature, for this total and epoch."

    attached: int


@dataclass(frozen=True)
class ExternalClaim:
    total: int
    is_good: bool
    is_bulky: bool


@dataclass(frozen=True)
class Close:
    total: int
    valid_until: int
    is_good: bool
    attached: int


@dataclass(frozen=True)
class StartClose:
    is_payer: bool
    attached: int


@dataclass(frozen=True)
class FinishClose:
    attached: int


Operation = TopUp | Claim | ExternalClaim | Close | StartClose | FinishClose


class Holder(Enum):
    CHANNEL = "channel"
    PAYEE = "payee"
    PAYER = "payer"
    SENDER = "sender"
    "Whoever sent the message: what it attached comes back."


@dataclass(frozen=True)
class Channel:
    """The channel as the model knows it. An account that is not there has nothing."""

    is_active: bool = False
    deposit: int = 0
    epoch: int = 0
    close_at: int = 0
    claimed: int = 0


@dataclass(frozen=True)
class Foretold:
    """How a message ends."""

    exit: int | str
    after: Channel
    bearer: Holder
    "Whose part the cost comes out of."

    payee: int = 0
    payer: int = 0
    "What each is sent, before the cost."


def foretell(channel: Channel, operation: Operation, now: int) -> Foretold:
    """Say what comes of a message.

    Args:
        channel: As the message finds it, storage paid.
        operation: What it asks for.
        now: The chain's time.
    """
    code = _refusal(channel, operation, now)
    if code is not None:
        return Foretold(code, channel, Holder.SENDER)
    match operation:
        case TopUp(amount, lt):
            after = replace(channel, deposit=channel.deposit + amount, epoch=channel.epoch or lt)
            return Foretold(DONE, after, Holder.CHANNEL)
        case StartClose(attached=attached):
            after = replace(channel, deposit=channel.deposit + attached, close_at=now + DELAY)
            return Foretold(DONE, after, Holder.CHANNEL)
        case Claim(total=total, attached=attached):
            return _collect(channel, total, attached)
        case ExternalClaim(total=total):
            return _collect(channel, total, -IMPORT_FEE)
        case Close(total=total, attached=attached):
            return _settle(channel, total, attached)
        case FinishClose(attached):
            return _settle(channel, channel.claimed, attached)


def _refusal(channel: Channel, operation: Operation, now: int) -> int | str | None:
    """Say why the contract does nothing, if it does nothing: the first reason that it comes upon."""
    if not channel.is_active:
        return NOBODY_THERE
    reasons: list[tuple[bool, ExitCode]] = []
    not_open = channel.epoch == 0
    match operation:
        case TopUp():
            pass
        case Claim(total, is_good, attached):
            reasons = [(attached < ATTACHED_MIN, ExitCode.ATTACHED), *_claim_reasons(channel, total, is_good)]
        case ExternalClaim(total, is_good, is_bulky):
            too_little = _due(channel, total) < FLOOR
            reasons = [
                (is_bulky, ExitCode.BULKY),
                *_claim_reasons(channel, total, is_good),
                (too_little, ExitCode.FLOOR),
            ]
        case Close(total, valid_until, is_good, attached):
            reasons = [
                (not_open, ExitCode.NOT_OPEN),
                (now > valid_until, ExitCode.EXPIRED),
                (not is_good, ExitCode.SIGNATURE),
                (attached < ATTACHED_MIN, ExitCode.ATTACHED),
                (total < channel.claimed, ExitCode.STALE),
            ]
        case StartClose(is_payer):
            reasons = [
                (not is_payer, ExitCode.SENDER),
                (not_open, ExitCode.NOT_OPEN),
                (channel.close_at != 0, ExitCode.CLOSING),
            ]
        case FinishClose(attached):
            is_early = channel.close_at == 0 or now < channel.close_at
            reasons = [(is_early, ExitCode.EARLY), (attached < ATTACHED_MIN, ExitCode.ATTACHED)]
    return next((code for applies, code in reasons if applies), None)


def _claim_reasons(channel: Channel, total: int, is_good: bool) -> list[tuple[bool, ExitCode]]:
    return [
        (channel.epoch == 0, ExitCode.NOT_OPEN),
        (total <= channel.claimed, ExitCode.STALE),
        (not is_good, ExitCode.SIGNATURE),
        (_due(channel, total) <= 0, ExitCode.EMPTY),
    ]


def _due(channel: Channel, total: int) -> int:
    return min(total - channel.claimed, channel.deposit - STORAGE_RESERVE)


def _collect(channel: Channel, total: int, brought: int) -> Foretold:
    """The payee gets what is due and what the message brought along; the channel gives what is due."""
    due = _due(channel, total)
    after = replace(channel, deposit=channel.deposit - due, claimed=channel.claimed + due)
    return Foretold(DONE, after, Holder.PAYEE, payee=due + brought)


def _settle(channel: Channel, total: int, attached: int) -> Foretold:
    """The payee gets what is due, the payer the rest; all to the payee if the rest cannot be sent."""
    due, pot = total - channel.claimed, channel.deposit + attached
    if due > pot - ATTACHED_MIN:
        # What the payee gets beyond its due is not the payer's: all that was deposited is due.
        assert due > channel.deposit
        return Foretold(DONE, Channel(), Holder.PAYEE, payee=pot)
    return Foretold(DONE, Channel(), Holder.PAYER, payee=due, payer=pot - due)
