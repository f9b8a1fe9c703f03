"""Who sells: workers of four kinds, each standing with a few of the proxies.

The kinds are assumed, not measured: a model of some eight billion weights, as it is seen to run on
each. What matters to the comparison is their spread: the quickest decodes 50 times as fast as the
slowest, and whole machines differ by more, because the quick ones have more slots.
"""

import random
from dataclasses import dataclass

from cocoon_p2p.payments.pricing import TOKENS_PER_PRICE
from cocoon_p2p.protocols.messages import Price

PROXIES_PER_WORKER = 3
"With how many proxies a worker stands: as many compete for its slots, each with a view of its own."

PRICE_SPREAD = 0.25
"Of the logarithms, natural: two in three ask within a quarter of what is usual for the machine."

PROMPT_PRICE_SHARE = 5
"A prompt's token costs a fifth of an answer's."


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of worker."""

    name: str
    share: float
    "Of all workers."

    slots: int
    prefill: float
    "Tokens of a prompt a second, alone."

    decode: float
    "Tokens of an answer a second, alone."

    decode_full: float
    "The same of each answer, where every slot is taken."

    price: int
    "nanoTON for 1,000 tokens of an answer, usually."

    def slowing(self, running: int) -> float:
        """Say how many times longer everything takes where so many run."""
        others = max(0, running - 1) / max(1, self.slots - 1)
        return 1.0 + (self.decode / self.decode_full - 1.0) * min(1.0, others)

    def seconds(self, prompt: float, answer: float) -> float:
        """Say how long a request takes that is alone."""
        return prompt / self.prefill + answer / self.decode


MACHINES = (
    Machine("data-centre card", 0.05, 16, 12_000, 150, 100, 20_000),
    Machine("large desktop card", 0.25, 4, 4_000, 90, 60, 16_000),
    Machine("small desktop card", 0.45, 2, 1_000, 30, 20, 12_000),
    Machine("processor", 0.25, 1, 60, 3, 3, 6_000),
)
"The mix that every figure is of."


@dataclass(frozen=True, slots=True)
class Seller:
    """One worker."""

    machine: Machine
    price: Price
    proxies: tuple[int, ...]
    "Those that it stands with."

    def cost(self, prompt: int, answer: int) -> float:
        """Say what a request costs here, in nanoTON, before any commission."""
        return (prompt * self.price.prompt + answer * self.price.completion) / TOKENS_PER_PRICE


@dataclass(frozen=True, slots=True)
class Market:
    """Everybody there is."""

    proxies: int
    clients: int
    sellers: tuple[Seller, ...]
    seed: int

    def known(self) -> tuple[tuple[int, ...], ...]:
        """List the workers that stand with each proxy, in the order in which they happened to come."""
        lists: list[list[int]] = [[] for _ in range(self.proxies)]
        for number, seller in enumerate(self.sellers):
            for proxy in seller.proxies:
                lists[proxy].append(number)
        dice = random.Random(f"order {self.seed}")
        for each in lists:
            dice.shuffle(each)
        return tuple(tuple(each) for each in lists)


def make_market(*, proxies: int, workers: int, clients: int, seed: int = 0) -> Market:
    """Draw a market of this size."""
    dice = random.Random(f"market {seed}")
    sellers: list[Seller] = []
    for machine in MACHINES:
        for _ in range(round(workers * machine.share)):
            completion = round(machine.price * dice.lognormvariate(0.0, PRICE_SPREAD))
            prompt = completion // PROMPT_PRICE_SHARE
            price = Price(prompt, prompt // 2, completion, completion)
            stands_with = tuple(dice.sample(range(proxies), min(PROXIES_PER_WORKER, proxies)))
            sellers.append(Seller(machine, price, stands_with))
    dice.shuffle(sellers)
    return Market(proxies, clients, tuple(sellers), seed)
