"""Facts on stdout: as a table for people, as JSON for programs."""

from collections.abc import Collection, Iterable, Sequence

import click

from cocoon_p2p.cli.spell import one_line

UNIT = "amounts in TON"
_WIDTH = 1_000


def print_json(facts: object) -> None:
    """Print one JSON object, or whatever else `msgspec` spells."""
    import msgspec

    click.echo(msgspec.json.encode(facts).decode())


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, amounts: Collection[str] = ()
) -> None:
    """Print rows; those of the columns in `amounts` stand on the right."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in amounts else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(one_line(cell)) for cell in row))
    # A figure that is cut off to fit a terminal, or a file, is another figure.
    Console(width=_WIDTH).print(table)
