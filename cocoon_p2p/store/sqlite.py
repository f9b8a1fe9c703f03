"""A ledger in a file: SQLite, one connection that writes and one for look-ups.

Each caller's changes stand in a savepoint of the batch's transaction, so one whose changes cannot be
written is undone alone.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TypeVar

from cocoon_p2p.errors import ConfigurationError, LocalProtocolError, Unavailable
from cocoon_p2p.ledger import Change, ExchangeRow
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.store import schema
from cocoon_p2p.store.group_commit import DatabaseStore, writing
from cocoon_p2p.store.ownership import owned
from cocoon_p2p.store.recent import RecentExchanges
from cocoon_p2p.store.schema import Kind
from cocoon_p2p.store.statements import Dialect, Query, Statements, write_each

T = TypeVar("T")

APPLICATION = int.from_bytes(b"COCN")
"Kept in `pragma application_id`, so that another program's database is not taken for a ledger."

STATEMENTS = Statements(
    Dialect(
        kinds={Kind.BLOB: "blob", Kind.TEXT: "text", Kind.NUMBER: "integer", Kind.AMOUNT: "integer"},
        mark="?",
        ending=" strict",
        narrow_ending=" strict, without rowid",
    )
)

LOOKED_UP_MAX = 256
"Exchanges whose rows are in memory: each is looked up a few times in its course. The file tells soon enough."

# What SQLite, or sqlite3 before it, says of values that no table takes.
_BAD_VALUES = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError, OverflowError, UnicodeError)


class SqliteDatabase:
    """A ledger's rows in an SQLite file (`group_commit.Database`)."""

    statements = STATEMENTS

    def __init__(self, path: Path, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._recent = RecentExchanges(None, kept_max=LOOKED_UP_MAX)

    def write(self, batch: Sequence[Sequence[Change]]) -> Sequence[LocalProtocolError | None]:
        try:
            self._writer.execute("begin immediate")
            errors = write_each(self._writer, self.statements, batch, _BAD_VALUES)
            self._writer.execute("commit")
        except sqlite3.Error as exc:
            raise _failure("written", exc, self._path) from exc
        return errors

    def read(self, query: Query[T], values: Sequence[object]) -> Sequence[T]:
        try:
            # The writer's and the look-ups' connections are in use on other threads.
            with closing(_connect(self._path)) as connection:
                return _ask(connection, query, values)
        except sqlite3.Error as exc:
            raise _failure("read", exc, self._path) from exc

    def exchanges(self, exchange: ExchangeId) -> Sequence[ExchangeRow]:
        rows = self._recent.find(exchange)
        if rows is None:
            try:
                rows = _ask(self._reader, self.statements.exchanges, (exchange,))
            except sqlite3.Error as exc:
                raise _failure("read", exc, self._path) from exc
            self._recent.keep(exchange, rows)
        return rows

    def landed(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._recent.landed(change)


def _failure(done: str, exc: sqlite3.Error, path: Path) -> Unavailable:
    # The lower byte is the kind, the rest a detail; errors of sqlite3's own have neither.
    kind = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        hint = "the file is damaged: put it aside, and save what can be read of it (sqlite3 FILE .recover)"
    elif kind in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        hint = "let this user write to the file and to its folder, then start again"
    else:
        hint = "free space on the disk or mend it, then start again"
    return Unavailable(f"the ledger cannot be {done}: {exc} (file={path})", hint=hint)


def _ask(connection: sqlite3.Connection, query: Query[T], values: Sequence[object]) -> Sequence[T]:
    return [query.noun(row) for row in connection.execute(query.text, values)]


@asynccontextmanager
async def open_file(path: Path) -> AsyncIterator[DatabaseStore]:
    """Own the ledger in a file while the block runs; create it if there is none.

    On leaving, also when cancelled, what was handed over is written first.

    Args:
        path: The file, in an existing folder on a local disk. `-wal`, `-shm` and `.lock` stand beside it.

    Raises:
        ConfigurationError: Another process owns it, it is no ledger, or it is another version's.
        Unavailable: Out of the block, when the disk fails: everything in it is cancelled.
    """
    with owned(path), closing(_connect(path)) as writer:
        try:
            _prepare(writer, path)
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                raise _not_a_ledger(path, str(exc)) from exc
            raise _failure("opened", exc, path) from exc
        with closing(_connect(path)) as reader:
            async with writing(SqliteDatabase(path, writer, reader)) as store:
                yield store


def _connect(path: Path) -> sqlite3.Connection:
    # The writer runs in whatever thread is free, one at a time.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("pragma application_id").fetchone()[0]
    version = connection.execute("pragma user_version").fetchone()[0]
    tables_there = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    if tables_there and application != APPLICATION:
        raise _not_a_ledger(path, "another program's database")
    if tables_there and version != schema.VERSION:
        raise _not_a_ledger(path, schema.other_version(version))
    # A commit returns only when it is on disk; WAL lets readers in meanwhile.
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("pragma fullfsync=on")
    if not tables_there:
        connection.executescript(
            f"begin; pragma application_id={APPLICATION}; pragma user_version={schema.VERSION};"
            f"{';'.join(STATEMENTS.schema)}; commit;"
        )
    else:
        connection.executescript(f"begin; {';'.join(STATEMENTS.added)}; commit;")


def _not_a_ledger(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"not a ledger: {why} (file={path})", hint="name another file, or a new one in an existing folder"
    )
