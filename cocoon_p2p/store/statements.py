"""How a change becomes statements, and rows become nouns again, whatever the database.

Two databases differ in their words for types and in their mark for a value. All else is made once,
from the columns in `schema`. Carrying a change out twice leaves what carrying it out once leaves.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, assert_never

from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.ledger import (
    DAY_SECONDS,
    Account,
    Change,
    ChannelForgotten,
    ChannelName,
    ChannelRow,
    Cost,
    Delivery,
    EndedForgotten,
    Evidence,
    ExchangeForgotten,
    ExchangeRow,
    Line,
    Note,
    Side,
    Status,
    Turnover,
)
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.store import schema
from cocoon_p2p.store.schema import Kind, Table

T = TypeVar("T")

# What a driver gives for a row: the columns' types are the schema's word.
Columns: TypeAlias = tuple[Any, ...]
Statement: TypeAlias = tuple[str, Sequence[object]]


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A question to a database, and what each row of the answer means."""

    text: str
    noun: Callable[[Columns], T]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A database's own words."""

    kinds: Mapping[Kind, str]
    mark: str
    "Stands for a value."

    ending: str = ""
    "What follows a table's columns."

    narrow_ending: str = ""
    "The same for one with small rows."


class Statements:
    """All that is ever said to one kind of database.

    Attributes:
        schema: Makes the tables.
        added: Makes those that an older ledger may lack; where they are there, it does nothing.
    """

    def __init__(self, dialect: Dialect) -> None:
        def spell(text: str) -> str:
            return text.replace("?", dialect.mark)

        self.schema = tuple(text for table in schema.TABLES for text in _create(table, dialect))
        self.added = tuple(
            text.replace("create table", "create table if not exists", 1)
            for table in schema.ADDED
            for text in _create(table, dialect)
        )
        self._write = {table.name: spell(_upsert(table)) for table in schema.TABLES}
        self._forget_channel = tuple(
            spell(f"delete from {table} where channel = ? and side = ?")  # noqa: S608 (names of ours)
            for table in ("lines", "deliveries", "channels")
        )
        self._forget_exchange = spell("delete from exchanges where exchange = ? and channel = ? and side = ?")
        self._forget_ended = spell("delete from exchanges where at < ? and status = 3")
        self._forget_note = spell("delete from notes where key = ?")

        self.channels = Query(_select(schema.CHANNELS), _channel)
        self.exchanges = Query(spell(_select(schema.EXCHANGES, "where exchange = ?")), _exchange)
        self.unsettled = Query(_select(schema.EXCHANGES, "where status < 3"), _exchange)
        self.lines = Query(_select(schema.LINES, "order by channel, side, number"), _line)
        self.evidence = Query(
            spell(
                "select reason, paper from evidence where channel = ? and side = ?"
                " order by at, reason, number"
            ),
            _pair,
        )
        self.turnover = Query(spell(_TURNOVER), _turnover)
        self.notes = Query(
            spell("select key, value from notes where substr(key, 1, length(?)) = ? order by key"), _pair
        )

    def of(self, change: Change) -> Iterator[Statement]:
        """Give the statements that carry a change out."""
        match change:
            case ChannelRow():
                yield self._write["channels"], (*_key(change.name), *_CHANNEL_VALUES(change))
            case ExchangeRow():
                yield self._write["exchanges"], (*_key(change.name), *_EXCHANGE_VALUES(change))
            case Line():
                yield self._write["lines"], (*_key(change.name), *_LINE_VALUES(change))
            case Evidence():
                for number, paper in enumerate(change.papers):
                    named = (*_key(change.name), change.reason, number, sha256(paper).digest())
                    yield self._write["evidence"], (*named, paper, change.at)
            case Delivery():
                yield self._write["deliveries"], (*_key(change.name), *_DELIVERY_VALUES(change))
            case Cost():
                values = (change.account, change.lt, change.what, change.amount, change.at)
                yield self._write["costs"], values
            case Note(key=key, value=None):
                yield self._forget_note, (key,)
            case Note():
                yield self._write["notes"], (change.key, change.value)
            case ChannelForgotten():
                for text in self._forget_channel:
                    yield text, _key(change.name)
            case ExchangeForgotten():
                yield self._forget_exchange, (change.exchange, *_key(change.name))
            case EndedForgotten():
                yield self._forget_ended, (change.before,)
            case _:
                assert_never(change)


class Connection(Protocol):
    """What carries statements out: sqlite3's connections, and our sessions with PostgreSQL."""

    def execute(self, text: str, values: Sequence[Any] = ..., /) -> object: ...


