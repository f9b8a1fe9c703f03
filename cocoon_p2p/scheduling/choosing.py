"""The pick: whom the client prefers, else one of the best, drawn by lot.

Several proxies look at the same workers, each with a view that is up to a second old. If all
took the very best, they would all run to one machine. So each draws two of those that are as
good as the best, and takes the one with more room: that spreads load nearly as well as if all
had looked at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cocoon_p2p.attestation.verdict import satisfies
from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments.pricing import TOKENS_PER_PRICE, amount_max_for_worker
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import Ask, Candidate, ModelOffer
from cocoon_p2p.scheduling.expected import Row, factor_of, near_of, score_of, size_of, weight_of
from cocoon_p2p.scheduling.ladder import missing, offer_missing
from cocoon_p2p.scheduling.refusing import left_out
from cocoon_p2p.scheduling.roster import Roster, Shelf
from cocoon_p2p.scheduling.standing import WorkerStanding
from cocoon_p2p.units import Nano

_Scored = tuple[Sequence[float], Sequence[Row]]

_NOBODY: Mapping[PeerId, float] = {}
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of one look at all workers."""

    worker: WorkerStanding | None
    offer: ModelOffer | None
    "Of that worker, for the model that was asked for."

    left_out: tuple[Candidate, ...] = ()
    "Where nobody was chosen: some who missed a rung, the nearest misses first."

    left_out_more: int = 0
    "How many there are beyond those."


def choose(
    ask: Ask,
    roster: Roster,
    *,
    commission_basis_points: int,
    now: float,
    date: float,
    luck: int,
    cached: Mapping[PeerId, float] = _NOBODY,
) -> Choice:
    """Pick a worker.

    Args:
        ask: What is asked for.
        roster: All that stand with us.
        commission_basis_points: Ours: it comes on top of a worker's price.
        now: Seconds on the clock of `WorkerStanding.heard`.
        date: Seconds since the Unix epoch.
        luck: 64 random bits, from 0.
        cached: Workers that this client was at lately, and what part of its last prompt each had in
            its cache.
    """
    basis_points = commission_basis_points
    choice = pick(
        ask, roster, commission_basis_points=basis_points, now=now, date=date, luck=luck, cached=cached
    )
    if choice is not None:
        return choice
    return Choice(None, None, *left_out(ask, roster, basis_points, now=now, date=date))


def pick(
    ask: Ask,
    roster: Roster,
    *,
    commission_basis_points: int,
    now: float,
    date: float,
    luck: int,
    cached: Mapping[PeerId, float] = _NOBODY,
) -> Choice | None:
    """Pick a worker, as `choose` does, but do not ask why if there is none."""
    amount_max = amount_max_for_worker(Nano(ask.max_cost), commission_basis_points)
    peer = _preferred(ask, roster, amount_max, now, date)
    if peer is None:
        near = _near(ask, roster, amount_max, now, date, cached)
        if not near:
            return None
        peer = _draw(near, luck).worker.peer
    worker = roster[peer]
    return Choice(worker, offer_of(worker, ask.model))


def offer_of(worker: WorkerStanding, model: str) -> ModelOffer | None:
    """Find what a worker offers of a model."""
    return next((offer for offer in worker.offers if offer.name == model), None)


def may_serve(ask: Ask, worker: WorkerStanding, amount_max: Nano, now: float, date: float) -> bool:
    """Say whether a worker misses no rung."""
    offer = offer_of(worker, ask.model)
    return offer is not None and not missing(ask, worker, offer, amount_max=amount_max, now=now, date=date)


def _preferred(ask: Ask, roster: Roster, amount_max: Nano, now: float, date: float) -> PeerId | None:
    """Find the first of those that the client prefers that may serve it, whatever it costs."""
    for peer in map(PeerId, ask.prefer):
        if peer in roster and may_serve(ask, roster[peer], amount_max, now, date):
            return peer
    return None


def _draw(near: Sequence[Row], luck: int) -> Row:
    """Draw two, and take the one with more room."""
    first, second = near[luck % len(near)], near[luck // len(near) % len(near)]
    return min(first, second, key=lambda row: row.worker.load)


def _near(
    ask: Ask, roster: Roster, amount_max: Nano, now: float, date: float, cached: Mapping[PeerId, float]
) -> list[Row]:
    """Find everybody who is as good as the best."""
    scored: list[_Scored] = []
    for shelf in roster.shelves(ask.model):
        if offer_missing(ask, shelf.offer) is None and satisfies(shelf.trust, ask.trust):
            rows = _asked(ask, shelf, date)
            scored.append((_scores(ask, shelf.offer, rows, amount_max, now, date), rows))
            known = [row for row in map(shelf.open.get, cached) if row is not None]
            fit = [row for row in known if may_serve(ask, row.worker, amount_max, now, date)]
            scored.append(([score_of(ask, shelf.offer, row, cached[row.worker.peer]) for row in fit], fit))
    best = min((min(scores) for scores, rows in scored if rows), default=_NEVER)
    if best == _NEVER:
        return []
    limit = best * near_of(ask)
    # A dictionary, for those of whom two scores were reckoned.
    near = {
        row.worker.peer: row
        for scores, rows in scored
        for score, row in zip(scores, rows, strict=True)
        if score <= limit
    }
    return list(near.values())


def _asked(ask: Ask, shelf: Shelf, date: float) -> list[Row]:
    """Leave out whom the client excludes, and whose proof has lapsed where it counts."""
    rows = list(shelf.open.values())
    if ask.exclude:
        excluded = frozenset(ask.exclude)
        rows = [row for row in rows if row.worker.peer not in excluded]
    if ask.trust is not Trust.OPEN:
        rows = [row for row in rows if date < row.worker.trust_until]
    return rows


def _scores(
    ask: Ask, offer: ModelOffer, rows: Sequence[Row], amount_max: Nano, now: float, date: float
) -> list[float]:
    """Score each row, infinitely where it misses a rung."""
    size, weight, factor = size_of(ask), weight_of(ask), factor_of(ask, offer)
    prompt, completion = size.prompt, size.completion
    prompt_max, first = ask.prompt_tokens_max, min(1, ask.completion_tokens_max)
    limit = TOKENS_PER_PRICE * (amount_max + 1)
    # `score_of` and `ladder.missing` spelled out: two thousand calls of each would take five times as long.
    return [
        factor
        * (2 * answer + prompt * prefill + completion * decode) ** weight
        * (prompt * prompt_price + completion * completion_price + TOKENS_PER_PRICE)
        if rests <= now <= fresh and date < expires and prompt_max * dear + first * completion_price < limit
        else _NEVER
        for answer, prefill, decode, prompt_price, completion_price, dear, rests, fresh, expires, _, _ in rows
    ]
