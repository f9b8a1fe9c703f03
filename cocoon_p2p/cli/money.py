"""`cocoon channels`, `cocoon earnings`: what a node has in channels, what it was paid and what it paid.

Both ask the running node, and read its ledger where none answers; they say which it was.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.node_folder import ask_or_read, of_node
from cocoon_p2p.cli.spell import harmless
from cocoon_p2p.units import format_ton

if TYPE_CHECKING:
    from cocoon_p2p.overview import ChannelView, Earnings, Sums

_SECONDS = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_WIDTH = 1_000
_UNIT = "amounts in TON"
_AMOUNTS = frozenset(
    ("capacity", "vouchered", "charged", "running", "credit", "income", "expense", "difference")
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; amounts in nanoTON.")


# ---------------------------------------------------------------- channels


@click.group()
def channels() -> None:
    """Look after a node's payment channels."""


@channels.command("list")
@of_node
@_json
def list_channels(folder: Path, as_json: bool) -> None:
    """Show every channel of a node, those that pay it and those that it pays through."""
    from cocoon_p2p.control import follow
    from cocoon_p2p.overview import CHANNELS, ListChannels, channels_in

    source, views = ask_or_read(
        folder, lambda socket: list(follow(socket, CHANNELS, ListChannels())), channels_in
    )
    if as_json:
        _print_json({"source": source, "channels": views})
    else:
        _print_channels(views)
        click.echo(_UNIT, err=True)


def _print_channels(views: Sequence["ChannelView"]) -> None:
    _print_table(
        ("side", "peer", "phase", "capacity", "vouchered", "charged", "running", "credit", "connected"),
        [
            (
                view.side,
                f"…{view.peer[-8:]}",
                view.phase,
                *map(_ton, (view.capacity_nano, view.vouchered_nano, view.charged_nano)),
                *map(_ton, (view.running_nano, view.credit_nano)),
                {True: "yes", False: "no", None: "?"}[view.is_connected],
            )
            for view in views
        ],
    )


# ---------------------------------------------------------------- earnings


def parse_since(text: str, *, now: float) -> int:
    """Read a day (`2026-11-01`: its first second, UTC) or a duration before `now` (`12h`).

    Returns:
        Seconds since the Unix epoch.

    Raises:
        ValueError: It is neither.
    """
    if span := re.fullmatch(r"([0-9]{1,6})([mhdw])", text):
        return max(int(now) - int(span[1]) * _SECONDS[span[2]], 0)
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a day (2026-11-01) nor a duration (30m, 12h, 7d, 2w)"
        ) from None
    return max(int(day.timestamp()), 0)


def _since(_context: click.Context, _option: click.Parameter, text: str | None) -> int:
    if text is None:
        return 0
    try:
        return parse_since(text, now=time.time())
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


@click.command()
@of_node
@click.option(
    "--since",
    metavar="DATE|DURATION",
    callback=_since,
    help="From this day (2026-11-01, UTC) or for so long (12h, 7d, 2w). By default all there is.",
)
@_json
def earnings(folder: Path, since: int, as_json: bool) -> None:
    """Show what a node was paid and what it paid, by peer and by day, from its books."""
    from cocoon_p2p.control import ask
    from cocoon_p2p.overview import EARNINGS, SumEarnings, earnings_in

    source, sums = ask_or_read(
        folder,
        lambda socket: ask(socket, EARNINGS, SumEarnings(since)),
        lambda ledger: earnings_in(ledger, since),
    )
    if as_json:
        _print_json({"source": source, "earnings": sums})
    else:
        _print_earnings(sums)
        click.echo(_UNIT, err=True)


def _print_earnings(earned: "Earnings") -> None:
    _print_sums("peer", earned.peers, earned.total)
    click.echo()
    _print_sums("day", earned.days, earned.total)


def _print_sums(what: str, parts: Mapping[str, "Sums"], total: "Sums") -> None:
    _print_table(
        (what, "income", "expense", "difference"),
        [
            (name, *map(_ton, (sums.income_nano, sums.expense_nano, sums.difference_nano)))
            for name, sums in (*parts.items(), ("all", total))
        ],
    )


# ---------------------------------------------------------------- spelling


def _print_json(facts: object) -> None:
    import msgspec

    click.echo(msgspec.json.encode(facts).decode())


def _ton(amount: int | None) -> str:
    return "?" if amount is None else format_ton(amount).removesuffix(" TON")


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows on stdout; money is in TON, exact to the nanoTON."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in _AMOUNTS else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(harmless(cell)) for cell in row))
    # A figure that is cut off to fit a terminal, or a file, is another figure.
    Console(width=_WIDTH).print(table)
