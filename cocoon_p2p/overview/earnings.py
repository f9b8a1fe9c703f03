"""What a node was paid and what it paid, by peer and by day, out of its books.

Income is what was charged to those who pay us, an expense what we were charged; each counts on
the day (UTC) on which it was booked, whether it was collected from a chain or not. A charge that
was lowered later counts against the day on which it was.

Of what we are paid through contracts it is said as well what they have paid, and what they have not.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from cocoon_p2p.control import Request, Verb
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.ledger import Account, ChannelName, ChannelRow, Line, Side, Store
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.store.reading import read_ledger

K = TypeVar("K")

DAY_SECONDS = 24 * 3600
_UNKNOWN = "unknown"


class SumEarnings(Request, tag="earnings", frozen=True):
    """Ask for the sums since a time."""

    since: int = 0
    "Seconds since the Unix epoch."


class Sums(msgspec.Struct, frozen=True):
    """What came in and what went out, in nanoTON."""

    income_nano: int = 0
    expense_nano: int = 0
    difference_nano: int = 0


class Earnings(msgspec.Struct, frozen=True):
    """The sums in a span."""

    since: int
    total: Sums
    peers: dict[str, Sums]
    "By peer id, the one we gained most from first."

    days: dict[str, Sums]
    "By day (`2026-11-01`, UTC), in order. Days on which nothing was booked are left out."

    collected_nano: int
    "What contracts have paid us in the span, before what a claim costs."

    uncollected_nano: int
    "What is vouchered to us on contracts now, and not collected yet."


EARNINGS = Verb(SumEarnings, Earnings)


def earnings_of(ledger: Path) -> Callable[[SumEarnings], Awaitable[Earnings]]:
    """Say what carries the verb out in the node that owns a ledger file.

    Books can be long: they are read in a thread, for one who asks at a time, whatever becomes of him.
    """
    limiter = trio.CapacityLimiter(1)

    async def sum_earnings(request: SumEarnings) -> Earnings:
        return await trio.to_thread.run_sync(
            earnings_in, ledger, request.since, abandon_on_cancel=True, limiter=limiter
        )

    return sum_earnings


def earnings_from(store: Store) -> Callable[[SumEarnings], Awaitable[Earnings]]:
    """Say what carries the verb out in the node whose ledger is on a server: its books are read whole."""
    limiter = trio.CapacityLimiter(1)

    async def sum_earnings(request: SumEarnings) -> Earnings:
        async with limiter:
            lines, rows = await store.lines(), await store.channels()
            return await trio.to_thread.run_sync(reckon, lines, rows, request.since)

    return sum_earnings


def earnings_in(ledger: Path, since: int) -> Earnings:
    """Reckon what the books in a ledger file say.

    Raises:
        ConfigurationError: There is none.
        Unavailable: It cannot be read.
    """
    with read_ledger(ledger) as reading:
        return reckon(reading.lines(), reading.channels(), since)


def reckon(lines: Iterable[Line], rows: Iterable[ChannelRow], since: int) -> Earnings:
    """Add up the lines that were booked at `since` (seconds since the Unix epoch) or later.

    Args:
        lines: The books.
        rows: Every channel.
        since: Seconds since the Unix epoch.
    """
    peers: dict[ChannelName, PeerId] = {}
    uncollected: dict[ChannelName, int] = {}
    for row in rows:
        peers[row.name] = row.peer
        if row.name.side is Side.PAYEE and row.epoch:
            uncollected[row.name] = uncollected_of(row)
    collected = 0
    by_channel: dict[ChannelName, tuple[int, int]] = {}
    by_day: dict[int, tuple[int, int]] = {}
    for line in lines:
        if line.at >= since and line.target is Account.WALLET and line.name in uncollected:
            collected += line.amount
        if line.at >= since and (moved := _moved(line)) != (0, 0):
            _add(by_channel, line.name, moved)
            _add(by_day, line.at // DAY_SECONDS, moved)
    by_peer: dict[str, tuple[int, int]] = {}
    for name, sums in by_channel.items():
        _add(by_peer, peer_id_text(peers[name]) if name in peers else _UNKNOWN, sums)
    return Earnings(
        since,
        _sums((sum(income for income, _ in by_day.values()), sum(expense for _, expense in by_day.values()))),
        {peer: _sums(sums) for peer, sums in sorted(by_peer.items(), key=lambda item: _rank(*item))},
        {_spell_day(day): _sums(sums) for day, sums in sorted(by_day.items())},
        collected_nano=collected,
        uncollected_nano=sum(uncollected.values()),
    )


def uncollected_of(row: ChannelRow) -> int:
    """Say what a payee's channel with a contract has to collect yet, in nanoTON."""
    if row.is_settled:
        return 0
    # Both have agreed to a close at what was charged: vouchers beyond it are worth nothing.
    due = row.charged if row.phase == Phase.CLOSED else row.vouchered
    return max(due - row.claimed, 0)


def _moved(line: Line) -> tuple[int, int]:
    """Give what a line adds to income and to expense."""
    income = (line.source is Account.INCOME) - (line.target is Account.INCOME)
    expense = (line.target is Account.EXPENSE) - (line.source is Account.EXPENSE)
    return income * line.amount, expense * line.amount


def _rank(peer: str, sums: tuple[int, int]) -> tuple[int, str]:
    return sums[1] - sums[0], peer


def _add(tally: dict[K, tuple[int, int]], key: K, more: tuple[int, int]) -> None:
    income, expense = tally.get(key, (0, 0))
    tally[key] = income + more[0], expense + more[1]


def _sums(sums: tuple[int, int]) -> Sums:
    income, expense = sums
    return Sums(income, expense, income - expense)


def _spell_day(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).date().isoformat()
