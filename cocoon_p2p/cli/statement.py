"""A statement of a node's money on stdout: a table for people, CSV for their books, JSON for programs.

CSV as RFC 4180 has it: commas, CRLF, and quotes where a cell needs them. A model's name is a worker's word,
so one that a spreadsheet would take for a formula has an apostrophe put before it.
"""

import csv
import io
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.amounts import ton
from cocoon_p2p.cli.node_folder import ask_or_read
from cocoon_p2p.cli.spell import harmless
from cocoon_p2p.cli.tables import UNIT, print_json, print_table

if TYPE_CHECKING:
    from cocoon_p2p.overview.statement import StatementLine, Totals

FOR_EVER = 253_402_300_800
"The first second of the year 10000, since the Unix epoch: what dates can spell ends before it."

_FORMULA = re.compile(r"\s*[=+\-@\uff0b\uff0d\uff1d\uff20]|[\t\r\n]")
"What a spreadsheet reads a formula behind, full-width spellings too."

_NEXT_CELL = re.compile(r"([;\n])(?=\s*[=+\-@\uff0b\uff0d\uff1d\uff20])")
"Where numbers have decimal commas, a semicolon begins a cell, and quotes within one count for nothing."

_SHOWN = ("day", "kind", "model", "peer", "exchanges", "tokens in", "tokens out")
_AMOUNTS = ("income", "expense", "commission", "fees")


def span_of(month: str | None, first: str | None, last: str | None) -> tuple[int, int]:
    """Read which days are meant, both ends within; what is left out is open.

    Returns:
        The first second, and the first one after it, since the Unix epoch.

    Raises:
        ValueError: They cannot be read, or the last comes before the first.
    """
    if month is not None:
        if first is not None or last is not None:
            raise ValueError("--month says both ends: leave out --from and --to")
        begin = _day(month + "-01", month, "a month (2026-11)")
        return _second(begin), _second(_next_month(begin))
    since = 0 if first is None else _second(_day(first, first, "a day (2026-11-01)"))
    until = FOR_EVER if last is None else _second(_day(last, last, "a day (2026-11-30)")) + 24 * 3600
    if until <= since:
        raise ValueError(f"the last day comes before the first (--from {first} --to {last})")
    return since, until


def print_statement(folder: Path, since: int, until: int, *, as_csv: bool, as_json: bool) -> None:
    """Ask the node, or read its ledger, and print what it was paid and what it paid in a span."""
    from cocoon_p2p.control import follow
    from cocoon_p2p.overview import STATEMENT, MakeStatement, statement_in
    from cocoon_p2p.overview.statement import Statement, total

    source, lines = ask_or_read(
        folder,
        lambda socket: list(follow(socket, STATEMENT, MakeStatement(since, until))),
        lambda ledger: statement_in(ledger, since, until),
    )
    if as_csv:
        click.echo(spell_csv(lines), nl=False)
    elif as_json:
        print_json({"source": source, "statement": Statement(since, until, lines, total(lines))})
    else:
        _print_lines(lines, total(lines))


def spell_csv(lines: Sequence["StatementLine"]) -> str:
    """Spell a statement as CSV, its header first."""
    from cocoon_p2p.overview.statement import COLUMNS

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow(_cell(getattr(line, name)) for name in COLUMNS)
    return out.getvalue()


def _cell(value: str | int) -> str | int:
    if isinstance(value, int):
        return value
    text = _NEXT_CELL.sub(r"\1'", harmless(value))
    return f"'{text}" if _FORMULA.match(text) else text


def _print_lines(lines: Sequence["StatementLine"], sums: "Totals") -> None:
    rows: list[tuple[str, ...]] = [
        (
            *(line.day, line.kind, line.model, line.peer[-8:], f"{line.exchanges:,}"),
            f"{line.prompt_tokens + line.cached_tokens:,}",
            f"{line.completion_tokens + line.reasoning_tokens:,}",
            *map(ton, (line.income_nano, line.expense_nano, line.commission_nano, line.fees_nano)),
        )
        for line in lines
    ]
    rows.append(("all", *[""] * 6, ton(sums.income_nano), ton(sums.expense_nano), "", ton(sums.fees_nano)))
    print_table((*_SHOWN, *_AMOUNTS), rows, amounts=(*_SHOWN[4:], *_AMOUNTS))
    click.echo(f"left, fees taken off: {ton(sums.difference_nano)}", err=True)
    click.echo(UNIT, err=True)


def _day(text: str, given: str, what: str) -> date:
    try:
        # `fromisoformat` alone would take weeks and days without dashes too.
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        day = date.fromisoformat(text)
        if day.year < 1970:
            raise ValueError
    except ValueError:
        raise ValueError(f"{given!r} is not {what}") from None
    return day


def _next_month(day: date) -> date | None:
    return (
        date(day.year + day.month // 12, day.month % 12 + 1, 1)
        if (day.year, day.month) < (9999, 12)
        else None
    )


def _second(day: date | None) -> int:
    """Give a day's first second; for a day that no calendar here has, the end of all."""
    return FOR_EVER if day is None else int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
