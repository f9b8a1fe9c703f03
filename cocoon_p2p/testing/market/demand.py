"""Who buys: requests at random times, of all lengths, from clients of whom few ask for much.

What is asked for is drawn before anybody chooses, so each rule is given the very same requests.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from cocoon_p2p.testing.market.mix import Market

PROMPT_TOKENS_MEDIAN = 400
ANSWER_TOKENS_MEDIAN = 300
LENGTH_SPREAD = 1.0
"Of the logarithms, natural: one in a hundred is ten times as long as the median."

TOKENS_MAX = 4_096
"Longer ones are cut here."

CLIENT_TAIL = 1.3
"Pareto's exponent of how much clients ask for: most ask seldom, a few all the time."

CLIENT_MOST = 200.0
"Times as much as who asks least: nobody asks for more."


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request."""

    at: float
    "In seconds."

    client: int
    prompt: int
    "In tokens, as is what follows."

    answer: int


def requests_per_second(market: Market, load: float) -> float:
    """Say how many requests a second are this load: 1 is what all workers do with every slot taken."""
    return load * sum(full_rate(market))


def full_rate(market: Market) -> tuple[float, ...]:
    """Say how many requests of the mean lengths each worker does in a second, with every slot taken."""
    lengths = mean_lengths()
    machines = (seller.machine for seller in market.sellers)
    return tuple(
        machine.slots / (machine.seconds(*lengths) * machine.slowing(machine.slots)) for machine in machines
    )


def draw_demand(market: Market, load: float, seconds: float) -> Iterator[Wanted]:
    """Draw all requests of so many seconds, in their order."""
    dice = random.Random(f"demand {market.seed} {load}")
    per_second = requests_per_second(market, load)
    clients = range(market.clients)
    weights = tuple(accumulate(min(CLIENT_MOST, dice.paretovariate(CLIENT_TAIL)) for _ in clients))
    now = dice.expovariate(per_second)
    while now < seconds:
        (client,) = dice.choices(clients, cum_weights=weights)
        yield Wanted(now, client, _length(dice, PROMPT_TOKENS_MEDIAN), _length(dice, ANSWER_TOKENS_MEDIAN))
        now += dice.expovariate(per_second)


@lru_cache(maxsize=1)
def mean_lengths() -> tuple[float, float]:
    """Give the mean tokens of a prompt and of an answer, by drawing many: the cut is in them."""
    dice, count = random.Random("lengths"), 20_000
    prompts = sum(_length(dice, PROMPT_TOKENS_MEDIAN) for _ in range(count))
    answers = sum(_length(dice, ANSWER_TOKENS_MEDIAN) for _ in range(count))
    return prompts / count, answers / count


def _length(dice: random.Random, median: int) -> int:
    return max(1, min(TOKENS_MAX, round(median * dice.lognormvariate(0.0, LENGTH_SPREAD))))
