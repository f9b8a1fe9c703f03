"""The payer's side of a one-way payment channel, as a pure function.

    OPEN ------CloseRequested, TermsReceived (while exchanges run)--> DRAINING
    OPEN, DRAINING --CloseRequested (nothing runs)------------------> CLOSING
    OPEN ------BackingSeen (we have begun to close alone)-----------> DRAINING
    any -------TermsReceived (ours, or a total that we owe)---------> CLOSED
    any -------ChannelSettled---------------------------------------> CLOSED
    CLOSED ----TermsLapsed (the chain never got them)---------------> DRAINING
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

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from cocoon_p2p.errors import LocalProtocolError, Refused, RemoteProtocolError
from cocoon_p2p.payments.channel import (
    CLOSE_TERMS_SECONDS,
    NOTHING_SEEN,
    TERMS_MAX_SECONDS,
    Backing,
    Channel,
    Phase,
    capacity,
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
    SaveBacking,
    SaveBegun,
    SaveBroken,
    SaveCharge,
    SaveClosed,
    SaveRecovered,
    SaveReleased,
    SaveReopened,
    SaveSettled,
    SaveState,
    SaveStopped,
    SaveVoucher,
    SendCloseAgreed,
    SendCloseWanted,
    SendRefused,
    SendVoucher,
    SignTerms,
    SignVoucher,
    StateReceived,
    TermsLapsed,
    TermsReceived,
    VoucherDue,
)
from cocoon_p2p.payments.voucher import check_voucher
from cocoon_p2p.protocols.ids import RUNNING_MAX, Reason
from cocoon_p2p.protocols.messages import (
    ChannelState,
    CloseTerms,
    CloseWanted,
    Deposit,
    ExchangeId,
    Signed,
    Voucher,
)
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)


@dataclass(frozen=True, slots=True)
class Payer:
    """What the payer knows of one channel."""

    channel: Channel
    phase: Phase = Phase.OPEN
    backing: Backing = NOTHING_SEEN
    "What we have seen behind the channel."

    taken: Nano = _NOTHING
    "How high the payee says it takes vouchers, by what it has seen there."

    grant: Nano = _NOTHING
    "How much the payee lets us owe; it says so whenever it accepts the channel's stream."

    vouchered: Nano = _NOTHING
    "The highest total that we signed."

    charged: Nano = _NOTHING
    "What all ended exchanges have cost, by papers that we checked."

    running: Mapping[ExchangeId, Nano] = field(default_factory=dict[ExchangeId, Nano])
    """What is held for each exchange that may still cost something. It outlives a crash: what a
    payee did for us meanwhile is owed."""

    held: Nano = _NOTHING
    "Their sum."

    newest: Signed | None = None
    "The payee's newest signed state."

    sequence: int = -1
    "That state's sequence."

    stated: Nano = _NOTHING
    "What that state says we were charged."

    terms: CloseTerms | None = None
    "Close terms that we signed."

    @property
    def capacity(self) -> Nano:
        """How high vouchers may go: as far as both have seen that money stands behind them."""
        seen = capacity(self.channel, self.backing)
        return seen if self.channel.deployment is None else min(seen, self.taken)

    @property
    def due(self) -> Nano:
        """The total that should be vouchered now."""
        return Nano(min(max(self.charged + self.held - self.grant, 0), self.capacity))

    @property
    def close_total(self) -> Nano:
        """What we owe at most when the channel closes: no more than stands behind it.

        What the payee has collected is spent, even where it is more than was charged.
        """
        return max(min(self.charged, capacity(self.channel, self.backing)), self.backing.claimed)

    @property
    def is_gone(self) -> bool:
        """Whether there is no contract any more: what is charged now is a debt that nothing backs."""
        return self.backing.is_settled and self.channel.deployment is not None


Step = tuple[Payer, tuple[PayerEffect, ...]]


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
            return _take_deposit(payer, event.deposit), ()
        case BackingSeen():
            return _see(payer, event.backing)
        case ChannelSettled():
            return _settle(payer, event.total)
        case CloseRequested():
            return _request_close(payer, event.now)
        case TermsReceived():
            return _judge_terms(payer, event)
        case TermsLapsed():
            return _lapse(payer, event.now)
        case _:
            assert_never(event)


# ---------------------------------------------------------------- exchanges


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
            hint="top it up: cocoon channels top-up"
            if payer.channel.deployment
            else "close the channel and open a larger one",
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
    # Where we do not know what we saw, the payee cannot have done more than it had credit for.
    credit = Nano(payer.vouchered + payer.grant - payer.charged)
    limit = credit if event.amount_max is None else event.amount_max
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
    payer, returned = replace(payer, grant=event.grant), event.returned
    if event.deposit is not None:
        payer = _take_deposit(payer, event.deposit)
    if returned is not None:
        epoch = payer.backing.epoch
        check_voucher(channel.channel_key, channel.id, epoch, returned, paid=payer.vouchered)
    if payer.phase is Phase.CLOSED:
        return payer, (SendCloseAgreed(payer.terms),) if payer.terms is not None else ()
    if returned is not None and returned.total > payer.vouchered:
        payer, effects = _catch_up(payer, returned, event.state)
    elif payer.phase is Phase.CLOSING and payer.terms is not None:
        effects = (SendCloseWanted(payer.terms),)
    # The payee lost our newest voucher, or it never arrived.
    elif payer.vouchered > (returned.total if returned is not None else 0):
        effects = (SendVoucher(payer.vouchered),)
    after, more = _compare(payer, event.state, event.paper)
    if after.phase is Phase.STOPPED:
        return after, more
    return after, (*effects, *more)


def _catch_up(payer: Payer, returned: Voucher, state: ChannelState) -> Step:
    """Take up a voucher of ours that we do not know: our ledger is an older one.

    What was signed was owed or held, so a state that stays within it costs us nothing that we had
    not promised. Exchanges that the old ledger remembers ended in the life that we forgot.
    """
    total = Nano(min(returned.total, capacity(payer.channel, payer.backing)))
    charged = Nano(max(payer.charged, min(state.charged, total + payer.grant)))
    after = replace(payer, vouchered=total, charged=charged, running={}, held=_NOTHING)
    forgotten = (SaveReleased(exchange) for exchange in payer.running)
    return after, (SaveVoucher(returned), SaveRecovered(Nano(charged - payer.charged)), *forgotten)


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


# ---------------------------------------------------------------- what the chain says


def _take_deposit(payer: Payer, deposit: Deposit) -> Payer:
    # A payee that saw another life of the contract than we did saw too early or too late: it says so again.
    return replace(payer, taken=Nano(deposit.capacity)) if deposit.epoch == payer.backing.epoch else payer


def _see(payer: Payer, backing: Backing) -> Step:
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


def _settle(payer: Payer, total: Nano) -> Step:
    if payer.backing.is_settled:
        return payer, ()
    backing = replace(payer.backing, claimed=total, is_settled=True)
    return replace(payer, phase=Phase.CLOSED, backing=backing), (SaveSettled(total),)


# ---------------------------------------------------------------- closing


def _request_close(payer: Payer, now: float) -> Step:
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


def _judge_terms(payer: Payer, event: TermsReceived) -> Step:
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


def _lapse(payer: Payer, now: float) -> Step:
    is_agreed = payer.phase is Phase.CLOSED and not payer.backing.is_settled
    if not is_agreed or payer.terms is None or now <= payer.terms.valid_until:
        return payer, ()
    return replace(payer, phase=Phase.DRAINING, terms=None), (SaveReopened(),)
