"""The plots of docs/simulation.md: each rule's line over load."""

from collections.abc import Callable

from cocoon_p2p.testing.market.figure import Figure, Pen, draw
from cocoon_p2p.testing.market.outcome import Outcome
from cocoon_p2p.testing.market.results import Book
from cocoon_p2p.testing.market.study import LOADS, RULES, Trial

_PENS = {
    "random": Pen("#999999"),
    "round-robin": Pen("#c44e52"),
    "least loaded": Pen("#dd8452"),
    "Cocoon's": Pen("#8172b3"),
    "Cocoon's, told": Pen("#8172b3", dashes="5 3"),
    "round-robin of the free": Pen("#937860", 2),
    "ours, cheap": Pen("#4c72b0", 2, "2 3"),
    "ours": Pen("#4c72b0", 3),
    "ours, fast": Pen("#4c72b0", 2, "7 3"),
}

_LEAST_SECONDS = 0.01

_PLOTS: dict[str, tuple[str, Callable[[Outcome], float], float | None]] = {
    "waiting": ("p99 waiting, seconds", lambda outcome: outcome.waiting_p99, _LEAST_SECONDS),
    "first-token": ("p99 to the first token, seconds", lambda outcome: outcome.first_p99, 0.1),
    "whole-answer": ("p99 to the whole answer, seconds", lambda outcome: outcome.total_p99, 1.0),
    "utilisation": ("utilisation", lambda outcome: outcome.utilisation, None),
    "fairness-clients": ("fairness among clients (Jain)", lambda outcome: outcome.fairness_clients, None),
    "fairness-workers": ("fairness among workers (Jain)", lambda outcome: outcome.fairness_workers, None),
    "price": ("nanoTON paid for 1,000 tokens", lambda outcome: outcome.price, None),
}


def plots(book: Book) -> dict[str, str]:
    """Draw everything over load, by the names of the files."""
    return {f"{name}.svg": draw(_plot(book, *plot)) for name, plot in _PLOTS.items()}


def _plot(book: Book, title: str, value: Callable[[Outcome], float], floor: float | None) -> Figure:
    lines = {rule: [(load, value(book[Trial("load", rule, load)])) for load in LOADS] for rule in RULES}
    return Figure(title, "load", lines, _PENS, floor)
