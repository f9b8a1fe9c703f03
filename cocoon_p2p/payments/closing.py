"""What both sides ask of close terms, whoever proposes them.

A part of `payer` and `payee`, which add what each looks after: not to pay too much, to be paid enough.

Spec: payments/settlement.md (Closing by word, Closing together).
"""

from collections.abc import Sized

from cocoon_p2p.payments.channel import Backing, Channel, Phase, terms_seconds_max
from cocoon_p2p.payments.events import SendRefused, TermsReceived
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import CloseTerms


def has_lapsed(phase: Phase, terms: CloseTerms | None, backing: Backing, now: float) -> bool:
    """Say whether both have agreed on terms that the contract will not take any more."""
    if phase is not Phase.CLOSED or backing.is_settled or terms is None:
        return False
    # Below what was claimed since, the contract would not take them either.
    return now > terms.valid_until or terms.total < backing.claimed


def untimely(
    channel: Channel, backing: Backing, running: Sized, event: TermsReceived, *, is_timeless: bool
) -> SendRefused | None:
    """Say why terms do not fit now, whatever their total; None if they do.

    Args:
        channel: What they must be for.
        backing: What we have seen behind it.
        running: The exchanges that run.
        event: The terms.
        is_timeless: Whether they do not expire: both have signed, and there is no chain.
    """
    terms = event.terms
    if running:
        return SendRefused(Reason.DRAINING, f"exchanges still run (number={len(running)})")
    if terms.epoch != backing.epoch:
        return SendRefused(Reason.STALE, f"we have seen another epoch (epoch={backing.epoch})")
    latest = event.now + terms_seconds_max(channel)
    if not is_timeless and not event.now <= terms.valid_until <= latest:
        return SendRefused(Reason.DEADLINE, "the close terms have expired, or hold for too long")
    return None
