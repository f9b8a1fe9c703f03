"""Which worker for this Ask, and why not the others.

Every worker climbs the same ladder, from whether it has the model at all to whether a slot is
free just now. The first rung that it misses is why it is left out; if nobody reaches the top,
the highest rung that anybody missed names the refusal, because that is the least that would
have to change.

Of those at the top the client's own preference comes first, then the price, then free slots,
then how soon the worker's first tokens came lately.

Spec: protocols/exchange.md (Ask).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cocoon_p2p.attestation.verdict import satisfies
from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments.pricing import amount_max_for_worker, client_amount, worker_amount
from cocoon_p2p.protocols.ids import (
    HEARTBEAT_SECONDS,
    HEARTBEATS_MISSED_MAX,
    PEERS_MAX,
    QUOTE_LIFETIME_SECONDS,
    Reason,
    Trust,
)
from cocoon_p2p.protocols.messages import Ask, Candidate, ModelOffer, Price, Refused, Usage, shorten
from cocoon_p2p.protocols.schema import UINT_MAX
from cocoon_p2p.units import Nano

RETRY_SECONDS = 1.0
"After how long a client may try again where every slot is taken. Answers take seconds."

STALE_SECONDS = HEARTBEAT_SECONDS * HEARTBEATS_MISSED_MAX
"A worker that has not told its load for this long is not offered."

LADDER = (
    Reason.UNKNOWN_MODEL,
    Reason.OTHER_WEIGHTS,
    Reason.UNSUPPORTED_KIND,
    Reason.UNKNOWN_FEATURE,
    Reason.EXCLUDED,
    Reason.TRUST_BELOW_REQUEST,
    Reason.PRICE_ABOVE_LIMIT,
    Reason.DRAINING,
    Reason.STALE,
    Reason.WORKER_LOST,
    Reason.NO_CAPACITY,
)
"What a worker can miss, in the order in which it is asked for."


@dataclass(frozen=True, slots=True)
class WorkerStanding:
    """A worker as its proxy knows it at this moment."""

    peer: PeerId
    offers: tuple[ModelOffer, ...]
    trust: Trust
    "What is proven about its machine, until `trust_until`; then nothing is."

    slots_free: int
    "By its last word, less what was reserved or assigned since."

    is_draining: bool
    heard: float
    "When it last told its load, on the same clock as `now`."

    expires: int
    "When its record or its statement ends, whichever is first, in seconds since the Unix epoch."

    first_token_seconds: float | None = None
    "How long its first tokens took lately; None if it has not answered yet."

    rests_until: float = 0.0
    "Until when it is left alone after a broken exchange."

    trust_until: float = float("inf")
    "In seconds since the Unix epoch."


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of one look at all workers."""

    worker: WorkerStanding | None
    offer: ModelOffer | None
    "Of that worker, for the model that was asked for."

    left_out: tuple[Candidate, ...]
    "Everybody who missed a rung, the nearest misses first."


def choose(
    ask: Ask,
    workers: Iterable[WorkerStanding],
    *,
    commission_basis_points: int,
    now: float,
    date: float,
) -> Choice:
    """Pick a worker.

    Args:
        ask: What is asked for.
        workers: All that stand with us.
        commission_basis_points: Ours: it comes on top of a worker's price.
        now: Seconds on the clock of `WorkerStanding.heard`.
        date: Seconds since the Unix epoch.
    """
    amount_max = amount_max_for_worker(Nano(ask.max_cost), commission_basis_points)
    fit: list[tuple[WorkerStanding, ModelOffer]] = []
    left_out: list[Candidate] = []
    for worker in workers:
        offer = _offer(ask, worker)
        if offer is None:
            left_out.append(Candidate(worker.peer, Reason.UNKNOWN_MODEL))
        elif (reason := _miss(ask, worker, offer, amount_max, now, date)) is None:
            fit.append((worker, offer))
        elif reason is Reason.PRICE_ABOVE_LIMIT:
            asked = client_amount(_least(ask, offer.price), commission_basis_points)
            # Peers choose both factors: what no client can pay need not be told to the nanoTON.
            offered = min(asked, UINT_MAX)
            left_out.append(Candidate(worker.peer, reason, asked=ask.max_cost, offered=offered))
        else:
            left_out.append(Candidate(worker.peer, reason))
    left_out.sort(key=lambda candidate: (-LADDER.index(candidate.reason), candidate.offered or 0))
    if not fit:
        return Choice(None, None, tuple(left_out))
    worker, offer = min(fit, key=lambda pair: _rank(ask, *pair))
    return Choice(worker, offer, tuple(left_out))


