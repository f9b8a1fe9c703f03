"""The payee's side of a one-way payment channel, as a pure function.

    OPEN ------CloseRequested, TermsReceived (while exchanges run)--> DRAINING
    OPEN, DRAINING --CloseRequested (nothing runs)------------------> CLOSING
    OPEN ------BackingSeen (the payer closes alone)-----------------> DRAINING
    any -------TermsReceived (ours, or a total that pays us)--------> CLOSED
    any -------ChannelSettled---------------------------------------> CLOSED
    CLOSED ----TermsLapsed (the chain never got them)---------------> DRAINING

    In OPEN, DRAINING and CLOSING: VoucherReceived, VoucherSaved, OwnStateReturned, BackingSeen.
    In OPEN and DRAINING: AccruedRaised, ExchangeCharged, ExchangeReleased. Nothing new begins
    in DRAINING. In any but CLOSED: ExchangeLowered; in CLOSING the next CloseRequested signs other terms.

Rule 1: `credit = vouchered + grant - charged - accrued`; nothing is accrued beyond it, and a
voucher counts only once it is on disk.
Rule 2: what is vouchered never falls while the contract is there, and no voucher is taken for more
than stands behind it.
Rule 3: every charge, and every lowering of one, makes one new `ChannelState`, saved with it.

Spec: payments/settlement.md. Vectors: payments/vectors/channel.json.
"""

from typing import assert_never

from cocoon_p2p.errors import LocalProtocolError, Refused, RemoteProtocolError, VoucherRejected
from cocoon_p2p.frozen import replace
from cocoon_p2p.payments.channel import (
    Channel,
    Phase,
    capacity_max,
)
from cocoon_p2p.payments.events import (
    AccruedRaised,
    BackingSeen,
    ChannelSettled,
    CloseRequested,
    ExchangeCharged,
    ExchangeLowered,
    ExchangeReleased,
    GrantChanged,
    OwnStateReturned,
    PayeeEvent,
    SaveCharge,
    SaveLowered,
    SaveRecovered,
    SaveVoucher,
    SendState,
    SignState,
    TermsLapsed,
    TermsReceived,
    VoucherReceived,
    VoucherSaved,
)
from cocoon_p2p.payments.payee_closing import judge_terms, lapse, request_close, see, settle
from cocoon_p2p.payments.payee_state import Payee as Payee
from cocoon_p2p.payments.payee_state import Step as Step
from cocoon_p2p.payments.voucher import check_voucher
from cocoon_p2p.protocols.ids import RUNNING_MAX, Reason
from cocoon_p2p.protocols.messages import (
    ChannelState,
    ExchangeId,
    Running,
    Voucher,
)
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)


def opened(channel: Channel, grant: Nano) -> Payee:
    """Begin a channel: nothing vouchered, nothing charged, and a state that says so."""
    nothing = ChannelState(channel.id, 0, 0, 0, ())
    return Payee(channel=channel, grant=grant, state=nothing)


def covers(payee: Payee, exchange: ExchangeId, accrued: Nano) -> bool:
    """Say whether credit lets this exchange accrue to this total."""
    return accrued - payee.running.get(exchange, 0) <= payee.credit


def step(payee: Payee, event: PayeeEvent) -> Step:
    """Apply one event.

    Args:
        payee: The channel as it stands.
        event: What happened. An event of the payer's making is judged here, not trusted.

    Returns:
        The channel after the event, and the effects to carry out, in order; each may be
        carried out twice. A valid voucher that is not above the best one changes nothing.

    Raises:
        VoucherRejected: The voucher is for another channel or epoch, by another key, or above
            capacity. `payee` still holds.
        RemoteProtocolError: The payer sent a paper for another channel.
        Refused: Credit does not cover what would be accrued, or nothing new may begin.
        LocalProtocolError: A fault of ours: the event cannot occur in this phase.
    """
    match event:
        case VoucherReceived():
            return _take_voucher(payee, event.voucher)
        case VoucherSaved():
            # One that lands when the contract is gone is worth nothing.
            saved = payee.vouchered if payee.is_gone else max(payee.vouchered, event.total)
            return replace(payee, vouchered=saved), ()
        case AccruedRaised():
            return _accrue(payee, event.exchange, event.accrued), ()
        case ExchangeCharged():
            return _charge(payee, event)
        case ExchangeReleased():
            return _without(payee, event.exchange), ()
        case ExchangeLowered():
            return _lower(payee, event)
        case GrantChanged():
            return replace(payee, grant=event.grant), ()
        case OwnStateReturned():
            return _take_own_state(payee, event.state)
        case BackingSeen():
            return see(payee, event.backing)
        case ChannelSettled():
            return settle(payee, event.total)
        case CloseRequested():
            return request_close(payee, event.now)
        case TermsReceived():
            return judge_terms(payee, event)
        case TermsLapsed():
            return lapse(payee, event.now)
        case _:
            assert_never(event)


