"""A ledger in a PostgreSQL database: psycopg in threads, a batch in one pipeline.

A batch is one transaction, sent without waiting for any of its answers. Where one caller's values are
refused the whole of it is undone and done once more with a savepoint a caller; only a fault of ours
makes values that are refused, so the way without savepoints is the usual one.

The session that writes also holds the ledger's lock. So whoever lost the lock has lost the way to write too,
and a server that restarts in the middle cannot have two writers. A session that ends is not opened
again: nobody knows whether its last commit landed, or who owned the ledger meanwhile. The node ends,
and starts again from what is on disk.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from typing import TypeVar

import psycopg
import trio

from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.ledger import Change, ExchangeRow
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.store.group_commit import DatabaseStore, writing
from cocoon_p2p.store.postgres_claim import claim
from cocoon_p2p.store.postgres_session import Parameters, Session, parse_url
from cocoon_p2p.store.recent import KNOWN_MAX, RecentExchanges
from cocoon_p2p.store.schema import Kind
from cocoon_p2p.store.statements import Columns, Dialect, Query, Statements, write_each

T = TypeVar("T")

LOOK_UP_SECONDS = 5.0
"A look-up holds up the whole node, so it has less time than other calls."

IDLE_SECONDS = 5.0
"An idle ledger looks after its server so often."

STATEMENTS = Statements(
    Dialect(
        # Names sort as bytes do, as in SQLite, and not by the rules of some language.
        kinds={
            Kind.BLOB: "bytea",
            Kind.TEXT: 'text collate "C"',
            Kind.NUMBER: "bigint",
            Kind.AMOUNT: "bigint",
        },
        mark="%b",
    )
)

_KNOWN = Query("select distinct exchange from exchanges limit %b", lambda row: ExchangeId(row[0]))

# What the server, or psycopg before it, says of values that no table takes.
_BAD_VALUES = (
    *(psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded),
    *(OverflowError, UnicodeError),
)


class PostgresDatabase:
    """A ledger's rows in a PostgreSQL database (`group_commit.Database`)."""

    statements = STATEMENTS

    def __init__(self, parameters: Parameters, writer: Session, reader: Session) -> None:
        self._parameters = parameters
        self._writer = writer
        self._reader = reader
        self._recent = RecentExchanges(reader.ask(_KNOWN, (KNOWN_MAX + 1,)))

    def write(self, batch: Sequence[Sequence[Change]]) -> Sequence[LocalProtocolError | None]:
        with self._writer.limited("written"):
            try:
                self._write_all(batch)
            except _BAD_VALUES:
                self._writer.execute("rollback")
            else:
                return [None] * len(batch)
            self._writer.execute("begin")
            errors = write_each(self._writer, self.statements, batch, _BAD_VALUES)
            _check_committed(self._writer.execute("commit"))
            return errors

    def _write_all(self, batch: Sequence[Sequence[Change]]) -> None:
        execute = self._writer.execute
        with self._writer.connection.pipeline():
            execute("begin", prepare=True)
            for changes in batch:
                for change in changes:
                    for text, values in self.statements.of(change):
                        execute(text, values, prepare=True)
            committing = execute("commit", prepare=True)
        _check_committed(committing)

    def read(self, query: Query[T], values: Sequence[object]) -> Sequence[T]:
        with closing(Session(self._parameters)) as session:
            return session.ask(query, values)

    def exchanges(self, exchange: ExchangeId) -> Sequence[ExchangeRow]:
        rows = self._recent.find(exchange)
        if rows is None:
            rows = self._reader.ask(self.statements.exchanges, (exchange,), LOOK_UP_SECONDS)
            self._recent.keep(exchange, rows)
        return rows

    def landed(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._recent.landed(change)


def _check_committed(cursor: "psycopg.Cursor[Columns]") -> None:
    # A server answers the commit of a broken transaction with ROLLBACK, and calls it no error.
    if cursor.statusmessage != "COMMIT":
        raise psycopg.OperationalError(f"the commit was answered with {cursor.statusmessage}")


@asynccontextmanager
async def open_server(url: str) -> AsyncIterator[DatabaseStore]:
    """Own the ledger in a PostgreSQL database while the block runs; create it if there is none.

    On leaving, also when cancelled, what was handed over is written first.

    Args:
        url: `postgresql://user@host:5432/database`, or what else libpq takes; no password. The database
            is the ledger's own, or the schema that comes first in its `search_path` is. No pooler that
            shares sessions may stand between.

    Raises:
        ConfigurationError: Another process owns it, it is no ledger, it is another version's, or the
            URL cannot be used.
        Unavailable: There is no server; or out of the block, when it fails: everything in it is cancelled.
    """
    parameters = parse_url(url)
    async with _session(parameters) as writer, _session(parameters) as reader:
        await trio.to_thread.run_sync(claim, writer, STATEMENTS)
        database = await trio.to_thread.run_sync(PostgresDatabase, parameters, writer, reader)
        async with writing(database, IDLE_SECONDS) as store:
            yield store


@asynccontextmanager
async def _session(parameters: Parameters) -> AsyncIterator[Session]:
    with closing(await trio.to_thread.run_sync(Session, parameters)) as session:
        yield session
