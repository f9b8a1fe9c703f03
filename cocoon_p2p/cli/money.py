"""`cocoon earnings`: what a node was paid and what it paid.

It asks the running node, and reads its ledger where none answers, and says which it was.
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.amounts import ton
from cocoon_p2p.cli.node_folder import ask_or_read, of_node
from cocoon_p2p.cli.tables import UNIT, print_json, print_table

if TYPE_CHECKING:
    from cocoon_p2p.overview import Earnings, Sums

_SECONDS = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}

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
@click.option("--statement", is_flag=True, help="A statement: by day, model and peer, with tokens and fees.")
@click.option("--month", metavar="MONTH", help="Of a statement: this month (2026-11, UTC).")
@click.option("--from", "first", metavar="DATE", help="Of a statement: its first day.")
@click.option("--to", "last", metavar="DATE", help="Of a statement: its last day, which is in it.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a statement as CSV; amounts in nanoTON.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; amounts in nanoTON.")
def earnings(
    folder: Path,
    since: int,
    *,
    statement: bool,
    month: str | None,
    first: str | None,
    last: str | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show what a node was paid and what it paid, by peer and by day, from its books.

    Below it: what contracts on the chain have paid it in that time, and what it has vouchers for and has
    not collected yet. Amounts are in TON.

    With --statement: a line a day, model and peer, whose sums are the ledger's to the nanoTON.
    """
    if statement:
        _state(folder, since, (month, first, last), as_csv=as_csv, as_json=as_json)
        return
    if as_csv or (month, first, last) != (None, None, None):
        raise click.UsageError("--month, --from, --to and --csv are a statement's: add --statement")
    from cocoon_p2p.control import ask
    from cocoon_p2p.overview import EARNINGS, SumEarnings, earnings_in

    source, sums = ask_or_read(
        folder,
        lambda socket: ask(socket, EARNINGS, SumEarnings(since)),
        lambda ledger: earnings_in(ledger, since),
    )
    if as_json:
        print_json({"source": source, "earnings": sums})
    else:
        _print_earnings(sums)
        click.echo(UNIT, err=True)


def _state(
    folder: Path,
    since: int,
    span: tuple[str | None, str | None, str | None],
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    from cocoon_p2p.cli.statement import print_statement, span_of

    if as_csv and as_json:
        raise click.UsageError("--csv and --json: give one of them")
    if since:
        raise click.UsageError("--since is not a statement's, which has whole days: use --from")
    try:
        begin, end = span_of(*span)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    print_statement(folder, begin, end, as_csv=as_csv, as_json=as_json)


def _print_earnings(earned: "Earnings") -> None:
    _print_sums("peer", earned.peers, earned.total)
    click.echo()
    _print_sums("day", earned.days, earned.total)
    click.echo()
    print_table(
        ("of contracts", "amount"),
        [
            ("collected", ton(earned.collected_nano)),
            ("vouchered, not collected yet", ton(earned.uncollected_nano)),
        ],
        amounts=("amount",),
    )


def _print_sums(what: str, parts: Mapping[str, "Sums"], total: "Sums") -> None:
    print_table(
        (what, "income", "expense", "difference"),
        [
            (name, *map(ton, (sums.income_nano, sums.expense_nano, sums.difference_nano)))
            for name, sums in (*parts.items(), ("all", total))
        ],
        amounts=("income", "expense", "difference"),
    )
