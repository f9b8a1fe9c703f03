"""What a usage costs. Whole nanoTON, rounded down once, over cumulative counts.

Prices are nanoTON per 1,000 tokens of each class. Because counts are cumulative, an answer costs
the same however it was cut into chunks. Nothing here bounds what a peer's numbers come to: compare
an amount with a limit (max cost, credit, capacity) before it is stored or sent.

Spec: protocols/exchange.md (Amounts).
"""

from cocoon_p2p.frozen import replace
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import Price, Usage
from cocoon_p2p.units import Nano

TOKENS_PER_PRICE = 1000
"A price buys this many tokens."

BASIS_POINTS = 10_000
"A commission of this many basis points doubles the amount."


def worker_amount(usage: Usage, price: Price) -> Nano:
    """Say what a worker has earned by a cumulative usage."""
    return Nano(_thousandths(usage, price) // TOKENS_PER_PRICE)


def client_amount(worker_amount: Nano, commission_basis_points: int) -> Nano:
    """Say what a client pays for what a worker earned: the proxy keeps the difference."""
    return Nano(worker_amount * (BASIS_POINTS + commission_basis_points) // BASIS_POINTS)


def amount_max_for_worker(max_cost: Nano, commission_basis_points: int) -> Nano:
    """Say the most a worker may earn so that its client pays at most `max_cost`."""
    return Nano(max_cost * BASIS_POINTS // (BASIS_POINTS + commission_basis_points))


def owed_usage(usage: Usage, outcome: Outcome) -> Usage:
    """Take out of what was done what counts for the bill.

    When worker or proxy failed, the tokens delivered are owed and the prompt is not. `usage` holds
    the prompt as far as it was prefilled and the tokens that were sent.
    """
    return replace(usage, prompt=0, cached=0) if outcome is Outcome.FAILED else usage


def ahead(usage: Usage, window_tokens: int) -> Usage:
    """Add the completion tokens that a payer keeps covered beyond what was delivered."""
    return replace(usage, completion=usage.completion + window_tokens)


def completion_affordable(usage: Usage, price: Price, amount_max: Nano) -> int | None:
    """Say how many more tokens may be delivered before the amount would exceed `amount_max`.

    A token to come may turn out as completion or as reasoning, so the dearer of the two is
    reckoned with.

    Returns:
        The number of tokens, 0 if not even `usage` fits; None if tokens cost nothing.
    """
    left = TOKENS_PER_PRICE * (amount_max + 1) - 1 - _thousandths(usage, price)
    if left < 0:
        return 0
    dearest = max(price.completion, price.reasoning)
    return left // dearest if dearest else None


def _thousandths(usage: Usage, price: Price) -> int:
    return (
        usage.prompt * price.prompt
        + usage.cached * price.cached
        + usage.completion * price.completion
        + usage.reasoning * price.reasoning
    )
