"""Which runs are made, so that the questions of docs/simulation.md are answered.

    load    each rule, from 0.3 to 1.2, in a fifth of the large market
    size    each rule at 0.8 in the large market: 50 proxies, 2,000 workers, 10,000 clients
    luck    other markets and other requests at 0.8: what of it is chance
    views   at 0.8, proxies hear of others' jobs more often, or less

A fifth of the market shows each proxy as many workers, and each worker to as many proxies, as all
of it: `size` is there to show that nothing else matters.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS
from cocoon_p2p.testing.market.mix import make_market
from cocoon_p2p.testing.market.outcome import Outcome, reckon
from cocoon_p2p.testing.market.rules import Cocoon, CocoonTold, FreeRoundRobin, LeastLoaded, RoundRobin, Rule
from cocoon_p2p.testing.market.running import Run, Span
from cocoon_p2p.testing.market.scheduled import Scheduled, ScheduledCheap, ScheduledFast

RULES: dict[str, type[Rule]] = {
    "random": Rule,
    "round-robin": RoundRobin,
    "least loaded": LeastLoaded,
    "Cocoon's": Cocoon,
    "Cocoon's, told": CocoonTold,
    "round-robin of the free": FreeRoundRobin,
    "ours, cheap": ScheduledCheap,
    "ours": Scheduled,
    "ours, fast": ScheduledFast,
}

LOADS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
LOAD = 0.8
"Where what must hold is looked at."

SEEDS = range(1, 5)
"Beside 0."

WORD_SECONDS = (0.05, 5.0)
"Beside a heartbeat's: what workers do today, who speak up as soon as their load changes; and much too old."

LISTENERS = tuple(name for name, rule in RULES.items() if rule.listens)
COMPARED = ("round-robin", "Cocoon's", "Cocoon's, told", "round-robin of the free", "ours")


class Size(NamedTuple):
    """How large a market is."""

    proxies: int
    workers: int
    clients: int


LARGE = Size(50, 2_000, 10_000)
FIFTH = Size(10, 400, 2_000)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a study."""

    study: str
    rule: str
    load: float = LOAD
    size: Size = FIFTH
    seed: int = 0
    word_seconds: float = HEARTBEAT_SECONDS


def trials() -> Iterator[Trial]:
    """List all runs."""
    for load in LOADS:
        for rule in RULES:
            yield Trial("load", rule, load)
    for rule in RULES:
        yield Trial("size", rule, size=LARGE)
    for seed in SEEDS:
        for rule in COMPARED:
            yield Trial("luck", rule, seed=seed)
    for word_seconds in WORD_SECONDS:
        for rule in LISTENERS:
            yield Trial("views", rule, word_seconds=word_seconds)


@dataclass(frozen=True, slots=True)
class Result:
    """A run and what came of it."""

    trial: Trial
    outcome: Outcome

    def to_json(self) -> dict[str, object]:
        """Spell it, with as many digits as mean anything."""
        outcome = {name: round(value, 4) for name, value in asdict(self.outcome).items()}
        return {"trial": {**asdict(self.trial), "size": list(self.trial.size)}, "outcome": outcome}


def try_out(trial: Trial, span: Span | None = None) -> Result:
    """Make one run."""
    proxies, workers, clients = trial.size
    market = make_market(proxies=proxies, workers=workers, clients=clients, seed=trial.seed)
    run = Run(market, RULES[trial.rule], trial.load, span or Span(), word_seconds=trial.word_seconds)
    return Result(trial, reckon(run.run()))
