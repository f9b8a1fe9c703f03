"""Saying no: why nobody was chosen, and what would have to change."""

from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice

from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments.pricing import amount_max_for_worker, client_amount
from cocoon_p2p.protocols.ids import PEERS_MAX, Reason
from cocoon_p2p.protocols.messages import Ask, Candidate, Refused, shorten
from cocoon_p2p.protocols.schema import UINT_MAX
from cocoon_p2p.scheduling.ladder import LADDER, least_amount, offer_missing, worker_missing
from cocoon_p2p.scheduling.roster import Roster
from cocoon_p2p.units import Nano

RETRY_SECONDS = 1.0
"After how long a client may try again where every slot is taken. Answers take seconds."

_PASSING = (Reason.NO_CAPACITY, Reason.WORKER_LOST, Reason.STALE)
"What another moment may change by itself."


_RUNGS = {reason: place for place, reason in enumerate(LADDER)}

_Miss = tuple[int, int, PeerId]
"How far from the top, at what price, who: the nearest miss is the least."


def left_out(
    ask: Ask, roster: Roster, commission_basis_points: int, *, now: float, date: float
) -> tuple[tuple[Candidate, ...], int]:
    """Name those who missed a rung, the nearest misses first, and count the rest.

    Where as many as a refusal can name are only busy, nobody else is looked at: that is when Asks
    that must be refused come by the hundred.
    """
    amount_max = amount_max_for_worker(Nano(ask.max_cost), commission_basis_points)
    misses: list[_Miss] = []
    busy = 0
    for miss in _misses(ask, roster, amount_max, now, date):
        misses.append(miss)
        busy += not miss[0]
        if busy == PEERS_MAX:
            break
    nearest = nsmallest(PEERS_MAX, misses)
    named = tuple(_candidate(ask, miss, commission_basis_points) for miss in nearest)
    offering = {miss[2] for miss in misses} if len(named) < PEERS_MAX else set[PeerId]()
    others = (worker.peer for worker in roster if worker.peer not in offering)
    strangers = tuple(
        Candidate(peer, Reason.UNKNOWN_MODEL) for peer in islice(others, PEERS_MAX - len(named))
    )
    return named + strangers, len(roster) - len(named) - len(strangers)


def _misses(ask: Ask, roster: Roster, amount_max: Nano, now: float, date: float) -> Iterator[_Miss]:
    """Say of everybody who offers the model how near it came."""
    for shelf in roster.shelves(ask.model):
        reason = offer_missing(ask, shelf.offer)
        for row in (*shelf.shut.values(), *shelf.open.values()):
            if reason is not None:
                yield _from_top(reason), 0, row.worker.peer
                continue
            worker, offer = row.worker, row.offer
            missed = worker_missing(ask, worker, offer, amount_max=amount_max, now=now, date=date)
            assert missed is not None, "nobody may serve this Ask"
            is_dear = missed is Reason.PRICE_ABOVE_LIMIT
            yield _from_top(missed), least_amount(ask, offer.price) if is_dear else 0, worker.peer


def _from_top(reason: Reason) -> int:
    return len(LADDER) - 1 - _RUNGS[reason]


def _candidate(ask: Ask, miss: _Miss, commission_basis_points: int) -> Candidate:
    reason = LADDER[len(LADDER) - 1 - miss[0]]
    if reason is not Reason.PRICE_ABOVE_LIMIT:
        return Candidate(miss[2], reason)
    # Peers choose both factors: what no client can pay need not be told to the nanoTON.
    offered = min(client_amount(Nano(miss[1]), commission_basis_points), UINT_MAX)
    return Candidate(miss[2], reason, asked=ask.max_cost, offered=offered)


def refuse(ask: Ask, named: tuple[Candidate, ...], more: int) -> Refused:
    """Say why nobody was chosen, and what would have to change.

    Args:
        ask: What was asked for.
        named: Some who were left out, the nearest misses first.
        more: How many there are beyond those.
    """
    reason = named[0].reason if named else Reason.UNKNOWN_MODEL
    return Refused(
        ask.exchange,
        reason,
        shorten(f"{reason.code.replace('-', ' ')}: {_explain(ask, named, more, reason)}"),
        named,
        more,
        retry_after_ms=int(RETRY_SECONDS * 1000) if reason in _PASSING else None,
    )


def _explain(ask: Ask, named: tuple[Candidate, ...], more: int, reason: Reason) -> str:
    near = [each for each in named if each.reason is reason]
    # Of those beyond what a refusal can name it is not known why.
    count = f"{len(near)} or more" if more and len(near) == len(named) else f"{len(near)}"
    match reason:
        case Reason.UNKNOWN_MODEL:
            return f"nobody here offers {ask.model!r}"
        case Reason.OTHER_WEIGHTS:
            return f"{count} offer {ask.model!r}, with other weights"
        case Reason.UNSUPPORTED_KIND:
            return f"nobody here does {ask.kind.name.lower()} with {ask.model!r}"
        case Reason.UNKNOWN_FEATURE:
            return f"nobody here has all of {', '.join(ask.features)[:200]}"
        case Reason.TOO_LARGE:
            return f"a prompt of up to {ask.prompt_tokens_max} tokens fits no context here"
        case Reason.TRUST_BELOW_REQUEST:
            return f"asked {ask.trust.name.lower()}, nobody here proves as much"
        case Reason.PRICE_ABOVE_LIMIT:
            return f"asked {ask.max_cost}, cheapest {near[0].offered} nanoTON for the prompt and one token"
        case Reason.EXCLUDED:
            return f"all {count} that would do are excluded"
        case Reason.NO_CAPACITY:
            return f"every slot of the {count} that would do is taken"
        case _:
            return f"the {count} that would do cannot be had right now"
