"""A statement for a node's owner, or a tax office: what came in, went out and was paid in fees, line by line.

One line a day (UTC), kind, model and peer. Its sums are the ledger's, to the nanoTON:

    sold      what others owe us; `commission`: what of it we keep for carrying it, as a proxy
    bought    what we owe; `commission`: what of it is the proxy's
    storage   what the chain took out of our deposits
    wallet    what our wallet paid for its own transactions
    claim     what collecting took off what a contract paid out to us

A charge that was lowered later counts against the day on which it was. Tokens, and which model they were
of, are kept beside the books since this version: of what is older, and of what broke off without the
worker's receipt, the model is empty and there are no tokens. Fees are those that this node saw.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from operator import add
from pathlib import Path

import msgspec
import trio

from cocoon_p2p.control import Answer, Feed, Request
from cocoon_p2p.control.verbs import Say
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.ledger import DAY_SECONDS, ChannelRow, Side, Store, Turnover
from cocoon_p2p.store.reading import read_ledger

UNKNOWN = "unknown"
"In place of a peer whose channel's row is lost."

_SILENT_SECONDS = 60.0


class MakeStatement(Request, tag="statement", frozen=True):
    """Ask for a statement, one line a reply."""

    since: int
    until: int
    "In seconds since the Unix epoch; `until` is the first second after it."


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line. The names are the columns of its CSV, and stay. Amounts are in nanoTON."""

    day: str
    "`2026-11-01`, UTC."

    kind: str
    model: str
    "A worker's word for it; empty for what is of no model, or of one that is not known."

    peer: str
    exchanges: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    "The four classes do not overlap."

    income_nano: int = 0
    expense_nano: int = 0
    commission_nano: int = 0
    "Within the income or the expense beside it."

    fees_nano: int = 0


class Totals(msgspec.Struct, frozen=True):
    """All lines, added up, in nanoTON.

    Tokens and commissions are left out: what a proxy sells it has bought, and both are lines.
    """

    income_nano: int
    expense_nano: int
    fees_nano: int
    difference_nano: int
    "The income, less the other two."


class Statement(msgspec.Struct, frozen=True):
    """A statement as JSON."""

    since: int
    until: int
    "In seconds since the Unix epoch; `until` is the first second after it."

    lines: list[StatementLine]
    total: Totals


COLUMNS = StatementLine.__struct_fields__
FIGURES = COLUMNS[4:]

STATEMENT = Feed(MakeStatement, StatementLine, silent_seconds=_SILENT_SECONDS)


def statement_from(store: Store) -> Answer:
    """Carry the verb out in a running node: for one who asks at a time, as books can be long."""
    limiter = trio.CapacityLimiter(1)

    async def tell(request: MakeStatement, say: Say[StatementLine]) -> None:
        async with limiter:
            turnovers, rows = await store.turnover(request.since, request.until), await store.channels()
            lines = await trio.to_thread.run_sync(draw_up, turnovers, rows)
        for line in lines:
            await say(line)

    return STATEMENT.by(tell)


def statement_in(ledger: Path, since: int, until: int) -> list[StatementLine]:
    """Draw a statement up from a ledger file.

    Raises:
        ConfigurationError: There is none.
        Unavailable: It cannot be read.
    """
    with read_ledger(ledger) as reading:
        return draw_up(reading.turnover(since, until), reading.channels())


def draw_up(turnovers: Iterable[Turnover], rows: Iterable[ChannelRow]) -> list[StatementLine]:
    """Put sums in lines, in order of day, kind, model and peer.

    Args:
        turnovers: Those of the span.
        rows: Every channel: whose it is.
    """
    peers = {row.name: peer_id_text(row.peer) for row in rows}
    sums: defaultdict[tuple[int, str, str, str], tuple[int, ...]] = defaultdict(lambda: (0,) * len(FIGURES))

    def put(each: Turnover, kind: str, model: str, figures: tuple[int, ...]) -> None:
        peer = "" if each.name is None else peers.get(each.name, UNKNOWN)
        key = each.day, kind, model, peer
        sums[key] = tuple(map(add, sums[key], figures))

    for each in turnovers:
        if each.name is None:
            put(each, each.label, "", (0, 0, 0, 0, 0, 0, 0, 0, each.fees))
            continue
        kind = "sold" if each.name.side is Side.PAYEE else "bought"
        tokens = (each.prompt, each.cached, each.completion, each.reasoning)
        put(each, kind, each.label, (each.exchanges, *tokens, each.income, each.expense, each.commission, 0))
        put(each, "storage", "", (0, 0, 0, 0, 0, 0, 0, 0, each.fees))
    return [
        StatementLine(
            day=_spell_day(day), kind=kind, model=model, peer=peer, **dict(zip(FIGURES, figures, strict=True))
        )
        for (day, kind, model, peer), figures in sorted(sums.items())
        if any(figures)
    ]


def total(lines: Iterable[StatementLine]) -> Totals:
    """Add all lines up."""
    income = expense = fees = 0
    for line in lines:
        income += line.income_nano
        expense += line.expense_nano
        fees += line.fees_nano
    return Totals(income, expense, fees, income - expense - fees)


def _spell_day(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).date().isoformat()
