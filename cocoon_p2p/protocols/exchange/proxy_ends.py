"""How an exchange ends for its proxy: told to stop, lost, refused, or signed for.

However it ends, the client hears of it once, the worker is left once, and what was set aside on
the two accounts is either charged or given back.

Spec: protocols/exchange.md (Amounts; Cancel and loss). The machine: `proxy`.
"""

from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.frozen import replace
from cocoon_p2p.payments.pricing import worker_amount
from cocoon_p2p.protocols.exchange.proxy_events import (
    Charge,
    Effects,
    LeaveWorker,
    Reckoning,
    Release,
)
from cocoon_p2p.protocols.exchange.proxy_state import (
    ASSIGNED,
    UNASSIGNED,
    WITH_WORKER,
    Exchange,
    Phase,
    to_client,
    to_worker,
)
from cocoon_p2p.protocols.exchange.relayed import check_receipt, is_next_token_held, owed_without_receipt
from cocoon_p2p.protocols.ids import (
    ENGINE_STALL_SECONDS,
    HEARTBEAT_SECONDS,
    Outcome,
    Reason,
)
from cocoon_p2p.protocols.messages import Cancel, Receipt, Receipted, Refused, Settled, Signed, shorten
from cocoon_p2p.units import Nano

STOP_SECONDS = ENGINE_STALL_SECONDS
"How long a worker may take to answer a Cancel: a step of a long prefill cannot be interrupted."


def stop(exchange: Exchange, reason: Reason, detail: str, now: float) -> tuple[Exchange, Effects]:
    """End early: at once while no worker knows of it, else with a Cancel, and then wait for the receipt."""
    if exchange.phase in UNASSIGNED:
        return refuse(exchange, reason, detail, now)
    if exchange.phase not in ASSIGNED:
        return exchange, ()
    exchange = replace(
        exchange,
        phase=Phase.STOPPING,
        patience=now + STOP_SECONDS,
        reason=reason,
        detail=_spell(reason, detail),
    )
    exchange, told = to_worker(exchange, now, Cancel(exchange.deal.ask.exchange, reason))
    return exchange, told


def lose_client(exchange: Exchange, now: float) -> tuple[Exchange, Effects]:
    """Go on without a client: what it has asked for is stopped, and what was done is charged."""
    return stop(replace(exchange, is_client_here=False), Reason.CLIENT_LOST, "", now)


def lose_worker(exchange: Exchange, reason: Reason, detail: str, now: float) -> tuple[Exchange, Effects]:
    """Settle by the newest Meter; if nothing was delivered, nothing is owed.

    Raises:
        LocalProtocolError: No worker was assigned.
    """
    if exchange.phase is Phase.SETTLING:
        return exchange, ()
    if exchange.phase not in WITH_WORKER:
        raise LocalProtocolError(f"no worker to lose (phase={exchange.phase.name.lower()})")
    leave = LeaveWorker(is_stream_clean=False)
    if not exchange.passed.chunks:
        exchange, refused = refuse(exchange, exchange.reason or reason, detail, now)
        return exchange, (leave, *refused)
    deal, passed = exchange.deal, exchange.passed
    usage = owed_without_receipt(passed)
    amount = worker_amount(usage, deal.offer.price)
    reckoning = Reckoning(
        Outcome.FAILED, amount, deal.for_client(amount), usage, receipt=None, meter=passed.meter
    )
    exchange = replace(
        exchange, phase=Phase.SETTLING, patience=None, reason=reason, detail=_spell(reason, detail)
    )
    return exchange, (leave, Charge(reckoning))


def refuse(
    exchange: Exchange, reason: Reason, detail: str, now: float, *, need: Nano | None = None
) -> tuple[Exchange, Effects]:
    """End with nothing owed, by our own decision."""
    refusal = Refused(exchange.deal.ask.exchange, reason, _spell(reason, detail), (), 0, need=need)
    exchange, told = to_client(exchange, now, refusal)
    return replace(exchange, phase=Phase.ENDED, reason=reason), (*told, Release())


def pass_on_refusal(exchange: Exchange, refusal: Refused, now: float) -> tuple[Exchange, Effects]:
    """End with nothing owed, by the worker's word. What it needs is said in the client's money."""
    reason, detail, need = refusal.reason, refusal.detail, refusal.need
    if exchange.reason is not None:
        reason, detail = exchange.reason, exchange.detail
    if need is not None:
        need = min(exchange.deal.for_client(Nano(need)), Nano(exchange.deal.ask.max_cost))
    # A worker knows nothing of other candidates.
    passed_on = replace(refusal, reason=reason, detail=detail, need=need, candidates=(), candidates_more=0)
    exchange, told = to_client(exchange, now, passed_on)
    exchange = replace(exchange, phase=Phase.ENDED, reason=reason)
    return exchange, (*told, LeaveWorker(is_stream_clean=True), Release())


def accept_receipt(exchange: Exchange, message: Receipted, now: float) -> tuple[Exchange, Effects]:
    """Settle by the worker's receipt. Raises `RemoteProtocolError` if it does not hold."""
    deal = exchange.deal
    receipt = check_receipt(
        message.receipt, passed=exchange.passed, deal=deal, may_cancel=_may_cancel(exchange, now)
    )
    amount = Nano(receipt.amount)
    reckoning = Reckoning(
        receipt.outcome, amount, deal.for_client(amount), receipt.usage, message.receipt, meter=None
    )
    exchange = replace(
        exchange, phase=Phase.SETTLING, patience=None, reason=_why(exchange, receipt, message.reason)
    )
    return exchange, (LeaveWorker(is_stream_clean=True), Charge(reckoning))


def _may_cancel(exchange: Exchange, now: float) -> bool:
    """Say whether the worker had cause to end as cancelled: told to, out of time, or out of credit."""
    if exchange.reason is not None:
        return exchange.reason is not Reason.PROXY_LOST
    # Its clock began a little after ours, and what was left for it was rounded down.
    if now >= exchange.deadline - HEARTBEAT_SECONDS:
        return True
    return not is_next_token_held(exchange.passed, exchange.held, exchange.deal)


def _why(exchange: Exchange, receipt: Receipt, given: Reason | None) -> Reason | None:
    match receipt.outcome:
        case Outcome.COMPLETED:
            return None
        case Outcome.CANCELLED:
            return exchange.reason or given or Reason.NO_CREDIT
        case Outcome.FAILED:
            return exchange.reason or given or Reason.ENGINE_FAILED


def settle(exchange: Exchange, settlement: Signed, now: float) -> tuple[Exchange, Effects]:
    """Tell the client what it has paid."""
    reason, detail = exchange.reason, exchange.detail or None
    settled = Settled(
        exchange.deal.ask.exchange, settlement, reason=reason, detail=detail if reason is not None else None
    )
    exchange, told = to_client(exchange, now, settled)
    return replace(exchange, phase=Phase.ENDED), told


def _spell(reason: Reason, detail: str) -> str:
    words = reason.code.replace("-", " ")
    return shorten(f"{words}: {detail}") if detail else words
