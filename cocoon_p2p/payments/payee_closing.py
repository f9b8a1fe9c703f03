"""The payee's machine where the channel ends: what the chain shows, and what is agreed on for it.

A part of `payee`, which says when what may happen.

Spec: payments/settlement.md (Backing, Closing). Vectors: payments/vectors/channel.json.
"""

from dataclasses import replace

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError
from cocoon_p2p.payments.channel import (
    CLOSE_TERMS_SECONDS,
    TERMS_MAX_SECONDS,
    Backing,
    Phase,
    capacity_max,
)
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
from cocoon_p2p.protocols.messages import (
    CloseTerms,
    CloseWanted,
)
from cocoon_p2p.units import Nano

# ---------------------------------------------------------------- what the chain says


def see(payee: Payee, backing: Backing) -> Step:
    known = payee.backing
    if known.epoch not in (0, backing.epoch):
        raise LocalProtocolError(f"another life of the contract (known={known.epoch} seen={backing.epoch})")
    if known.is_settled:
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
    if payee.backing.is_settled:
        return payee, ()
    backing = replace(payee.backing, claimed=total, is_settled=True)
    # Vouchers beyond what was paid are worth nothing now.
    after = replace(payee, phase=Phase.CLOSED, backing=backing, best=total, vouchered=total)
    return after, (SaveSettled(total),)


# ---------------------------------------------------------------- closing


def request_close(payee: Payee, now: float) -> Step:
    if payee.phase is Phase.CLOSED:
        return payee, ()
    if payee.running:
        return replace(payee, phase=Phase.DRAINING), ()
    terms = payee.terms
    if terms is not None and now <= terms.valid_until:
        return payee, (SendCloseWanted(terms),)
    valid_until = int(now) + CLOSE_TERMS_SECONDS
    terms = CloseTerms(payee.channel.id, payee.backing.epoch, payee.close_total, valid_until)
    return replace(payee, phase=Phase.CLOSING, terms=terms), (
        SignTerms(terms, None),
        SendCloseWanted(terms),
    )


def judge_terms(payee: Payee, event: TermsReceived) -> Step:
    terms = event.terms
    if (terms.channel, terms.epoch) != (payee.channel.id, payee.backing.epoch):
        raise RemoteProtocolError("close terms for another channel")
    if payee.phase is Phase.CLOSED:
        return payee, (SendCloseAgreed(terms),) if terms == payee.terms else ()
    if payee.phase is Phase.CLOSING and terms == payee.terms:
        return _closed(payee, terms), (SaveClosed(terms, event.message),)
    if payee.running:
        refusal = SendRefused(Reason.DRAINING, f"exchanges still run (number={len(payee.running)})")
        return replace(payee, phase=Phase.DRAINING), (refusal,)
    if not event.now <= terms.valid_until <= event.now + TERMS_MAX_SECONDS:
        return payee, (SendRefused(Reason.DEADLINE, "the close terms have expired, or hold for too long"),)
    if not payee.close_total <= terms.total <= capacity_max(payee.channel, payee.backing):
        detail = f"wrong total: asked {terms.total}, charged {payee.close_total} nanoTON"
        return payee, (SendRefused(Reason.WRONG_AMOUNT, detail),)
    theirs = CloseWanted(event.message.terms, event.message.contract_signature)
    return _closed(payee, terms), (SignTerms(terms, theirs), SendCloseAgreed(terms))


def _closed(payee: Payee, terms: CloseTerms) -> Payee:
    # Without a chain the word is the deed.
    backing = replace(payee.backing, is_settled=payee.channel.deployment is None)
    return replace(payee, phase=Phase.CLOSED, terms=terms, backing=backing)


def lapse(payee: Payee, now: float) -> Step:
    is_agreed = payee.phase is Phase.CLOSED and not payee.backing.is_settled
    if not is_agreed or payee.terms is None or now <= payee.terms.valid_until:
        return payee, ()
    return replace(payee, phase=Phase.DRAINING, terms=None), (SaveReopened(),)
