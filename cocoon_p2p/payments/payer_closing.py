"""The payer's machine where the channel ends: what the chain shows, and what is agreed on for it.

A part of `payer`, which says when what may happen.

Spec: payments/settlement.md (Backing, Closing). Vectors: payments/vectors/channel.json.
"""

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError
from cocoon_p2p.frozen import replace
from cocoon_p2p.payments.channel import Backing, Phase, terms_seconds
from cocoon_p2p.payments.closing import has_lapsed, untimely
from cocoon_p2p.payments.events import (
    SaveBacking,
    SaveClosed,
    SaveReopened,
    SaveSettled,
    SendCloseAgreed,
    SendCloseWanted,
    SendRefused,
    SendVoucher,
    SignTerms,
    TermsReceived,
)
from cocoon_p2p.payments.payer_state import Payer, Step
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import CloseAgreed, CloseTerms, CloseWanted, Deposit
from cocoon_p2p.units import Nano

# ---------------------------------------------------------------- what the chain says


def take_deposit(payer: Payer, deposit: Deposit) -> Step:
    """Note how high the payee takes vouchers, and send the newest if it could not take it before."""
    after = replace(payer, taken=deposit)
    is_due = payer.takes_max < payer.vouchered <= after.takes_max
    if is_due and payer.phase in (Phase.OPEN, Phase.DRAINING):
        return after, (SendVoucher(payer.vouchered),)
    return after, ()


def see(payer: Payer, backing: Backing) -> Step:
    """Take in what we have seen behind the channel."""
    known = payer.backing
    if known.epoch not in (0, backing.epoch):
        raise LocalProtocolError(f"another life of the contract (known={known.epoch} seen={backing.epoch})")
    is_late = known.is_settled and not known.epoch and backing.epoch != 0
    if known == backing or backing.claimed < known.claimed or (known.is_settled and not is_late):
        return payer, ()
    # Collected with a voucher that an older ledger of ours does not know.
    after = replace(payer, backing=backing, vouchered=max(payer.vouchered, backing.claimed))
    if is_late:
        # A deposit that was on its way when both agreed that there was none: it is ours, to be had back.
        return replace(after, phase=Phase.DRAINING, terms=None), (SaveReopened(), SaveBacking(backing))
    if backing.close_at and after.phase is Phase.OPEN:
        after = replace(after, phase=Phase.DRAINING)
    return after, (SaveBacking(backing),)


def settle(payer: Payer, total: Nano) -> Step:
    """Note that the contract is gone. A payee that we stopped paying stays one that we do not pay."""
    if payer.backing.is_settled:
        return payer, ()
    backing = replace(payer.backing, claimed=total, is_settled=True)
    phase = Phase.STOPPED if payer.phase is Phase.STOPPED else Phase.CLOSED
    return replace(payer, phase=phase, backing=backing), (SaveSettled(total),)


# ---------------------------------------------------------------- closing


def request_close(payer: Payer, now: float) -> Step:
    """Ask the payee to close, with terms of ours; the same ones as long as they pay what we owe."""
    if payer.phase in (Phase.CLOSED, Phase.STOPPED):
        return payer, ()
    if payer.running:
        return replace(payer, phase=Phase.DRAINING), ()
    terms, epoch = payer.terms, payer.backing.epoch
    # Terms for less than was claimed meanwhile, or for a contract not yet opened, close nothing.
    is_good = terms is not None and terms.epoch == epoch and terms.total >= payer.close_total
    if terms is not None and is_good and now <= terms.valid_until:
        return payer, (SendCloseWanted(terms),)
    terms = CloseTerms(payer.channel.id, epoch, payer.close_total, int(now) + terms_seconds(payer.channel))
    after = replace(payer, phase=Phase.CLOSING, terms=terms)
    return after, (SignTerms(terms, None), SendCloseWanted(terms))


def judge_terms(payer: Payer, event: TermsReceived) -> Step:
    """Answer terms of the payee's: ours that it agrees to, or some that it proposes."""
    terms = event.terms
    if terms.channel != payer.channel.id or (payer.channel.deployment is None and terms.epoch):
        raise RemoteProtocolError("close terms for another channel")
    if payer.phase is Phase.CLOSED or payer.backing.is_settled:
        return payer, (SendCloseAgreed(terms),) if terms == payer.terms else ()
    if payer.phase is Phase.CLOSING and terms == payer.terms:
        return _closed(payer, terms), (SaveClosed(terms, event.message),)
    refusal = _refusal(payer, event)
    # Both want to close, at totals that may differ: ours hold, so that both books end alike. But
    # where the payee holds the channel closed already, at terms that are right, they do.
    is_ours_under_way = (
        payer.phase is Phase.CLOSING and payer.terms is not None and event.now <= payer.terms.valid_until
    )
    if payer.terms is not None and is_ours_under_way and not (refusal is None and _is_closed_there(event)):
        return payer, (SendCloseWanted(payer.terms),)
    if refusal is not None:
        phase = Phase.DRAINING if payer.running and payer.phase is Phase.OPEN else payer.phase
        return replace(payer, phase=phase), (refusal,)
    theirs = CloseWanted(event.message.terms, event.message.contract_signature)
    return _closed(payer, terms), (SignTerms(terms, theirs), SendCloseAgreed(terms))


def lapse(payer: Payer, now: float) -> Step:
    """Go on after agreed terms that the contract will not take any more."""
    if not has_lapsed(payer.phase, payer.terms, payer.backing, now):
        return payer, ()
    return replace(payer, phase=Phase.DRAINING, terms=None), (SaveReopened(),)


def _refusal(payer: Payer, event: TermsReceived) -> SendRefused | None:
    """Say what is wrong with terms of the payee's; None if they pay no more than we owe, in time."""
    terms = event.terms
    # Without a chain nothing expires that both have signed.
    is_timeless = payer.channel.deployment is None and _is_closed_there(event)
    refusal = untimely(payer.channel, payer.backing, payer.running, event, is_timeless=is_timeless)
    if refusal is not None:
        return refusal
    if not payer.backing.claimed <= terms.total <= payer.close_total:
        detail = f"wrong total: asked {terms.total}, owed {payer.close_total} nanoTON"
        return SendRefused(Reason.WRONG_AMOUNT, detail)
    return None


def _is_closed_there(event: TermsReceived) -> bool:
    """Whether the payee has both signatures: for it the channel is closed at these terms."""
    return isinstance(event.message, CloseAgreed)


def _closed(payer: Payer, terms: CloseTerms) -> Payer:
    # Without a contract the word is the deed.
    backing = replace(payer.backing, is_settled=not payer.is_contract_open)
    return replace(payer, phase=Phase.CLOSED, terms=terms, backing=backing)