def write_each(
    connection: Connection,
    statements: Statements,
    batch: Sequence[Sequence[Change]],
    bad_values: tuple[type[Exception], ...],
) -> Sequence[LocalProtocolError | None]:
    """Carry many callers' changes out in the transaction that stands, each caller's or none of them.

    Args:
        bad_values: What the driver raises for values that no table takes.

    Returns:
        For each caller, why none of its changes were carried out, if so.
    """

    def write_one(changes: Sequence[Change]) -> LocalProtocolError | None:
        error: LocalProtocolError | None = None
        connection.execute("savepoint caller")
        try:
            for change in changes:
                for text, values in statements.of(change):
                    connection.execute(text, values)
        except bad_values as exc:
            # Its first line: in others PostgreSQL shows the row, and there are keys in rows.
            error = LocalProtocolError(
                f"the ledger does not take these changes: {str(exc).partition(chr(10))[0]}"
            )
            connection.execute("rollback to caller")
        connection.execute("release caller")
        return error

    return [write_one(changes) for changes in batch]


def _create(table: Table, dialect: Dialect) -> Iterator[str]:
    parts: list[str] = []
    for column in table.columns:
        null = "" if column.optional else " not null"
        check = f" check ({column.name} >= 0)" if column.kind is Kind.AMOUNT else ""
        parts.append(f"{column.name} {dialect.kinds[column.kind]}{null}{check}")
    parts.append(f"primary key ({', '.join(table.key)})")
    ending = dialect.narrow_ending if table.is_narrow else dialect.ending
    yield f"create table {table.name} ({', '.join(parts)}){ending}"
    for index in table.indexes:
        where = index.where and f" where {index.where}"
        yield f"create index {table.name}_by_{index.columns} on {table.name} ({index.columns}){where}"


def _upsert(table: Table) -> str:
    names = [column.name for column in table.columns]
    changing = [column.name for column in table.columns if not column.fixed and column.name not in table.key]
    updates = ", ".join(f"{name} = excluded.{name}" for name in changing)
    return (
        f"insert into {table.name} ({', '.join(names)}) values ({', '.join('?' * len(names))})"  # noqa: S608 (names of ours)
        f" on conflict ({', '.join(table.key)}) do update set {updates}"
    )


def _select(table: Table, rest: str = "") -> str:
    return f"select {', '.join(column.name for column in table.columns)} from {table.name} {rest}"  # noqa: S608 (names of ours)


def _values(table: Table) -> Callable[[object], tuple[object, ...]]:
    return attrgetter(*(column.name for column in table.columns[2:]))


_CHANNEL_VALUES = _values(schema.CHANNELS)
_EXCHANGE_VALUES = _values(schema.EXCHANGES)
_LINE_VALUES = _values(schema.LINES)
_DELIVERY_VALUES = _values(schema.DELIVERIES)


def _key(name: ChannelName) -> tuple[bytes, int]:
    return name.channel, name.side


def _name(row: Columns) -> ChannelName:
    return ChannelName(Side(row[1]), ChannelId(row[0]))


def _channel(row: Columns) -> ChannelRow:
    read = ChannelRow(_name(row), *row[2:])
    return replace(read, is_settled=bool(read.is_settled))


def _exchange(row: Columns) -> ExchangeRow:
    return ExchangeRow(_name(row), row[2], Status(row[3]), *row[4:])


def _line(row: Columns) -> Line:
    return Line(_name(row), row[2], Account(row[3]), Account(row[4]), *row[5:])


# One statement, so that all of it is of one moment: what was booked, what was delivered for it, what it cost.
_TURNOVER = f"""
select lines.channel, lines.side, lines.at / {DAY_SECONDS}, coalesce(model, ''), 0, 0, 0, 0, 0, 0,
    sum(amount * (case {Account.INCOME:d} when source then 1 when target then -1 else 0 end)),
    sum(amount * (case {Account.EXPENSE:d} when target then 1 when source then -1 else 0 end)),
    sum(amount * (case {Account.FEES:d} when target then 1 else 0 end))
from lines left join deliveries
    on deliveries.channel = lines.channel and deliveries.side = lines.side
    and deliveries.exchange = lines.exchange
where lines.at >= ? and lines.at < ? and (
    source in ({Account.INCOME:d}, {Account.EXPENSE:d})
    or target in ({Account.INCOME:d}, {Account.EXPENSE:d}, {Account.FEES:d})
) group by 1, 2, 3, 4
union all
select channel, side, at / {DAY_SECONDS}, model, count(*),
    sum(prompt), sum(cached), sum(completion), sum(reasoning), sum(commission), 0, 0, 0
from deliveries where at >= ? and at < ? group by 1, 2, 3, 4
union all
select null, 0, at / {DAY_SECONDS}, what, 0, 0, 0, 0, 0, 0, 0, 0, sum(amount)
from costs where at >= ? and at < ? group by 3, 4
"""  # noqa: S608 (numbers of ours)


def _turnover(row: Columns) -> Turnover:
    # PostgreSQL's sums are decimals.
    counts = dict(zip(_COUNTS, map(int, row[4:]), strict=True))
    return Turnover(name=_name(row) if row[1] else None, day=int(row[2]), label=row[3], **counts)


_COUNTS = (
    "exchanges",
    "prompt",
    "cached",
    "completion",
    "reasoning",
    "commission",
    "income",
    "expense",
    "fees",
)


def _pair(row: Columns) -> tuple[str, bytes]:
    return row[0], row[1]
