"""The payer's side of a one-way payment channel, as a pure function.

    OPEN ------CloseRequested, TermsReceived (while exchanges run)--> DRAINING
    OPEN, DRAINING --CloseRequested (nothing runs)------------------> CLOSING
    OPEN ------BackingSeen (we have begun to close alone)-----------> DRAINING
    any -------TermsReceived (ours, or a total that we owe)---------> CLOSED
    any but STOPPED --ChannelSettled--------------------------------> CLOSED
    CLOSED ----TermsLapsed (the chain never got them)---------------> DRAINING
    CLOSED ----BackingSeen (closed before our deposit arrived)------> DRAINING
    any but CLOSED --Disputed, or a state that cannot be reconciled-> STOPPED

    In OPEN and DRAINING: HoldRaised, VoucherDue. Nothing new begins in DRAINING.
    In any phase: Accepted, StateReceived, ExchangeCharged, ExchangeReleased, ExchangeBroken,
    ExchangeRecovered, BackingSeen, DepositTaken.

Rule 1: `vouchered >= charged + held - grant` as soon as the newest voucher is signed, and
never above what both sides have seen behind the channel. A total that was signed never falls.
Rule 2: the payee's signed states are compared with what we reckon. While nothing runs it may
not have charged more than we have; while something runs, not more than it had credit for. What
it has charged falls only while something runs: it took our Meter for one that broke.
Rule 3: once close terms bear our signature, no voucher is signed.
Rule 4: an exchange that broke is held at what its Meter comes to, and charged once the payee's
paper says the same, or less.

Spec: payments/settlement.md. Vectors: payments/vectors/channel.json.
"""

from typing import assert_never

from cocoon_p2p.errors import LocalProtocolError, Refused, RemoteProtocolError
from cocoon_p2p.frozen import replace
from cocoon_p2p.payments.channel import (
    Phase,
)
from cocoon_p2p.payments.events import (
    Accepted,
    BackingSeen,
    ChannelSettled,
    CloseRequested,
    DepositTaken,
    Disputed,
    ExchangeBroken,
    ExchangeCharged,
    ExchangeRecovered,
    ExchangeReleased,
    HoldRaised,
    PayerEffect,
    PayerEvent,
    SaveBegun,
    SaveBroken,
    SaveCharge,
    SaveRecovered,
    SaveReleased,
    SaveState,
    SaveStopped,
    SaveVoucher,
    SendCloseAgreed,
    SendCloseWanted,
    SendVoucher,
    SignVoucher,
    StateReceived,
    TermsLapsed,
    TermsReceived,
    VoucherDue,
)
from cocoon_p2p.payments.payer_closing import judge_terms, lapse, request_close, see, settle, take_deposit
from cocoon_p2p.payments.payer_state import Payer as Payer
from cocoon_p2p.payments.payer_state import Step as Step
from cocoon_p2p.payments.voucher import check_voucher
from cocoon_p2p.protocols.ids import RUNNING_MAX, Reason
from cocoon_p2p.protocols.messages import (
    ChannelState,
    ExchangeId,
    Signed,
    Voucher,
)
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)

UNPROVEN_MAX = Nano(20_000_000)
"""What a payee may have of us on its word alone, after our memory was lost: what a worker grants unless it
is told otherwise. What it says it grants is its word as well."""


def step(payer: Payer, event: PayerEvent) -> Step:
    """Apply one event.

    Args:
        payer: The channel as it stands.
        event: What happened. An event of the payee's making is judged here, not trusted.

    Returns:
        The channel after the event, and the effects to carry out, in order; each may be
        carried out twice.

    Raises:
        RemoteProtocolError: The payee sent a paper for another channel. `payer` still holds.
        VoucherRejected: The voucher it returned is not one of ours.
        Refused: The hold exceeds the channel, or nothing new may begin.
        LocalProtocolError: A fault of ours: the event cannot occur in this phase.
    """
    match event:
        case HoldRaised():
            return _hold(payer, event.exchange, event.amount)
        case VoucherDue():
            return _voucher(payer)
        case ExchangeCharged():
            return _charge(payer, event)
        case ExchangeReleased():
            return _release(payer, event.exchange)
        case ExchangeBroken():
            return _break(payer, event)
        case ExchangeRecovered():
            return _recover(payer, event)
        case Accepted():
            return _accept(payer, event)
        case StateReceived():
            return _compare(payer, event.state, event.paper)
        case Disputed():
            return _stop(payer, event.reason, *event.papers)
        case DepositTaken():
            return take_deposit(payer, event.deposit)
        case BackingSeen():
            return see(payer, event.backing)
        case ChannelSettled():
            return settle(payer, event.total)
        case CloseRequested():
            return request_close(payer, event.now)
        case TermsReceived():
            return judge_terms(payer, event)
        case TermsLapsed():
            return lapse(payer, event.now)
        case _:
            assert_never(event)


