"""One frame of `cocoon top`: lines of text that fit a terminal, out of a node's snapshot. Pure.

Whatever peers named (a model, an outcome) is shown without what could steer the terminal, and cut to its
column: a frame has as many lines and letters as the terminal, and no more.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from cocoon_p2p.cli.spell import one_line
from cocoon_p2p.cli.status_lines import (
    spell_lately,
    spell_load,
    spell_money,
    spell_ready,
    spell_span,
)
from cocoon_p2p.units import format_ton

if TYPE_CHECKING:
    from cocoon_p2p.overview.snapshot import EntryView, Snapshot

BAR_LETTERS = 24
WIDTH_MIN = 20
HEIGHT_MIN = 4

Look = Literal["plain", "title", "good", "bad", "faint"]


@dataclass(frozen=True, slots=True)
class TopLine:
    """One line of the screen, and how it is to look where there are colours."""

    text: str
    look: Look = "plain"


def frame(seen: "Snapshot", *, width: int, height: int) -> list[TopLine]:
    """Draw a node for a terminal of this size, in letters and lines."""
    width, height = max(width, WIDTH_MIN), max(height, HEIGHT_MIN)
    above = list(_head(seen, width))
    foot = TopLine("q quits", "faint")
    room = height - len(above) - 1
    lines = [*above, *_entries(seen.recent, width, room)][: height - 1]
    return [TopLine(fit(line.text, width), line.look) for line in (*lines, foot)]


def fit(text: str, width: int) -> str:
    """Cut a text to a terminal's width, without what could steer the terminal."""
    letters, used = list[str](), 0
    for letter in one_line(text):
        used += _columns(letter)
        if used > width:
            return "".join(letters[:-1]) + "…" if letters else ""
        letters.append(letter)
    return "".join(letters)


def _columns(letter: str) -> int:
    from rich.cells import cell_len

    return cell_len(letter)


def _head(seen: "Snapshot", width: int) -> Iterator[TopLine]:
    up = spell_span(max(0.0, seen.now - seen.started_at))
    look: Look = "good" if seen.is_ready else "bad"
    yield TopLine(f"{seen.role} on {seen.network}  …{seen.peer[-8:]}  up {up}", "title")
    yield TopLine(spell_ready(seen), look)
    if seen.load is not None:
        yield TopLine(f"load   {_bar(seen, width)}{spell_load(seen.load)}")
    if seen.role != "bootstrap":
        yield TopLine(f"minute {spell_lately(seen.lately)}")
    yield TopLine(
        f"peers  {seen.health.connections.number} connected, {seen.health.servers} servers known,"
        f" {seen.reach.reachability}"
    )
    if seen.money is not None:
        yield TopLine(f"money  {spell_money(seen.money)}", "plain" if seen.money.chain != "away" else "bad")
    for finding in seen.findings:
        if finding.severity == "failure":
            yield TopLine(f"WRONG  {finding.check}: {finding.text}", "bad")
    yield TopLine("")


def _bar(seen: "Snapshot", width: int) -> str:
    load = seen.load
    if load is None or not load.slots_total or width < 60:
        return ""
    taken = min(max(load.slots_total - load.slots_free, 0), load.slots_total)
    full = round(BAR_LETTERS * taken / load.slots_total)
    return f"[{'#' * full}{'.' * (BAR_LETTERS - full)}] "


def _entries(recent: "Sequence[EntryView]", width: int, room: int) -> Iterable[TopLine]:
    if room < 2:
        return
    if not recent:
        yield TopLine("no exchange has ended yet", "faint")
        return
    model_letters = max(8, width - 54)
    yield TopLine(_columns_of(("ended", "model", "outcome", "s", "tokens", "TON"), model_letters), "faint")
    for entry in recent[: room - 1]:
        look: Look = "plain" if entry.outcome in ("finished", "cancelled") else "bad"
        yield TopLine(_columns_of(_cells(entry), model_letters), look)


def _cells(entry: "EntryView") -> tuple[str, ...]:
    ended = datetime.fromtimestamp(max(0.0, min(entry.began_at + entry.seconds, 4e9)), UTC)
    return (
        ended.strftime("%H:%M:%S"),
        entry.model,
        entry.outcome,
        f"{entry.seconds:.1f}",
        f"{entry.prompt_tokens}+{entry.completion_tokens}",
        format_ton(entry.income - entry.expense).removesuffix(" TON"),
    )


def _columns_of(cells: tuple[str, ...], model_letters: int) -> str:
    widths = (8, model_letters, 10, -6, -11, -13)
    return " ".join(_cell(fit(cell, abs(width)), width) for cell, width in zip(cells, widths, strict=True))


def _cell(text: str, width: int) -> str:
    from rich.cells import cell_len

    padding = " " * max(0, abs(width) - cell_len(text))
    return padding + text if width < 0 else text + padding
