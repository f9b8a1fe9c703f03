"""Why a worker was passed over for an Ask, in the words that it is told.

It is told a word of a closed list and how often, never whom the proxy chose, what others cost or who
asked: a worker is nobody's eye on the market.

Spec: protocols/session.md (Registered: chances).
"""

from collections.abc import Mapping

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import Reason, Why
from cocoon_p2p.protocols.messages import Ask, ModelOffer
from cocoon_p2p.scheduling.expected import cost_of, near_of, row_of, score_of, seconds_of, size_of
from cocoon_p2p.scheduling.ladder import missing
from cocoon_p2p.scheduling.odds import Fault
from cocoon_p2p.scheduling.standing import WorkerStanding
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
    worker: WorkerStanding,
    offer: ModelOffer,
    chosen: WorkerStanding | None,
    *,
    amount_max: Nano,
    now: float,
    date: float,
    cached: Mapping[PeerId, float],
) -> Why:
    """Say why a worker did not get an Ask for a model of its own.

    Args:
        ask: The question.
        worker: Who did not get it.
        offer: Of that worker, for the model.
        chosen: Who did; None if nobody.
        amount_max: The most that a worker may earn by it.
        now: Seconds on the clock of `WorkerStanding.heard`.
        date: Seconds since the Unix epoch.
        cached: Workers that this client was at lately, as for `choose`.
    """
    reason = missing(ask, worker, offer, amount_max=amount_max, now=now, date=date)
    if reason is Reason.WORKER_LOST:
        return Why.CANARY if worker.rests_for in (Fault.CANARY, Fault.MISCOUNTED) else Why.RESTING
    if reason is not None:
        return _WHY[reason]
    theirs = None if chosen is None else _offer_of(chosen, ask.model)
    if chosen is None or theirs is None:
        return Why.FULL
    if chosen.peer in ask.prefer:
        return Why.ANOTHER_NAMED
    return _compared(ask, (worker, offer), (chosen, theirs), now, cached)


def _compared(
    ask: Ask,
    mine: tuple[WorkerStanding, ModelOffer],
    theirs: tuple[WorkerStanding, ModelOffer],
    now: float,
    cached: Mapping[PeerId, float],
) -> Why:
    """Name what would have had to be otherwise, of two that both might have served."""
    size = size_of(ask)
    rows = [row_of(worker, offer, fresh_until=0.0, expires=0.0, now=now) for worker, offer in (mine, theirs)]
    shares = [cached.get(row.worker.peer) for row in rows]
    scores = [score_of(ask, row.offer, row, share) for row, share in zip(rows, shares, strict=True)]
    if scores[0] <= scores[1] * near_of(ask):
        return Why.LOT
    tries = [worker.odds.tries(now) for worker, _ in (mine, theirs)]
    seconds = [seconds_of(row, size, share) for row, share in zip(rows, shares, strict=True)]
    costs = [cost_of(row, size) for row in rows]
    # What would be gone if it were as good as the other in this alone; the greatest is named.
    gaps = {
        Why.OTHERS_TRUER: tries[0] / tries[1],
        Why.OTHERS_QUICKER: (seconds[0] / tries[0]) / (seconds[1] / tries[1]),
        Why.OTHERS_CHEAPER: costs[0] / costs[1],
    }
    return max(gaps, key=lambda why: gaps[why])


def _offer_of(worker: WorkerStanding, model: str) -> ModelOffer | None:
    return next((offer for offer in worker.offers if offer.name == model), None)
