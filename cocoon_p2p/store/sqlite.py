"""A ledger in a file: SQLite, one writer, and many callers' changes in one commit.

A commit costs a disk flush, whatever is in it. So one task writes, and all that was handed over
while the disk was busy goes into the next commit, with a savepoint a caller: one whose changes
cannot be written is told so and harms nobody else's.

A disk that fails ends the ledger: memory is ahead of it by then, so the node must stop and
start again from what is on disk.

Spec: payments/settlement.md (The ledger).
"""

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TypeVar

import trio

from cocoon_p2p.errors import CocoonError, ConfigurationError, LocalProtocolError, Unavailable
from cocoon_p2p.ledger import (
    Change,
    ChannelName,
    ChannelRow,
    ExchangeForgotten,
    ExchangeRow,
    Line,
    Side,
    Status,
)
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.store import tables
from cocoon_p2p.store.ownership import owned

log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH_MAX = 1024
"Callers in one commit: bounds how long the first of them waits for the last."


class Handed:
    """Changes on their way to disk (`ledger.Written`)."""

    __slots__ = ("_done", "_error", "changes", "finished")

    def __init__(self, changes: tuple[Change, ...]) -> None:
        self.changes = changes
        self.finished = False
        self._error: CocoonError | None = None
        self._done: trio.Event | None = None

    async def wait(self) -> None:
        """Return once they are on disk. A cancel leaves the write on its way.

        Raises:
            LocalProtocolError: The ledger's own checks forbid these changes; none were written.
            Unavailable: The disk failed. Nothing after it will be written either.
        """
        if not self.finished:
            if self._done is None:
                self._done = trio.Event()
            await self._done.wait()
        else:
            await trio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error

    def finish(self, error: CocoonError | None) -> None:
        self._error = error
        self.finished = True
        if self._done is not None:
            self._done.set()


