"""The payee's machine where the channel ends: what the chain shows, and what is agreed on for it.

A part of `payee`, which says when what may happen.

Spec: payments/settlement.md (Backing, Closing). Vectors: payments/vectors/channel.json.
"""

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError
from cocoon_p2p.frozen import replace
from cocoon_p2p.payments.channel import Backing, Phase, capacity_max, terms_seconds
from cocoon_p2p.payments.closing import has_lapsed, untimely
from cocoon_p2p.payments.events import (
    SaveBacking,
    SaveClosed,
    SaveReopened,
    SaveSettled,
    SendCloseAgreed,
    SendCloseWanted,
    SendDeposit,
    SendRefused,
    SignTerms,
    TermsReceived,
)
from cocoon_p2p.payments.payee_state import Payee, Step
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import CloseAgreed, CloseTerms, CloseWanted
from cocoon_p2p.units import Nano

CLAIM_PARTS = 4
"Terms leave this part of the close delay: time to claim, if nobody hands them in."

# ---------------------------------------------------------------- what the chain says


def see(payee: Payee, backing: Backing) -> Step:
    """Take in what we have seen behind the channel, and tell the payer."""
    known = payee.backing
    if known.epoch not in (0, backing.epoch):
        raise LocalProtocolError(f"another life of the contract (known={known.epoch} seen={backing.epoch})")
    if known.is_settled or backing.claimed < known.claimed:
        return payee, ()
    # Collected with a voucher that an older ledger of ours does not know, or that somebody else showed.
    best, vouchered = max(payee.best, backing.claimed), max(payee.vouchered, backing.claimed)
    after = replace(payee, backing=backing, best=best, vouchered=vouchered)
    if backing.close_at and after.phase is Phase.OPEN:
        after = replace(after, phase=Phase.DRAINING)
    # Said also where nothing changed: the payer may have asked, or missed it.
    telling = () if after.deposit is None else (SendDeposit(after.deposit),)
    return after, telling if known == backing else (SaveBacking(backing), *telling)


def settle(payee: Payee, total: Nano) -> Step:
    """Note that the contract is gone: vouchers beyond what it paid are worth nothing now."""
    if payee.backing.is_settled:
        return payee, ()
    backing = replace(payee.backing, claimed=total, is_settled=True)
    after = replace(payee, phase=Phase.CLOSED, backing=backing, best=total, vouchered=total)
    return after, (SaveSettled(total),)


# ---------------------------------------------------------------- closing


def request_close(payee: Payee, now: float) -> Step:
    """Ask the payer to close, with terms of ours; the same ones as long as they are what we are owed."""
    if payee.phase is Phase.CLOSED:
        return payee, ()
    if payee.running:
        return replace(payee, phase=Phase.DRAINING), ()
    terms, epoch = payee.terms, payee.backing.epoch
    # A charge was lowered, or a voucher claimed: nobody would close at them any more.
    is_good = terms is not None and (terms.epoch, terms.total) == (epoch, payee.close_total)
    if terms is not None and is_good and now <= terms.valid_until:
        return payee, (SendCloseWanted(terms),)
    terms = CloseTerms(payee.channel.id, epoch, payee.close_total, int(now) + terms_seconds(payee.channel))
    if not _leaves_time(payee, terms.valid_until):
        return replace(payee, phase=max(payee.phase, Phase.DRAINING)), ()
    return replace(payee, phase=Phase.CLOSING, terms=terms), (
        SignTerms(terms, None),
        SendCloseWanted(terms),
    )


def judge_terms(payee: Payee, event: TermsReceived) -> Step:
    """Answer terms of the payer's: ours that it agrees to, or some that it proposes."""
    terms = event.terms
    if terms.channel != payee.channel.id or (payee.channel.deployment is None and terms.epoch):
        raise RemoteProtocolError("close terms for another channel")
    if payee.phase is Phase.CLOSED:
        return payee, (SendCloseAgreed(terms),) if terms == payee.terms else ()
    if payee.phase is Phase.CLOSING and terms == payee.terms:
        return _closed(payee, terms), (SaveClosed(terms, event.message),)
    refusal = _refusal(payee, event)
    if refusal is not None:
        after = replace(payee, phase=Phase.DRAINING) if payee.running else payee
        return after, (refusal,)
    theirs = CloseWanted(event.message.terms, event.message.contract_signature)
    return _closed(payee, terms), (SignTerms(terms, theirs), SendCloseAgreed(terms))


def lapse(payee: Payee, now: float) -> Step:
    """Go on after agreed terms that the contract will not take any more."""
    if not has_lapsed(payee.phase, payee.terms, payee.backing, now):
        return payee, ()
    return replace(payee, phase=Phase.DRAINING, terms=None), (SaveReopened(),)


def _refusal(payee: Payee, event: TermsReceived) -> SendRefused | None:
    """Say what is wrong with terms of the payer's; None if they pay what we are owed, in time."""
    terms = event.terms
    # Without a chain nothing expires that both have signed.
    is_timeless = payee.channel.deployment is None and isinstance(event.message, CloseAgreed)
    refusal = untimely(payee.channel, payee.backing, payee.running, event, is_timeless=is_timeless)
    if refusal is not None:
        return refusal
    if not _leaves_time(payee, terms.valid_until):
        return SendRefused(Reason.DEADLINE, "the close terms hold for longer than we can wait")
    # Storage may have eaten what a claim left: what was collected stays collected.
    total_max = max(capacity_max(payee.channel, payee.backing), payee.close_total)
    if not payee.close_total <= terms.total <= total_max:
        detail = f"wrong total: asked {terms.total}, charged {payee.close_total} nanoTON"
        return SendRefused(Reason.WRONG_AMOUNT, detail)
    return None


def _leaves_time(payee: Payee, valid_until: int) -> bool:
    """Whether we could still claim if nobody handed the terms in, before the payer takes the rest."""
    deployment, close_at = payee.channel.deployment, payee.backing.close_at
    if deployment is None or not close_at:
        return True
    return valid_until + deployment.close_delay_seconds // CLAIM_PARTS <= close_at


def _closed(payee: Payee, terms: CloseTerms) -> Payee:
    # Without a contract the word is the deed.
    backing = replace(payee.backing, is_settled=not payee.is_contract_open)
    return replace(payee, phase=Phase.CLOSED, terms=terms, backing=backing)