# ---------------------------------------------------------------- exchanges


def _hint_to_pay(payer: Payer) -> str:
    if payer.channel.deployment is None:
        return "close the channel and open a larger one"
    return "top it up: cocoon channels top-up" if payer.backing.epoch else "open it: cocoon channels open"


def _hold(payer: Payer, exchange: ExchangeId, amount: Nano) -> Step:
    known = payer.running.get(exchange)
    if known is None or payer.phase is not Phase.DRAINING:
        _require_open(payer)
    if known is None and len(payer.running) >= RUNNING_MAX:
        raise Refused(f"too many exchanges run (most={RUNNING_MAX})", code=Reason.NO_CAPACITY.code)
    held = payer.held - (known or 0) + amount
    room = payer.capacity + payer.grant - payer.charged - held
    if room < 0:
        raise Refused(
            f"no credit: the channel is short of {-room} nanoTON (capacity={payer.capacity})",
            code=Reason.NO_CREDIT.code,
            hint=_hint_to_pay(payer),
        )
    after = replace(payer, running={**payer.running, exchange: amount}, held=Nano(held))
    return after, (SaveBegun(exchange, amount),) if known is None else ()


def _require_open(payer: Payer) -> None:
    if payer.phase is Phase.STOPPED:
        raise Refused(
            "payments on this channel are stopped: the payee's papers do not fit ours",
            code=Reason.WRONG_AMOUNT.code,
        )
    if payer.phase is not Phase.OPEN:
        raise Refused("the channel is closing: nothing new begins", code=Reason.DRAINING.code)


def _voucher(payer: Payer) -> Step:
    total = payer.due
    if total <= payer.vouchered or payer.phase not in (Phase.OPEN, Phase.DRAINING):
        return payer, ()
    return replace(payer, vouchered=total), (SignVoucher(total), SendVoucher(total))


def _charge(payer: Payer, event: ExchangeCharged) -> Step:
    if payer.phase in (Phase.CLOSING, Phase.CLOSED) and not payer.is_gone:
        raise LocalProtocolError(f"a charge on a channel that is {payer.phase.name}")
    return _book(payer, event.exchange, event.amount, event.paper)


def _book(payer: Payer, exchange: ExchangeId, amount: Nano, paper: Signed) -> Step:
    charged = replace(_without(payer, exchange), charged=Nano(payer.charged + amount))
    return _after(_reconcile(charged), SaveCharge(exchange, amount, paper))


def _release(payer: Payer, exchange: ExchangeId) -> Step:
    if exchange not in payer.running:
        return payer, ()
    return _after(_reconcile(_without(payer, exchange)), SaveReleased(exchange))


def _break(payer: Payer, event: ExchangeBroken) -> Step:
    if payer.is_gone:
        # There is no channel left to be asked on, nor money to pay with.
        return _release(payer, event.exchange)
    if payer.phase in (Phase.CLOSING, Phase.CLOSED):
        # Nothing ran when we signed the terms: they cover whatever this was.
        return payer, ()
    freed = _without(payer, event.exchange)
    # Also where it comes to nothing: until the payee agrees, it may have charged something.
    running = {**freed.running, event.exchange: event.amount}
    broken = replace(freed, running=running, held=Nano(freed.held + event.amount))
    return broken, (SaveBroken(event.exchange, event.amount, event.question),)


def _recover(payer: Payer, event: ExchangeRecovered) -> Step:
    if event.exchange not in payer.running:
        return payer, ()
    # Where we do not know what we saw, the payee cannot have done more than it had credit for; and what it
    # says now that it granted then is worth as much as its bill, beyond what we remember to have held.
    credit = payer.vouchered + min(payer.grant, UNPROVEN_MAX) - payer.charged
    unseen = max(credit, payer.running[event.exchange])
    limit = Nano(unseen) if event.amount_max is None else event.amount_max
    if event.amount > limit:
        reason = f"a paper for more than we saw (asked={event.amount} limit={limit} nanoTON)"
        return _stop(payer, reason, event.paper)
    return _book(payer, event.exchange, event.amount, event.paper)


