"""The same choice with all its reasons: each worker, its score's parts, or why it was out.

Reckoned one worker at a time, so it takes milliseconds where `choose` takes one: for people, not
for each request.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.payments.pricing import TOKENS_PER_PRICE, amount_max_for_worker
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import Ask, ModelOffer
from cocoon_p2p.scheduling.choosing import choose, offer_of
from cocoon_p2p.scheduling.expected import (
    Row,
    cost_of,
    near_of,
    promised,
    score_of,
    seconds_of,
    size_of,
)
from cocoon_p2p.scheduling.ladder import missing
from cocoon_p2p.scheduling.odds import Fault
from cocoon_p2p.scheduling.pace import DECODE_PRIOR_TOKENS, PREFILL_PRIOR_TOKENS, Pace
from cocoon_p2p.scheduling.roster import Roster
from cocoon_p2p.scheduling.standing import WorkerStanding
from cocoon_p2p.units import Nano


@dataclass(frozen=True, slots=True)
class Considered:
    """One worker in one decision."""

    peer: PeerId
    reason: Reason | None
    "Why it was out; None if it might have served."

    seconds: float | None = None
    "How long the answer was expected to take with it, to its end. This and all below: of those in."

    cost: float | None = None
    "In nanoTON, before the commission."

    score: float | None = None
    cached_share: float | None = None
    "What part of the client's last prompt it had in its cache; None of one that the client was not at."

    load: float | None = None
    reputation: "Reputation | None" = None
    "What of its past is in the seconds."

    is_near: bool = False
    "Whether it was as good as the best, and so in the draw."

    def __str__(self) -> str:
        name = peer_id_text(self.peer)
        if self.reason is not None:
            return f"{name}  out: {self.reason.code.replace('-', ' ')}"
        known = "" if self.cached_share is None else f"  knows the client ({self.cached_share:.0%} cached)"
        return (
            f"{name}  {self.seconds:.2f} s  {self.cost:.0f} nanoTON  score {self.score:.4g}"
            f"  {self.load:.0%} taken{known}{'  in the draw' if self.is_near else ''}"
            f"{'' if self.reputation is None else f'  ({self.reputation})'}"
        )


@dataclass(frozen=True, slots=True)
class Reputation:
    """What a worker's past makes of its forecast: each part of it, as of now."""

    tries: float
    "How many tries an answer is expected to take: all seconds are multiplied with it."

    kept: float
    broken: float
    "How many exchanges it kept and broke, by their weight, faded."

    faults: tuple[tuple[Fault, float], ...]
    "What it broke them by, the worst first."

    prefill_ratio: float
    decode_ratio: float
    "How many times longer a token takes than it promised; below 1, it is quicker."

    def __str__(self) -> str:
        faults = "".join(f", {fault.words} {count:.1f}" for fault, count in self.faults)
        return (
            f"x {self.tries:.2f} tries: kept {self.kept:.1f}{faults};"
            f" prompts x {self.prefill_ratio:.2f} and answers x {self.decode_ratio:.2f} of its word"
        )


def reputation_of(worker: WorkerStanding, offer: ModelOffer, now: float) -> Reputation:
    """Say what a worker's past counts for, with one of its models."""
    odds, pace = worker.odds.faded(now), worker.paces.get(offer.name, Pace())
    prefill, decode = promised(offer)
    faults = sorted((part for part in odds.faults if part[1] >= 0.05), key=lambda part: -part[1])
    return Reputation(
        odds.tries(now),
        odds.kept,
        odds.broken,
        tuple(faults),
        pace.prefill.seconds_per_token(prefill, PREFILL_PRIOR_TOKENS, now) / prefill,
        pace.decode.seconds_per_token(decode, DECODE_PRIOR_TOKENS, now) / decode,
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """One look at all workers, for people."""

    chosen: PeerId | None
    is_preferred: bool
    "Whether it was chosen because the client had named it."

    considered: tuple[Considered, ...]
    "Everybody, the best first, then those that were out."

    def __str__(self) -> str:
        if self.chosen is None:
            head = "nobody"
        else:
            head = peer_id_text(self.chosen) + (" (named by the client)" if self.is_preferred else "")
        return "\n".join((f"chosen: {head}", *map(str, self.considered)))


def explain(
    ask: Ask,
    roster: Roster,
    *,
    commission_basis_points: int,
    now: float,
    date: float,
    luck: int,
    cached: Mapping[PeerId, float] | None = None,
) -> Decision:
    """Choose as `choose` does with the same arguments, and say what was reckoned with."""
    known = cached or {}
    choice = choose(
        ask,
        roster,
        commission_basis_points=commission_basis_points,
        now=now,
        date=date,
        luck=luck,
        cached=known,
    )
    amount_max = amount_max_for_worker(Nano(ask.max_cost), commission_basis_points)
    considered = sorted(
        _consider(ask, roster, amount_max, now, date, known),
        key=lambda each: (each.reason is not None, each.score or 0.0, each.peer),
    )
    chosen = None if choice.worker is None else choice.worker.peer
    return Decision(chosen, chosen in ask.prefer, tuple(considered))


def _consider(
    ask: Ask, roster: Roster, amount_max: Nano, now: float, date: float, cached: Mapping[PeerId, float]
) -> Iterator[Considered]:
    scores: dict[PeerId, float] = {}
    rows: dict[PeerId, Row] = {}
    for shelf in roster.shelves(ask.model):
        for peer, row in (*shelf.open.items(), *shelf.shut.items()):
            rows[peer], scores[peer] = row, score_of(ask, shelf.offer, row, cached.get(peer))
    reasons: dict[PeerId, Reason | None] = {}
    for worker in roster:
        offer = offer_of(worker, ask.model)
        reasons[worker.peer] = (
            Reason.UNKNOWN_MODEL
            if offer is None
            else missing(ask, worker, offer, amount_max=amount_max, now=now, date=date)
        )
    best = min((scores[peer] for peer, reason in reasons.items() if reason is None), default=0.0)
    size = size_of(ask)
    for peer, reason in reasons.items():
        if reason is not None:
            yield Considered(peer, reason)
            continue
        row, share = rows[peer], cached.get(peer)
        yield Considered(
            peer,
            None,
            seconds=seconds_of(row, size, share),
            cost=cost_of(row, size) / TOKENS_PER_PRICE,
            score=scores[peer],
            cached_share=share,
            load=row.worker.load,
            reputation=reputation_of(row.worker, row.offer, now),
            is_near=scores[peer] <= best * near_of(ask),
        )
