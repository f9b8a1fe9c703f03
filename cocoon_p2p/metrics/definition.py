"""What a metric is, before anybody exposes it: its name, what it means, and how it is read off a node.

Names follow Prometheus: `cocoon_`, what it is, its unit, and `_total` for what only grows. Money is in
nanoTON, because those are whole numbers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from cocoon_p2p.journal import Journal
from cocoon_p2p.overview.peers import Role
from cocoon_p2p.overview.snapshot import Snapshot

EVERYBODY: tuple[Role, ...] = ("client", "proxy", "worker", "bootstrap")
WITH_EXCHANGES: tuple[Role, ...] = ("client", "proxy", "worker")
SELLERS: tuple[Role, ...] = ("proxy", "worker")

LABEL_MAX_LETTERS = 96
"As long as a model's name can be (`protocols.ids.NAME_MAX_BYTES`)."


@dataclass(frozen=True, slots=True)
class Sight:
    """A node at the moment of a scrape."""

    snapshot: Snapshot
    journal: Journal


@dataclass(frozen=True, slots=True)
class Sample:
    """One value, and what its labels are."""

    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's values: how many came within each bound, all of them, and their sum."""

    within: tuple[int, ...]
    count: int
    sum: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One metric.

    Attributes:
        name: With its unit, and `_total` where it only grows.
        kind: As Prometheus knows it.
        meaning: A sentence without its full stop.
        labels: Their names.
        roles: Who exposes it.
        read: Gives its values. Two of the same labels are added up.
        bounds: A histogram's.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    roles: tuple[Role, ...] = EVERYBODY
    read: Callable[[Sight], Iterable[Sample | Distribution]]
    bounds: tuple[float, ...] = ()


def one_of(value: str, states: Mapping[str, str]) -> list[Sample]:
    """Spell a state as Prometheus likes it: a series each, of which one is 1.

    Args:
        value: Which of them it is; if none of them, all are 0.
        states: The label's value of each.
    """
    return [Sample(float(state == value), (label,)) for state, label in states.items()]


def known(value: float | None, *labels: str) -> list[Sample]:
    """Give a value if there is one: what is not known has no series."""
    return [] if value is None else [Sample(value, labels)]


def as_label(text: str) -> str:
    """Make a peer's word fit for a label: printable, of bounded length, and sure to be encoded."""
    kept = text[:LABEL_MAX_LETTERS]
    return kept if kept.isprintable() else "".join(each if each.isprintable() else "?" for each in kept)
