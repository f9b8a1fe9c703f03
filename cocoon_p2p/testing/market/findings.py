"""What the results say: every table of docs/simulation.md.

No figure of a run is written into the document by hand. It has a place for each table, between
`<!-- NAME -->` and `<!-- end NAME -->`, which is filled from the results; a test holds both equal.
"""

from collections.abc import Iterable, Sequence
from statistics import mean

from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS
from cocoon_p2p.testing.market.mix import MACHINES
from cocoon_p2p.testing.market.outcome import Outcome
from cocoon_p2p.testing.market.results import Book
from cocoon_p2p.testing.market.running import Span
from cocoon_p2p.testing.market.study import (
    COMPARED,
    LARGE,
    LISTENERS,
    LOADS,
    RULES,
    SEEDS,
    WORD_SECONDS,
    Trial,
)

ROUND_ROBIN_SHARE = 0.5
COCOON_SHARE = 0.8
"What p99 waiting may be at most, of the other rule's."

UTILISATION_SLACK = 0.005
"What counts as the same utilisation: one market differs from the next by more."


def tables(book: Book) -> dict[str, str]:
    """Write every table, by its name."""
    return {
        "mix": _mix(),
        "large": _large(book),
        "holds": _holds(book),
        "luck": _luck(book),
        "views": _views(book),
    }


def fill(document: str, filled: dict[str, str]) -> str:
    """Put each table in its place.

    Raises:
        ValueError: A table has no place.
    """
    for name, table in filled.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        if document.count(begin) != 1 or document.count(end) != 1:
            raise ValueError(f"the document has no single place for a table (name={name})")
        before, rest = document.split(begin)
        _, after = rest.split(end)
        document = f"{before}{begin}{table}\n{end}{after}"
    return document


# ---------------------------------------------------------------- tables


def _mix() -> str:
    return _table(
        [
            "kind",
            "of all",
            "slots",
            "prompt, tokens/s",
            "answer, tokens/s",
            "each, all slots taken",
            "nanoTON",
        ],
        [
            [
                each.name,
                f"{each.share:.0%}",
                f"{each.slots}",
                f"{each.prefill:,.0f}",
                f"{each.decode:,.0f}",
                f"{each.decode_full:,.0f}",
                f"{each.price:,}",
            ]
            for each in MACHINES
        ],
    )


def _large(book: Book) -> str:
    rows: list[list[str]] = []
    for rule in RULES:
        each = book[Trial("size", rule, size=LARGE)]
        rows.append(
            [
                rule,
                _both(each.waiting_p50, each.waiting_p99),
                _both(each.first_p50, each.first_p99),
                _both(each.total_p50, each.total_p99),
                f"{each.utilisation:.3f}",
                f"{each.fairness_clients:.2f}",
                f"{each.fairness_workers:.2f}",
                f"{each.price:,.0f}",
            ]
        )
    heads = ["waiting", "first token", "whole answer", "utilisation", "clients", "workers", "nanoTON"]
    return _table(["rule", *heads], rows)


def _holds(book: Book) -> str:
    def at(load: float) -> list[str]:
        ours, turns, cocoon = (
            book[Trial("load", rule, load)] for rule in ("ours", "round-robin", "Cocoon's")
        )
        # Of times that the run's end cut short only the bound is known: theirs may serve, ours may not.
        is_known = ours.waiting_p99 < Span().cool_down
        least = min(turns.utilisation, cocoon.utilisation)
        most = max(turns.utilisation, cocoon.utilisation)
        holds = (
            is_known and ours.waiting_p99 <= ROUND_ROBIN_SHARE * turns.waiting_p99,
            is_known and ours.waiting_p99 <= COCOON_SHARE * cocoon.waiting_p99,
            ours.utilisation >= most - UTILISATION_SLACK,
        )
        waits = [_seconds(each.waiting_p99) for each in (ours, turns, cocoon)]
        used = f"{ours.utilisation:.3f} ({least:.3f}, {most:.3f})"
        return [f"{load}", *waits, used, *("yes" if each else "no" for each in holds)]

    heads = ["load", "ours", "round-robin", "Cocoon's", "utilisation, ours (theirs)"]
    limits = [f"{ROUND_ROBIN_SHARE} x round-robin's", f"{COCOON_SHARE} x Cocoon's", "utilisation"]
    return _table([*heads, *limits], [at(load) for load in LOADS])


def _luck(book: Book) -> str:
    ours = _over_markets(book, "ours")
    rows: list[list[str]] = []
    for rule in COMPARED:
        each = _over_markets(book, rule)
        waits = [outcome.waiting_p99 for outcome in each]
        more = [mine.utilisation - other.utilisation for mine, other in zip(ours, each, strict=True)]
        rows.append(
            [
                rule,
                f"{_seconds(min(waits))} to {_seconds(max(waits))}",
                f"{mean(outcome.utilisation for outcome in each):.4f}",
                "" if rule == "ours" else f"{mean(more):+.4f} ({min(more):+.4f} to {max(more):+.4f})",
            ]
        )
    return _table(["rule", "p99 waiting", "utilisation, mean", "ours has more by (from, to)"], rows)


def _over_markets(book: Book, rule: str) -> list[Outcome]:
    return [book[Trial("load", rule)], *(book[Trial("luck", rule, seed=seed)] for seed in SEEDS)]


def _views(book: Book) -> str:
    often, seldom = WORD_SECONDS
    rows: list[list[str]] = []
    for rule in LISTENERS:
        outcomes = (
            book[Trial("views", rule, word_seconds=often)],
            book[Trial("load", rule)],
            book[Trial("views", rule, word_seconds=seldom)],
        )
        rows.append([rule, *(f"{_seconds(each.waiting_p99)} / {each.refusals:.2f}" for each in outcomes)])
    return _table(["rule", *(f"{seconds:g} s" for seconds in (often, HEARTBEAT_SECONDS, seldom))], rows)


# ---------------------------------------------------------------- cells


def _seconds(seconds: float) -> str:
    """Spell a time. One that is as long as the cool-down may be cut short by the run's end."""
    digits = 1 if seconds >= 10 else 2
    return f"over {Span().cool_down:.0f} s" if seconds >= Span().cool_down else f"{seconds:.{digits}f} s"


def _both(median: float, most: float) -> str:
    return f"{_seconds(median)} / {_seconds(most)}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
