"""What a node's books say of today, and of each channel until now: where a running reckoning begins.

A node that runs does not read its books again and again: from here on it goes by what its accounts have
charged since.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cocoon_p2p.ledger import Account, ChannelName, Line
from cocoon_p2p.store.reading import MovedSums, read_ledger

DAY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Tally:
    """The books of one moment, added up. Amounts are in nanoTON."""

    income: int
    "Of the span that was asked for."

    expense: int
    charged: Mapping[ChannelName, int]
    "What each channel has been charged, all told."


def midnight(now: float) -> int:
    """Give the first second of a day (UTC), in seconds since the Unix epoch."""
    return int(now) // DAY_SECONDS * DAY_SECONDS


def tally_in(ledger: Path, since: int) -> Tally:
    """Add up the books in a ledger file; the span is from `since` (seconds since the Unix epoch) on.

    Raises:
        ConfigurationError: There is none.
        Unavailable: It cannot be read.
    """
    with read_ledger(ledger) as reading:
        return _added_up(reading.moved(since))


def tally_of(lines: Iterable[Line], since: int) -> Tally:
    """Add up books that were read from a server; the span is as in `tally_in`."""
    return _added_up(
        MovedSums(line.name, line.source, line.target, line.amount, line.amount * (line.at >= since))
        for line in lines
    )


def _added_up(sums: Iterable[MovedSums]) -> Tally:
    income = expense = 0
    charged: defaultdict[ChannelName, int] = defaultdict(int)
    for each in sums:
        earns = (each.source is Account.INCOME) - (each.target is Account.INCOME)
        costs = (each.target is Account.EXPENSE) - (each.source is Account.EXPENSE)
        income += earns * each.amount_since
        expense += costs * each.amount_since
        if earns or costs:
            charged[each.name] += (earns + costs) * each.amount
    return Tally(income, expense, dict(charged))
