"""What a node has done and does: exchanges, tokens, money that they brought, slots, prices."""

from collections.abc import Iterator

from cocoon_p2p.journal import FIRST_TOKEN_BOUNDS
from cocoon_p2p.metrics.definition import (
    SELLERS,
    WITH_EXCHANGES,
    Definition,
    Distribution,
    Sample,
    Sight,
)

PRICES_MAX = 64
"Models whose prices are exposed: a proxy's workers name them."


def _exchanges(sight: Sight) -> Iterator[Sample]:
    for key, sums in sight.journal.sums.items():
        yield Sample(sums.exchanges, key)


def _exchange_seconds(sight: Sight) -> Iterator[Sample]:
    for key, sums in sight.journal.sums.items():
        yield Sample(sums.seconds, key)


def _tokens(sight: Sight) -> Iterator[Sample]:
    for (model, _), sums in sight.journal.sums.items():
        yield Sample(sums.prompt_tokens, (model, "prompt"))
        yield Sample(sums.completion_tokens, (model, "completion"))


def _first_tokens(sight: Sight) -> Iterator[Distribution]:
    for (model, _), sums in sight.journal.sums.items():
        *within, count = sums.first_tokens
        yield Distribution(tuple(within), count, sums.first_token_seconds, (model,))


def _income(sight: Sight) -> Iterator[Sample]:
    for (model, _), sums in sight.journal.sums.items():
        yield Sample(sums.income, (model,))


def _expense(sight: Sight) -> Iterator[Sample]:
    for (model, _), sums in sight.journal.sums.items():
        yield Sample(sums.expense, (model,))


def _slots(sight: Sight) -> Iterator[Sample]:
    if (load := sight.snapshot.load) is not None:
        yield Sample(load.slots_free, ("free",))
        yield Sample(max(0, load.slots_total - load.slots_free), ("taken",))


def _running(sight: Sight) -> Iterator[Sample]:
    if (load := sight.snapshot.load) is not None:
        yield Sample(load.running)


def _waiting(sight: Sight) -> Iterator[Sample]:
    if (load := sight.snapshot.load) is not None:
        yield Sample(load.waiting)


def _draining(sight: Sight) -> Iterator[Sample]:
    if (load := sight.snapshot.load) is not None:
        yield Sample(load.is_draining)


def _prices(sight: Sight) -> Iterator[Sample]:
    seen: set[str] = set()
    for offer in sight.snapshot.offers:
        if offer.model in seen or len(seen) >= PRICES_MAX:
            continue
        seen.add(offer.model)
        yield Sample(offer.prompt, (offer.model, "prompt"))
        yield Sample(offer.cached, (offer.model, "cached"))
        yield Sample(offer.completion, (offer.model, "completion"))
        yield Sample(offer.reasoning, (offer.model, "reasoning"))


WORK = (
    Definition(
        name="cocoon_exchanges_total",
        kind="counter",
        meaning="Exchanges that have ended, by how: `finished`, `cancelled`, `lost`, or an error's code",
        labels=("model", "outcome"),
        roles=WITH_EXCHANGES,
        read=_exchanges,
    ),
    Definition(
        name="cocoon_exchange_seconds_total",
        kind="counter",
        meaning="How long those took, from the Ask (at a worker, the Assign) to their end",
        labels=("model", "outcome"),
        roles=WITH_EXCHANGES,
        read=_exchange_seconds,
    ),
    Definition(
        name="cocoon_tokens_total",
        kind="counter",
        meaning="Tokens that were charged for, of `prompt` (cached ones too) or `completion` (reasoning too)",
        labels=("model", "kind"),
        roles=WITH_EXCHANGES,
        read=_tokens,
    ),
    Definition(
        name="cocoon_first_token_seconds",
        kind="histogram",
        meaning="From the Ask (at a worker, the Assign) to the first token",
        labels=("model",),
        roles=WITH_EXCHANGES,
        read=_first_tokens,
        bounds=FIRST_TOKEN_BOUNDS,
    ),
    Definition(
        name="cocoon_income_nanoton_total",
        kind="counter",
        meaning="What was promised to this node for exchanges that have ended",
        labels=("model",),
        roles=WITH_EXCHANGES,
        read=_income,
    ),
    Definition(
        name="cocoon_expense_nanoton_total",
        kind="counter",
        meaning="What this node promised for them",
        labels=("model",),
        roles=WITH_EXCHANGES,
        read=_expense,
    ),
    Definition(
        name="cocoon_income_given_up_nanoton_total",
        kind="counter",
        meaning="Of that income, what a worker gave up later: tokens that were lost on their way",
        roles=WITH_EXCHANGES,
        read=lambda sight: [Sample(sight.journal.given_up)],
    ),
    Definition(
        name="cocoon_exchanges_running",
        kind="gauge",
        meaning="Exchanges that run now; at a proxy, quotes that nobody has used yet too",
        roles=SELLERS,
        read=_running,
    ),
    Definition(
        name="cocoon_exchanges_waiting",
        kind="gauge",
        meaning="Asks that wait in line for a slot",
        roles=SELLERS,
        read=_waiting,
    ),
    Definition(
        name="cocoon_slots",
        kind="gauge",
        meaning="Slots of this worker, or of all workers that stand with this proxy: `free` or `taken`",
        labels=("state",),
        roles=SELLERS,
        read=_slots,
    ),
    Definition(
        name="cocoon_draining",
        kind="gauge",
        meaning="1 while nothing new is taken",
        roles=SELLERS,
        read=_draining,
    ),
    Definition(
        name="cocoon_price_nanoton",
        kind="gauge",
        meaning="Price of 1,000 tokens of a class; at a proxy its cheapest worker's, without commission",
        labels=("model", "kind"),
        roles=SELLERS,
        read=_prices,
    ),
)