def proven(worker: WorkerStanding, date: float) -> Trust:
    """Say what is proven about a worker's machine at a date."""
    return worker.trust if date < worker.trust_until else Trust.OPEN


def _offer(ask: Ask, worker: WorkerStanding) -> ModelOffer | None:
    return next((offer for offer in worker.offers if offer.name == ask.model), None)


def _miss(
    ask: Ask, worker: WorkerStanding, offer: ModelOffer, amount_max: Nano, now: float, date: float
) -> Reason | None:
    """Name the first rung that a worker with the model misses."""
    misses = (
        (Reason.OTHER_WEIGHTS, ask.weights_hash not in (None, offer.weights_hash)),
        (Reason.UNSUPPORTED_KIND, not offer.kind.serves(ask.kind)),
        (Reason.UNKNOWN_FEATURE, not set(ask.features) <= set(offer.features)),
        (Reason.EXCLUDED, worker.peer in ask.exclude),
        (Reason.TRUST_BELOW_REQUEST, not satisfies(proven(worker, date), ask.trust)),
        (Reason.PRICE_ABOVE_LIMIT, _least(ask, offer.price) > amount_max),
        (Reason.DRAINING, worker.is_draining),
        (Reason.STALE, now - worker.heard > STALE_SECONDS or worker.expires <= date + QUOTE_LIFETIME_SECONDS),
        (Reason.WORKER_LOST, now < worker.rests_until),
        (Reason.NO_CAPACITY, worker.slots_free <= 0),
    )
    return next((reason for reason, is_missed in misses if is_missed), None)


def _least(ask: Ask, price: Price) -> Nano:
    """Reckon the longest prompt and the first token: what the exchange costs at least, to be safe."""
    first = min(1, ask.completion_tokens_max)
    computed = Usage(prompt=ask.prompt_tokens_max, cached=0, completion=first, reasoning=0)
    cached = Usage(prompt=0, cached=ask.prompt_tokens_max, completion=first, reasoning=0)
    return max(worker_amount(computed, price), worker_amount(cached, price))


def _rank(ask: Ask, worker: WorkerStanding, offer: ModelOffer) -> tuple[int, int, int, float, bytes]:
    """Order the fit: less is better. Who has not answered yet is tried."""
    preferred = ask.prefer.index(worker.peer) if worker.peer in ask.prefer else len(ask.prefer)
    full = Usage(ask.prompt_tokens_max, 0, max(1, ask.completion_tokens_max), 0)
    price = worker_amount(full, offer.price)
    return preferred, price, -worker.slots_free, worker.first_token_seconds or 0.0, worker.peer


# ---------------------------------------------------------------- saying no


def refuse(ask: Ask, choice: Choice) -> Refused:
    """Say why nobody was chosen, and what would have to change."""
    named: Sequence[Candidate] = choice.left_out[:PEERS_MAX]
    reason = named[0].reason if named else Reason.UNKNOWN_MODEL
    return Refused(
        ask.exchange,
        reason,
        shorten(f"{reason.code.replace('-', ' ')}: {_explain(ask, choice, reason)}"),
        tuple(named),
        len(choice.left_out) - len(named),
        retry_after_ms=int(RETRY_SECONDS * 1000) if reason in _PASSING else None,
    )


_PASSING = (Reason.NO_CAPACITY, Reason.WORKER_LOST, Reason.STALE)
"What another moment may change by itself."


def _explain(ask: Ask, choice: Choice, reason: Reason) -> str:
    near = [candidate for candidate in choice.left_out if candidate.reason is reason]
    match reason:
        case Reason.UNKNOWN_MODEL:
            return f"nobody here offers {ask.model!r}"
        case Reason.OTHER_WEIGHTS:
            return f"{len(near)} offer {ask.model!r}, with other weights"
        case Reason.UNSUPPORTED_KIND:
            return f"nobody here does {ask.kind.name.lower()} with {ask.model!r}"
        case Reason.UNKNOWN_FEATURE:
            return f"nobody here has all of {', '.join(ask.features)[:200]}"
        case Reason.TRUST_BELOW_REQUEST:
            return f"asked {ask.trust.name.lower()}, nobody here proves as much"
        case Reason.PRICE_ABOVE_LIMIT:
            return f"asked {ask.max_cost}, cheapest {near[0].offered} nanoTON for the prompt and one token"
        case Reason.EXCLUDED:
            return f"all {len(near)} that would do are excluded"
        case Reason.NO_CAPACITY:
            return f"every slot of the {len(near)} that would do is taken"
        case _:
            return f"the {len(near)} that would do cannot be had right now"
