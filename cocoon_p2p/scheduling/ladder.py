"""Who may serve an Ask, and why somebody may not.

Every worker climbs the same ladder, from whether it has the model at all to whether a slot is
free just now. The first rung that it misses is why it is left out; if nobody reaches the top,
the highest rung that anybody missed names the refusal, because that is the least that would
have to change.
"""

from cocoon_p2p.attestation.verdict import satisfies
from cocoon_p2p.payments.pricing import TOKENS_PER_PRICE
from cocoon_p2p.protocols.ids import (
    HEARTBEAT_SECONDS,
    HEARTBEATS_MISSED_MAX,
    QUOTE_LIFETIME_SECONDS,
    Kind,
    Reason,
)
from cocoon_p2p.protocols.messages import Ask, ModelOffer, Price
from cocoon_p2p.scheduling.standing import WorkerStanding, proven
from cocoon_p2p.units import Nano

STALE_SECONDS = HEARTBEAT_SECONDS * HEARTBEATS_MISSED_MAX
"A worker that has not told its load for this long is not offered."

BYTES_PER_TOKEN_MOST = 8
"""A prompt's bound is told in bytes. Text has about 4 a token, indented code 6; what does not even fit at
this many is not tried."""

LADDER = (
    Reason.UNKNOWN_MODEL,
    Reason.OTHER_WEIGHTS,
    Reason.UNSUPPORTED_KIND,
    Reason.UNKNOWN_FEATURE,
    Reason.TOO_LARGE,
    Reason.EXCLUDED,
    Reason.TRUST_BELOW_REQUEST,
    Reason.PRICE_ABOVE_LIMIT,
    Reason.DRAINING,
    Reason.STALE,
    Reason.WORKER_LOST,
    Reason.NO_CAPACITY,
)
"What a worker can miss, in the order in which it is asked for."


def offer_missing(ask: Ask, offer: ModelOffer) -> Reason | None:
    """Name the first rung that an offer of the model misses, whoever makes it."""
    if ask.weights_hash not in (None, offer.weights_hash):
        return Reason.OTHER_WEIGHTS
    if not offer.kind.serves(ask.kind):
        return Reason.UNSUPPORTED_KIND
    if not set(ask.features) <= set(offer.features):
        return Reason.UNKNOWN_FEATURE
    return Reason.TOO_LARGE if exceeds(ask, offer, BYTES_PER_TOKEN_MOST) else None


def exceeds(ask: Ask, offer: ModelOffer, bytes_per_token: int) -> bool:
    """Say whether a prompt of so many bytes a token leaves no room in the model's context."""
    # Of an embedding each text has the context to itself, and speech is counted in seconds.
    is_text = ask.kind in (Kind.CHAT, Kind.COMPLETION)
    return is_text and ask.prompt_tokens_max // bytes_per_token >= offer.context_tokens


def missing(
    ask: Ask, worker: WorkerStanding, offer: ModelOffer, *, amount_max: Nano, now: float, date: float
) -> Reason | None:
    """Name the first rung that a worker with the model misses; None if it may serve.

    Args:
        ask: What is asked for.
        worker: Who might.
        offer: Of that worker, for the model that is asked for.
        amount_max: The most that a worker may earn by it, in nanoTON.
        now: Seconds on the clock of `WorkerStanding.heard`.
        date: Seconds since the Unix epoch.
    """
    reason = offer_missing(ask, offer)
    return reason or worker_missing(ask, worker, offer, amount_max=amount_max, now=now, date=date)


def worker_missing(
    ask: Ask, worker: WorkerStanding, offer: ModelOffer, *, amount_max: Nano, now: float, date: float
) -> Reason | None:
    """Name the first of the upper rungs that a worker misses, whose offer of the model would do."""
    if worker.peer in ask.exclude:
        return Reason.EXCLUDED
    if not satisfies(proven(worker, date), ask.trust):
        return Reason.TRUST_BELOW_REQUEST
    if least_amount(ask, offer.price) > amount_max:
        return Reason.PRICE_ABOVE_LIMIT
    if worker.is_draining:
        return Reason.DRAINING
    if now > worker.heard + STALE_SECONDS or worker.expires <= date + QUOTE_LIFETIME_SECONDS:
        return Reason.STALE
    if now < worker.rests_until:
        return Reason.WORKER_LOST
    return Reason.NO_CAPACITY if worker.slots_free <= 0 else None


def least_amount(ask: Ask, price: Price) -> Nano:
    """Reckon the longest prompt and the first token: what the exchange costs at least, to be safe."""
    prompt = ask.prompt_tokens_max * max(price.prompt, price.cached)
    return Nano((prompt + min(1, ask.completion_tokens_max) * price.completion) // TOKENS_PER_PRICE)