class SqliteStore:
    """A ledger in an SQLite file (`ledger.Store`). Open it with `open_store`."""

    def __init__(self, path: Path, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._queue: list[Handed] = []
        self._arrived = trio.Event()
        self.failure: Unavailable | None = None
        self._limiter = trio.CapacityLimiter(1)
        # Exchanges on their way to disk: what was handed over counts for a look-up.
        self._passing: dict[tuple[ChannelName, ExchangeId], ExchangeRow | None] = {}
        self.commits = 0

    def submit(self, *changes: Change) -> Handed:
        """Hand over changes that are written together or not at all (`ledger.Store.submit`)."""
        handed = Handed(changes)
        if self.failure is not None:
            handed.finish(self.failure)
            return handed
        for change in changes:
            if isinstance(change, ExchangeRow):
                self._passing[change.name, change.exchange] = change
            elif isinstance(change, ExchangeForgotten):
                self._passing[change.name, change.exchange] = None
        self._queue.append(handed)
        self._arrived.set()
        return handed

    def exchange(self, name: ChannelName, exchange: ExchangeId) -> ExchangeRow | None:
        """Look an exchange up (`ledger.Store.exchange`)."""
        key = name, exchange
        if key in self._passing:
            return self._passing[key]
        return tables.read_exchange(self._reader, name, exchange)

    def ended(self, exchange: ExchangeId) -> ExchangeRow | None:
        """Look up how an exchange ended that we were paid for (`ledger.Store.ended`)."""
        for (name, other), row in self._passing.items():
            if other == exchange and name.side is Side.PAYEE and row and row.status is Status.ENDED:
                return row
        return tables.read_ended(self._reader, exchange)

    async def channels(self) -> Sequence[ChannelRow]:
        return await self._read(tables.read_channels)

    async def unsettled(self) -> Sequence[ExchangeRow]:
        return await self._read(tables.read_unsettled)

    async def lines(self) -> Sequence[Line]:
        return await self._read(tables.read_lines)

    async def notes(self, prefix: str) -> Mapping[str, bytes]:
        return await self._read(lambda connection: tables.read_notes(connection, prefix))

    async def evidence(self, name: ChannelName) -> Sequence[tuple[str, bytes]]:
        """Read the papers kept about a channel, each with the reason, oldest first."""
        return await self._read(lambda connection: tables.read_evidence(connection, name))

    async def _read(self, reading: Callable[[sqlite3.Connection], T]) -> T:
        await self.submit().wait()

        def read() -> T:
            with closing(_connect(self._path)) as connection:
                return reading(connection)

        return await trio.to_thread.run_sync(read)

    async def run(self) -> None:
        """Write what is handed over until the disk fails or we are cancelled; then the queue goes first."""
        try:
            while self.failure is None:
                while not self._queue:
                    await self._arrived.wait()
                    self._arrived = trio.Event()
                batch = self._queue[:BATCH_MAX]
                errors = await trio.to_thread.run_sync(self._commit, batch, limiter=self._limiter)
                self._finish(batch, errors)
        finally:
            while self._queue:
                batch = self._queue[:BATCH_MAX]
                self._finish(batch, self._commit(batch))

    def _commit(self, batch: Sequence[Handed]) -> list[CocoonError | None] | Unavailable:
        """Write a batch in one transaction; runs in a thread.

        Returns:
            For each of the batch what went wrong with it alone, or what went wrong for all.
        """
        connection = self._writer
        errors: list[CocoonError | None] = []
        try:
            connection.execute("begin immediate")
            errors.extend(self._write(handed) for handed in batch)
            connection.execute("commit")
        except sqlite3.Error as exc:
            return Unavailable(
                f"the ledger cannot be written: {exc} (file={self._path})",
                hint="free space on the disk or mend it, then start again",
            )
        return errors

    def _write(self, handed: Handed) -> CocoonError | None:
        connection = self._writer
        connection.execute("savepoint caller")
        error: CocoonError | None = None
        try:
            for change in handed.changes:
                tables.write(connection, change)
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError, OverflowError) as exc:
            error = LocalProtocolError(f"the ledger does not take these changes: {exc}")
            connection.execute("rollback to caller")
        connection.execute("release caller")
        return error

    def _finish(self, batch: Sequence[Handed], errors: list[CocoonError | None] | Unavailable) -> None:
        self.commits += 1
        if isinstance(errors, Unavailable):
            self.failure = errors
            for handed in self._queue:
                handed.finish(errors)
            self._queue.clear()
            return
        del self._queue[: len(batch)]
        for handed, error in zip(batch, errors, strict=True):
            if error is not None:
                log.error("changes not written", extra={"error": str(error)})
            self._settle(handed)
            handed.finish(error)

    def _settle(self, handed: Handed) -> None:
        for change in handed.changes:
            if isinstance(change, ExchangeRow | ExchangeForgotten):
                key = change.name, change.exchange
                newest = change if isinstance(change, ExchangeRow) else None
                if key in self._passing and self._passing[key] is newest:
                    del self._passing[key]


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[SqliteStore]:
    """Own the ledger in a file while the block runs; create it if there is none.

    On leaving, also when cancelled, what was handed over is written first.

    Args:
        path: The file, in an existing folder on a local disk. `-wal`, `-shm` and `.lock` stand beside it.

    Raises:
        ConfigurationError: Another process owns it, it is no ledger, or it is a newer version's.
        Unavailable: Out of the block, when the disk fails: everything in it is cancelled.
    """
    with owned(path), closing(_connect(path)) as writer:
        _prepare(writer, path)
        with closing(_connect(path)) as reader:
            store = SqliteStore(path, writer, reader)
            async with open_service_nursery() as nursery:
                nursery.start_soon(_write_until_failure, store, nursery.cancel_scope)
                yield store
            if store.failure is not None:
                raise store.failure


async def _write_until_failure(store: SqliteStore, block: trio.CancelScope) -> None:
    await store.run()
    block.cancel()


def _connect(path: Path) -> sqlite3.Connection:
    # The writer runs in whatever thread is free, one at a time.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    try:
        application = connection.execute("pragma application_id").fetchone()[0]
        version = connection.execute("pragma user_version").fetchone()[0]
        tables_there = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as exc:
        raise _not_a_ledger(path, str(exc)) from exc
    if tables_there and application != tables.APPLICATION:
        raise _not_a_ledger(path, "another program's database")
    if version > tables.VERSION:
        raise _not_a_ledger(path, f"written by a newer version (schema={version} known={tables.VERSION})")
    # A commit returns only when it is on disk; WAL lets readers in meanwhile.
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("pragma fullfsync=on")
    if not tables_there:
        connection.executescript(
            f"begin; pragma application_id={tables.APPLICATION}; pragma user_version={tables.VERSION};"
            f"{tables.SCHEMA} commit;"
        )


def _not_a_ledger(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"not a ledger: {why} (file={path})", hint="name another file, or a new one in an existing folder"
    )