def _take_voucher(payee: Payee, voucher: Voucher) -> Step:
    channel, epoch = payee.channel, payee.backing.epoch
    # Most vouchers that come late are ones we have: cheaper to see that than to verify them.
    if payee.phase is Phase.CLOSED or (
        (voucher.channel, voucher.epoch) == (channel.id, epoch) and voucher.total <= payee.best
    ):
        return payee, ()
    limit = capacity_max(channel, payee.backing)
    if voucher.total > limit:
        raise VoucherRejected(
            f"above the channel's capacity of {limit} nanoTON",
            claimed=voucher.total,
            paid=payee.best,
        )
    check_voucher(channel.channel_key, channel.id, epoch, voucher, paid=payee.best)
    return replace(payee, best=Nano(voucher.total)), (SaveVoucher(voucher),)


def _accrue(payee: Payee, exchange: ExchangeId, accrued: Nano) -> Payee:
    known = payee.running.get(exchange)
    if known is None:
        _require_open(payee)
    elif payee.phase not in (Phase.OPEN, Phase.DRAINING) and not payee.is_gone:
        raise LocalProtocolError(f"an exchange runs on a channel that is {payee.phase.name}")
    rise = accrued - (known or 0)
    # A total below the earlier one changes nothing: what was delivered stays delivered.
    if rise <= 0 and known is not None:
        return payee
    if rise > payee.credit:
        raise Refused(
            f"no credit: short of {rise - payee.credit} nanoTON (credit={payee.credit})",
            code=Reason.NO_CREDIT.code,
        )
    return replace(payee, running={**payee.running, exchange: accrued}, accrued=Nano(payee.accrued + rise))


def _require_open(payee: Payee) -> None:
    if payee.phase is not Phase.OPEN:
        raise Refused("the channel is closing: nothing new begins", code=Reason.DRAINING.code)
    if len(payee.running) >= RUNNING_MAX:
        raise Refused(
            f"too many exchanges run on the channel (most={RUNNING_MAX})", code=Reason.NO_CAPACITY.code
        )


def _charge(payee: Payee, event: ExchangeCharged) -> Step:
    if payee.phase not in (Phase.OPEN, Phase.DRAINING) and not payee.is_gone:
        raise LocalProtocolError(f"a charge on a channel that is {payee.phase.name}")
    beyond = event.amount - payee.running.get(event.exchange, 0)
    # A grant that was cut meanwhile may leave credit below zero: what is accrued is still owed.
    if beyond > max(payee.credit, 0):
        raise LocalProtocolError(f"a charge that no credit covers (amount={event.amount} beyond={beyond})")
    freed = _without(payee, event.exchange)
    state = _state(freed, charged=Nano(payee.charged + event.amount))
    return replace(freed, state=state), (
        SaveCharge(event.exchange, event.amount, event.paper),
        SignState(state),
        SendState(state),
    )


def _lower(payee: Payee, event: ExchangeLowered) -> Step:
    fall = event.before - event.amount
    if payee.phase is Phase.CLOSED or not 0 < fall <= payee.charged:
        raise LocalProtocolError(f"a charge cannot be lowered so (phase={payee.phase.name} fall={fall})")
    state = _state(payee, charged=Nano(payee.charged - fall))
    return replace(payee, state=state), (
        SaveLowered(event.exchange, event.before, event.amount, event.paper),
        SignState(state),
        SendState(state),
    )


def _without(payee: Payee, exchange: ExchangeId) -> Payee:
    accrued = payee.running.get(exchange)
    if accrued is None:
        return payee
    running = {other: amount for other, amount in payee.running.items() if other != exchange}
    return replace(payee, running=running, accrued=Nano(payee.accrued - accrued))


def _state(payee: Payee, *, charged: Nano, after: int | None = None) -> ChannelState:
    return replace(
        payee.state,
        sequence=(payee.state.sequence if after is None else after) + 1,
        vouchered=payee.vouchered,
        charged=charged,
        running=tuple(Running(exchange, accrued) for exchange, accrued in payee.running.items()),
    )


def _take_own_state(payee: Payee, state: ChannelState) -> Step:
    if state.channel != payee.channel.id:
        raise RemoteProtocolError("a channel state for another channel")
    is_known = state.sequence < payee.state.sequence or state == payee.state
    if is_known or payee.phase is Phase.CLOSED:
        return payee, ()
    # We signed it and do not know it: our ledger is an older one. Whatever we charged in the life
    # that we forgot is still owed; a fresh state, above both, says so.
    charged = max(payee.charged, Nano(state.charged))
    newest = _state(payee, charged=charged, after=state.sequence)
    return replace(payee, state=newest), (
        SaveRecovered(Nano(charged - payee.charged)),
        SignState(newest),
        SendState(newest),
    )
