"""What an exchange with a worker is expected to take and to cost, and what both are worth together.

    seconds = (2 x answer + prompt x prefill + completion x decode) x tries [x TIGHT]
    cost    = prompt x its price + completion x its price
    score   = seconds ** weight x cost, and less is better

The product has no unit, so no second needs a price: with `balanced`, who is twice as quick may
cost twice as much. Nobody's score hangs on who else stands there.
"""

from dataclasses import dataclass
from typing import NamedTuple

from cocoon_p2p.payments.pricing import TOKENS_PER_PRICE
from cocoon_p2p.protocols.ids import Preference
from cocoon_p2p.protocols.messages import Ask, ModelOffer
from cocoon_p2p.scheduling.ladder import exceeds
from cocoon_p2p.scheduling.pace import DECODE_PRIOR_TOKENS, PREFILL_PRIOR_TOKENS, Pace
from cocoon_p2p.scheduling.standing import WorkerStanding

BYTES_PER_TOKEN = 4
"A prompt's bound is told in bytes; text has about four a token."

COMPLETION_TOKENS = 256
"An answer of some paragraphs. Limits are mostly left at thousands, which few answers reach."

PREFILL_SECONDS_ASSUMED = 1 / 500
DECODE_SECONDS_ASSUMED = 1 / 20
"Of a worker that says nothing of its rates: a small model on a processor."

ANSWER_SECONDS_ASSUMED = 0.1
"Of a worker that was not asked yet: a line across a continent."

TIGHT = 10.0
"A worker whose context a prompt may well exceed is taken when there is no other: it would refuse."

NEAR = 1.1
"Within a tenth of the best is as good as the best: no forecast is closer, and not all run to one worker."

WEIGHTS = {None: 1.0, Preference.CHEAP: 0.25, Preference.FAST: 4.0}
"Of the time against the price. Twice as quick may cost 1.2, 2 or 16 times as much."


@dataclass(frozen=True, slots=True)
class Size:
    """How large an Ask's exchange is expected to be, in tokens."""

    prompt: int
    completion: int


class Row(NamedTuple):
    """One worker with one model, as numbers that an Ask is multiplied with."""

    answer_seconds: float
    prefill_seconds: float
    "For each token, as the next one."

    decode_seconds: float
    "The same, beside what it computes already."

    prompt_price: int
    completion_price: int
    dear_prompt_price: int
    "The dearer of a computed and a cached token."

    rests_until: float
    fresh_until: float
    "When its last word is stale, on the clock of `now`."

    expires: float
    "The date when nothing may be quoted any more."

    worker: WorkerStanding
    offer: ModelOffer


def size_of(ask: Ask) -> Size:
    """Guess an exchange's size from its bounds."""
    prompt = max(1, ask.prompt_tokens_max // BYTES_PER_TOKEN)
    return Size(prompt, min(ask.completion_tokens_max, COMPLETION_TOKENS))


def weight_of(ask: Ask) -> float:
    """Say how much time counts against the price."""
    return WEIGHTS[ask.preference]


def near_of(ask: Ask) -> float:
    """Say up to how many times the best score is as good: `NEAR` in time and price alike."""
    return float(NEAR ** (1 + weight_of(ask)))


def factor_of(ask: Ask, offer: ModelOffer) -> float:
    """Say what every score with this offer is multiplied with: more than 1 where the prompt hardly fits."""
    return TIGHT ** weight_of(ask) if exceeds(ask, offer, BYTES_PER_TOKEN) else 1.0


def row_of(
    worker: WorkerStanding, offer: ModelOffer, *, fresh_until: float, expires: float, now: float
) -> Row:
    """Reckon what does not depend on the Ask."""
    tries = worker.odds.tries(now)
    pace = worker.paces.get(offer.name, Pace())
    prefill, decode = promised(offer)
    answer = ANSWER_SECONDS_ASSUMED if worker.answer_seconds is None else worker.answer_seconds
    price = offer.price
    return Row(
        answer * tries,
        pace.prefill.seconds_per_token(prefill, PREFILL_PRIOR_TOKENS, now) * tries,
        pace.decode.seconds_per_token(decode, DECODE_PRIOR_TOKENS, now) * slowing(worker, offer) * tries,
        price.prompt,
        price.completion,
        max(price.prompt, price.cached),
        worker.rests_until,
        fresh_until,
        expires,
        worker,
        offer,
    )


def promised(offer: ModelOffer) -> tuple[float, float]:
    """Say how long a token of a prompt and one of an answer take by the worker's own word, alone."""
    rates = offer.rates
    if rates is None:
        return PREFILL_SECONDS_ASSUMED, DECODE_SECONDS_ASSUMED
    decode = DECODE_SECONDS_ASSUMED if rates.decode_milli is None else 1000 / rates.decode_milli
    return 1000 / rates.prefill_milli, decode


def slowing(worker: WorkerStanding, offer: ModelOffer) -> float:
    """Say how many times slower an answer comes beside those that run, by the worker's own word."""
    rates = offer.rates
    if rates is None or rates.decode_milli is None or rates.decode_full_milli is None:
        return 1.0
    full = max(1.0, rates.decode_milli / rates.decode_full_milli)
    others = max(0, worker.slots_total - worker.slots_free)
    return 1.0 + (full - 1.0) * min(1.0, others / max(1, worker.slots_total - 1))


def seconds_of(row: Row, size: Size, cached_share: float | None) -> float:
    """Reckon how long an answer takes to its end.

    Args:
        row: The worker.
        size: The exchange's.
        cached_share: Of a worker that this client was at lately, what part of its last prompt was
            in the cache: it knows the client's keys, so a round trip is saved too. None of others.
    """
    if cached_share is None:
        return (
            2 * row.answer_seconds + size.prompt * row.prefill_seconds + size.completion * row.decode_seconds
        )
    computed = size.prompt * (1.0 - cached_share)
    return row.answer_seconds + computed * row.prefill_seconds + size.completion * row.decode_seconds


def cost_of(row: Row, size: Size) -> int:
    """Reckon the cost in thousandths of a nanoTON, never nothing: else all that is free would be equal."""
    return size.prompt * row.prompt_price + size.completion * row.completion_price + TOKENS_PER_PRICE


def score_of(ask: Ask, offer: ModelOffer, row: Row, cached_share: float | None) -> float:
    """Weigh time and price against each other: less is better."""
    size = size_of(ask)
    seconds, cost = seconds_of(row, size, cached_share), cost_of(row, size)
    return float(factor_of(ask, offer) * seconds ** weight_of(ask) * cost)
