"""Why a worker was passed over for an Ask, in the words that it is told.

It is told a word of a closed list and how often, never whom the proxy chose, what others cost or who
asked: a worker is nobody's eye on the market.

Spec: protocols/session.md (Registered: chances).
"""

from collections.abc import Mapping

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import Reason, Why
from cocoon_p2p.protocols.messages import Ask
from cocoon_p2p.scheduling.expected import Row, cost_of, near_of, score_of, seconds_of, size_of
from cocoon_p2p.scheduling.ladder import missing
from cocoon_p2p.scheduling.odds import Fault
from cocoon_p2p.units import Nano

_WHY = {
    Reason.OTHER_WEIGHTS: Why.UNFIT,
    Reason.UNSUPPORTED_KIND: Why.UNFIT,
    Reason.UNKNOWN_FEATURE: Why.UNFIT,
    Reason.TOO_LARGE: Why.UNFIT,
    Reason.EXCLUDED: Why.EXCLUDED,
    Reason.TRUST_BELOW_REQUEST: Why.TRUST,
    Reason.PRICE_ABOVE_LIMIT: Why.DEARER_THAN_ASKED,
    Reason.DRAINING: Why.DRAINING,
    Reason.STALE: Why.SILENT,
    Reason.NO_CAPACITY: Why.FULL,
}


def passed_over(
    ask: Ask,
    mine: Row,
    chosen: Row | None,
    *,
    amount_max: Nano,
    now: float,
    date: float,
    cached: Mapping[PeerId, float],
) -> Why:
    """Say why a worker did not get an Ask for a model of its own.

    Args:
        ask: The question.
        mine: The worker that did not get it, with that model.
        chosen: The one that did; None if nobody.
        amount_max: The most that a worker may earn by it.
        now: Seconds on the clock of `WorkerStanding.heard`.
        date: Seconds since the Unix epoch.
        cached: Workers that this client was at lately, as for `choose`.
    """
    worker = mine.worker
    reason = missing(ask, worker, mine.offer, amount_max=amount_max, now=now, date=date)
    if reason is Reason.WORKER_LOST:
        return Why.CANARY if worker.rests_for in (Fault.CANARY, Fault.MISCOUNTED) else Why.RESTING
    if reason is not None:
        return _WHY[reason]
    if chosen is None:
        return Why.FULL
    if chosen.worker.peer in ask.prefer:
        return Why.ANOTHER_NAMED
    return _compared(ask, mine, chosen, now, cached)


def _compared(ask: Ask, mine: Row, chosen: Row, now: float, cached: Mapping[PeerId, float]) -> Why:
    """Name what would have had to be otherwise, of two that both might have served."""
    my_share, their_share = cached.get(mine.worker.peer), cached.get(chosen.worker.peer)
    theirs = score_of(ask, chosen.offer, chosen, their_share)
    if score_of(ask, mine.offer, mine, my_share) <= theirs * near_of(ask):
        return Why.LOT
    size = size_of(ask)
    truer = mine.worker.odds.tries(now) / chosen.worker.odds.tries(now)
    # The greatest gap is named: it is what would bring the most.
    gaps = {
        Why.OTHERS_TRUER: truer,
        Why.OTHERS_QUICKER: seconds_of(mine, size, my_share) / seconds_of(chosen, size, their_share) / truer,
        Why.OTHERS_CHEAPER: cost_of(mine, size) / cost_of(chosen, size),
    }
    return max(gaps, key=lambda why: gaps[why])
