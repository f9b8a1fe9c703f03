"""Who paid whom, read from the ledgers of nodes that have ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cocoon_p2p.config.folder import LEDGER
from cocoon_p2p.ledger import ChannelRow, Side, audit
from cocoon_p2p.payments.books import backing_of, channel_of_row
from cocoon_p2p.payments.channel import capacity
from cocoon_p2p.store import open_store
from cocoon_p2p.units import format_ton


@dataclass(frozen=True, slots=True)
class Entry:
    """One channel as one of its ends has it."""

    node: str
    row: ChannelRow
    capacity: int


@dataclass(frozen=True, slots=True)
class Books:
    """The channels of a whole network, from both ends, and what does not add up in them."""

    entries: tuple[Entry, ...]
    faults: tuple[str, ...]
    "A ledger whose replay differs from its rows, or a channel whose ends disagree. There should be none."

    @property
    def unspent(self) -> int:
        """What the client put into channels and has not spent, in nanoTON."""
        return sum(
            entry.capacity - entry.row.charged
            for entry in self.entries
            if entry.node == "client" and entry.row.name.side is Side.PAYER
        )

    @property
    def commission(self) -> int:
        """What the proxy was paid less what it paid, in nanoTON, by its own ledger."""
        return self.earned("proxy")

    def earned(self, node: str) -> int:
        """What a node was paid less what it paid, in nanoTON, by its own ledger."""
        signs = {Side.PAYEE: 1, Side.PAYER: -1}
        return sum(
            signs[entry.row.name.side] * entry.row.charged for entry in self.entries if entry.node == node
        )

    def print(self) -> None:
        """Print a table: each channel, and what each end says was charged on it."""
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, header_style="bold", title_justify="left")
        for name in ("payer", "payee", "by the payer's ledger", "by the payee's ledger"):
            table.add_column(name, justify="right" if "ledger" in name else "left")
        for payer in self.entries:
            payee = self.other_end(payer)
            if payer.row.name.side is Side.PAYER and payee is not None:
                table.add_row(
                    payer.node, payee.node, *(format_ton(end.row.charged) for end in (payer, payee))
                )
        kept = format_ton(self.commission)
        table.add_row("", "[italic]kept by the proxy[/italic]", kept, kept)
        console = Console()
        console.print(table)
        for fault in self.faults:
            console.print(f"[red]{fault}[/red]")

    def other_end(self, entry: Entry) -> Entry | None:
        """Find the same channel in the other party's ledger."""
        name = entry.row.name
        for other in self.entries:
            theirs = other.row.name
            if theirs.channel == name.channel and theirs.side is not name.side:
                return other
        return None


async def who_paid_whom(folder: Path, nodes: Sequence[str]) -> Books:
    """Read the ledgers of a local network's nodes and its client, all ended."""
    entries: list[Entry] = []
    faults: list[str] = []
    for node in ("client", *nodes):
        path = folder / f"{node}-data" / LEDGER
        if not path.exists():
            continue
        async with open_store(path) as store:
            rows, lines = await store.channels(), await store.lines()
        faults += [f"{node}: {fault}" for fault in audit(rows, lines)]
        entries += [Entry(node, row, capacity(channel_of_row(row), backing_of(row))) for row in rows]
    books = Books(tuple(entries), ())
    for entry in entries:
        other = books.other_end(entry)
        if entry.row.name.side is Side.PAYER and other and other.row.charged != entry.row.charged:
            faults.append(
                f"{entry.node} says {entry.row.charged} nanoTON were charged, {other.node} says "
                f"{other.row.charged} (channel={entry.row.name.channel.hex()[:16]})"
            )
    return Books(tuple(entries), tuple(faults))
