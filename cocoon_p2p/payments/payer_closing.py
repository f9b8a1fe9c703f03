"""The payer's machine where the channel ends: what the chain shows, and what is agreed on for it.

A part of `payer`, which says when what may happen.

Spec: payments/settlement.md (Backing, Closing). Vectors: payments/vectors/channel.json.
"""

from dataclasses import replace

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError
from cocoon_p2p.payments.channel import (
    CLOSE_TERMS_SECONDS,
    TERMS_MAX_SECONDS,
    Backing,
    Phase,
)
from cocoon_p2p.payments.events import (
    SaveBacking,
    SaveClosed,
    SaveReopened,
    SaveSettled,
    SendCloseAgreed,
    SendCloseWanted,
    SendRefused,
    SignTerms,
    TermsReceived,
)
from cocoon_p2p.payments.payer_state import Payer, Step
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import (
    CloseTerms,
    CloseWanted,
    Deposit,
)
from cocoon_p2p.units import Nano

# ---------------------------------------------------------------- what the chain says


def take_deposit(payer: Payer, deposit: Deposit) -> Payer:
    # A payee that saw another life of the contract than we did saw too early or too late: it says so again.
    return replace(payer, taken=Nano(deposit.capacity)) if deposit.epoch == payer.backing.epoch else payer


def see(payer: Payer, backing: Backing) -> Step:
    known = payer.backing
    if known.epoch not in (0, backing.epoch):
        raise LocalProtocolError(f"another life of the contract (known={known.epoch} seen={backing.epoch})")
    if known.is_settled or known == backing:
        return payer, ()
    # Collected with a voucher that an older ledger of ours does not know.
    after = replace(payer, backing=backing, vouchered=max(payer.vouchered, backing.claimed))
    if backing.close_at and after.phase is Phase.OPEN:
        after = replace(after, phase=Phase.DRAINING)
    return after, (SaveBacking(backing),)


def settle(payer: Payer, total: Nano) -> Step:
    if payer.backing.is_settled:
        return payer, ()
    backing = replace(payer.backing, claimed=total, is_settled=True)
    return replace(payer, phase=Phase.CLOSED, backing=backing), (SaveSettled(total),)


# ---------------------------------------------------------------- closing


def request_close(payer: Payer, now: float) -> Step:
    if payer.phase in (Phase.CLOSED, Phase.STOPPED):
        return payer, ()
    if payer.running:
        return replace(payer, phase=Phase.DRAINING), ()
    if payer.terms is not None and now <= payer.terms.valid_until:
        return payer, (SendCloseWanted(payer.terms),)
    valid_until = int(now) + CLOSE_TERMS_SECONDS
    terms = CloseTerms(payer.channel.id, payer.backing.epoch, payer.close_total, valid_until)
    after = replace(payer, phase=Phase.CLOSING, terms=terms)
    return after, (SignTerms(terms, None), SendCloseWanted(terms))


def judge_terms(payer: Payer, event: TermsReceived) -> Step:
    terms = event.terms
    if (terms.channel, terms.epoch) != (payer.channel.id, payer.backing.epoch):
        raise RemoteProtocolError("close terms for another channel")
    if payer.phase is Phase.CLOSED:
        return payer, (SendCloseAgreed(terms),) if terms == payer.terms else ()
    if payer.phase is Phase.CLOSING and terms == payer.terms:
        return _closed(payer, terms), (SaveClosed(terms, event.message),)
    # Both want to close, at totals that may differ: ours hold, so that both books end alike.
    if payer.phase is Phase.CLOSING and payer.terms is not None and event.now <= payer.terms.valid_until:
        return payer, (SendCloseWanted(payer.terms),)
    if payer.running:
        refusal = SendRefused(Reason.DRAINING, f"exchanges still run (number={len(payer.running)})")
        phase = Phase.DRAINING if payer.phase is Phase.OPEN else payer.phase
        return replace(payer, phase=phase), (refusal,)
    if not event.now <= terms.valid_until <= event.now + TERMS_MAX_SECONDS:
        return payer, (SendRefused(Reason.DEADLINE, "the close terms have expired, or hold for too long"),)
    if terms.total > payer.close_total:
        detail = f"wrong total: asked {terms.total}, owed {payer.close_total} nanoTON"
        return payer, (SendRefused(Reason.WRONG_AMOUNT, detail),)
    theirs = CloseWanted(event.message.terms, event.message.contract_signature)
    return _closed(payer, terms), (SignTerms(terms, theirs), SendCloseAgreed(terms))


def _closed(payer: Payer, terms: CloseTerms) -> Payer:
    # Without a chain the word is the deed.
    backing = replace(payer.backing, is_settled=payer.channel.deployment is None)
    return replace(payer, phase=Phase.CLOSED, terms=terms, backing=backing)


def lapse(payer: Payer, now: float) -> Step:
    is_agreed = payer.phase is Phase.CLOSED and not payer.backing.is_settled
    if not is_agreed or payer.terms is None or now <= payer.terms.valid_until:
        return payer, ()
    return replace(payer, phase=Phase.DRAINING, terms=None), (SaveReopened(),)