def _without(payer: Payer, exchange: ExchangeId) -> Payer:
    """Hold nothing more for an exchange."""
    running = {other: held for other, held in payer.running.items() if other != exchange}
    return replace(payer, running=running, held=Nano(payer.held - payer.running.get(exchange, 0)))


# ---------------------------------------------------------------- what the payee says


def _accept(payer: Payer, event: Accepted) -> Step:
    channel, effects = payer.channel, tuple[PayerEffect, ...]()
    payer, returned = replace(payer, grant=event.grant, taken=event.deposit), event.returned
    if returned is not None:
        epoch = payer.backing.epoch
        check_voucher(channel.channel_key, channel.id, epoch, returned, paid=payer.vouchered)
    if payer.phase is Phase.CLOSED:
        return payer, (SendCloseAgreed(payer.terms),) if payer.terms is not None else ()
    if returned is not None and returned.total > payer.vouchered:
        payer, effects = _catch_up(payer, returned, event.state)
    elif event.is_restored and payer.phase is not Phase.STOPPED and event.state.charged > payer.charged:
        payer, effects = _catch_up(payer, None, event.state)
    elif payer.phase is Phase.CLOSING and payer.terms is not None:
        effects = (SendCloseWanted(payer.terms),)
    # The payee lost our newest voucher, or it never arrived. If it has not seen the deposit, it would
    # not take it now: it is sent once it says that it has.
    elif (returned.total if returned is not None else 0) < payer.vouchered <= payer.takes_max:
        effects = (SendVoucher(payer.vouchered),)
    after, more = _compare(payer, event.state, event.paper)
    if after.phase is Phase.STOPPED:
        return after, more
    return after, (*effects, *more)


def _catch_up(payer: Payer, returned: Voucher | None, state: ChannelState) -> Step:
    """Take up what we promised in a life that our ledger, an older one, does not know.

    What was signed was owed or held, so a state that stays within it costs us nothing that we had
    not promised. Without a voucher that proves it the owner's word stands for it, that the ledger was
    restored: the grant, as far as `UNPROVEN_MAX`, is what a payee can make of that. Exchanges that the old
    ledger remembers ended in the life that we forgot.
    """
    total = payer.vouchered if returned is None else Nano(returned.total)
    charged = Nano(max(payer.charged, min(state.charged, total + min(payer.grant, UNPROVEN_MAX))))
    after = replace(payer, vouchered=total, charged=charged, running={}, held=_NOTHING)
    forgotten = (SaveReleased(exchange) for exchange in payer.running)
    saved = () if returned is None else (SaveVoucher(returned),)
    return after, (*saved, SaveRecovered(Nano(charged - payer.charged)), *forgotten)


def _compare(payer: Payer, state: ChannelState, paper: Signed) -> Step:
    if state.channel != payer.channel.id:
        raise RemoteProtocolError("a channel state for another channel")
    if state.sequence < payer.sequence:
        return payer, ()
    if state.sequence == payer.sequence:
        if payer.newest is None or payer.newest.body == paper.body:
            return payer, ()
        return _stop(payer, f"two states with one number (sequence={state.sequence})", payer.newest, paper)
    if state.charged < payer.stated and payer.newest is not None and not payer.running:
        reason = f"what it charged fell (before={payer.stated} now={state.charged} nanoTON)"
        return _stop(payer, reason, payer.newest, paper)
    after = replace(payer, newest=paper, sequence=state.sequence, stated=Nano(state.charged))
    return _after(_reconcile(after), SaveState(paper))


def _reconcile(payer: Payer) -> Step:
    """Stop if the payee's newest state claims more than can be right (rule 2)."""
    limit = payer.charged
    if payer.running:
        limit = Nano(max(payer.charged + payer.held, payer.vouchered + payer.grant))
    if payer.stated <= limit or payer.phase in (Phase.STOPPED, Phase.CLOSED) or payer.newest is None:
        return payer, ()
    reason = f"it charged more than we owe (claimed={payer.stated} charged={payer.charged} nanoTON)"
    return _stop(payer, reason, payer.newest)


def _stop(payer: Payer, reason: str, *papers: Signed) -> Step:
    if payer.phase in (Phase.STOPPED, Phase.CLOSED):
        return payer, ()
    return replace(payer, phase=Phase.STOPPED), (SaveStopped(reason, papers),)


def _after(step: Step, *first: PayerEffect) -> Step:
    """Put effects in front of a step's own."""
    payer, effects = step
    return payer, (*first, *effects)
