"""One writer, and many callers' changes in one commit, whatever the database.

A commit costs a disk flush, whatever is in it. So one task writes, and all that was handed over
while the disk was busy goes into the next commit. A caller whose changes cannot be written is told so
and harms nobody else's.

A database that fails ends the ledger: memory is ahead of it by then, so the node must stop and
start again from what is on disk. That holds too where it is not known whether the last commit landed:
nobody was told that it did.

Spec: payments/settlement.md (The ledger).
"""

import logging
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import trio

from cocoon_p2p.errors import CocoonError, LocalProtocolError, Unavailable
from cocoon_p2p.ledger import (
    Change,
    ChannelName,
    ChannelRow,
    ExchangeForgotten,
    ExchangeRow,
    Line,
    Side,
    Status,
    Turnover,
)
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.store.statements import Query, Statements

log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH_MAX = 1024
"Callers in one commit: bounds how long the first of them waits for the last."


class Database(Protocol):
    """Where a ledger's rows are, owned by this process."""

    @property
    def statements(self) -> Statements: ...

    def write(self, batch: Sequence[Sequence[Change]]) -> Sequence[LocalProtocolError | None]:
        """Write many callers' changes in one transaction. Runs in a thread, one call at a time.

        Returns:
            For each caller, why none of its changes were written, if so. All others' are on disk.

        Raises:
            Unavailable: The database failed. Whether anything was written is not known.
        """
        ...

    def read(self, query: Query[T], values: Sequence[object]) -> Sequence[T]:
        """Ask for what is on disk. Runs in a thread, beside `write`.

        Raises:
            Unavailable: The database failed.
        """
        ...

    def exchanges(self, exchange: ExchangeId) -> Sequence[ExchangeRow]:
        """Give an exchange's rows that are on disk, at once (tens of microseconds).

        Raises:
            Unavailable: The database failed.
        """
        ...

    def landed(self, changes: Iterable[Change]) -> None:
        """Take note that these changes are on disk; told in their order."""
        ...


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
            Unavailable: The database failed. These changes may be written or not, and nothing after
                them will be.
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


class DatabaseStore:
    """A ledger in a database (`ledger.Store`). Open it with `open_store`.

    Attributes:
        failure: What ended it, or None.
        commits: How many there were.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: list[Handed] = []
        self._arrived = trio.Event()
        self._limiter = trio.CapacityLimiter(1)
        # Exchanges on their way to disk: what was handed over counts for a look-up.
        self._passing: dict[tuple[ChannelName, ExchangeId], ExchangeRow | None] = {}
        self._is_closing = False
        self.failure: Unavailable | None = None
        self.commits = 0

    def submit(self, *changes: Change) -> Handed:
        """Hand over changes that are written together or not at all (`ledger.Store.submit`)."""
        handed = Handed(changes)
        if self.failure is not None or self._is_closing:
            handed.finish(self.failure or LocalProtocolError("the ledger is closed"))
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
        return next((row for row in self._look_up(exchange) if row.name == name), None)

    def ended(self, exchange: ExchangeId) -> ExchangeRow | None:
        """Look up how an exchange ended that we were paid for (`ledger.Store.ended`)."""
        for (name, other), row in self._passing.items():
            if other == exchange and name.side is Side.PAYEE and row and row.status is Status.ENDED:
                return row
        rows = self._look_up(exchange)
        ended = (row for row in rows if row.name.side is Side.PAYEE and row.status is Status.ENDED)
        return max(ended, key=lambda row: row.at, default=None)

    def _look_up(self, exchange: ExchangeId) -> Sequence[ExchangeRow]:
        try:
            return self._database.exchanges(exchange)
        except Unavailable as failure:
            self._fail(failure)
            raise

    async def channels(self) -> Sequence[ChannelRow]:
        return await self._read(self._database.statements.channels)

    async def unsettled(self) -> Sequence[ExchangeRow]:
        return await self._read(self._database.statements.unsettled)

    async def lines(self) -> Sequence[Line]:
        return await self._read(self._database.statements.lines)

    async def turnover(self, since: int, until: int) -> Sequence[Turnover]:
        return await self._read(self._database.statements.turnover, *(since, until) * 3)

    async def notes(self, prefix: str) -> Mapping[str, bytes]:
        return dict(await self._read(self._database.statements.notes, prefix, prefix))

    async def evidence(self, name: ChannelName) -> Sequence[tuple[str, bytes]]:
        """Read the papers kept about a channel, each with the reason, oldest first."""
        return await self._read(self._database.statements.evidence, name.channel, name.side)

    async def _read(self, query: Query[T], *values: object) -> Sequence[T]:
        await self.submit().wait()
        return await trio.to_thread.run_sync(self._database.read, query, values)

    async def run(self, idle_seconds: float) -> None:
        """Write what is handed over until the database fails, or until `close` and the queue is empty.

        A cancel does not end it: what the block does while it is being cancelled is written too.

        Args:
            idle_seconds: After so long without a write make an empty one, to see that the database is there.
        """
        with trio.CancelScope(shield=True):
            while self.failure is None and (self._queue or not self._is_closing):
                with trio.move_on_after(idle_seconds):
                    while not (self._queue or self._is_closing or self.failure):
                        await self._arrived.wait()
                        self._arrived = trio.Event()
                if self.failure is None:
                    await self._commit()

    def close(self) -> None:
        """Take no more; what was handed over is still written."""
        self._is_closing = True
        self._arrived.set()

    async def _commit(self) -> None:
        batch = self._queue[:BATCH_MAX]
        changes = [handed.changes for handed in batch]
        try:
            errors = await trio.to_thread.run_sync(self._database.write, changes, limiter=self._limiter)
        except Unavailable as failure:
            self._fail(failure)
            return
        self.commits += 1
        del self._queue[: len(batch)]
        for handed, error in zip(batch, errors, strict=True):
            if error is None:
                self._database.landed(handed.changes)
            else:
                log.error("changes not written", extra={"error": str(error)})
            self._settle(handed)
            handed.finish(error)

    def _fail(self, failure: Unavailable) -> None:
        log.error("ledger ended", extra={"error": str(failure)})
        self.failure = failure
        for handed in self._queue:
            handed.finish(failure)
        self._queue.clear()
        self._arrived.set()

    def _settle(self, handed: Handed) -> None:
        for change in handed.changes:
            if isinstance(change, ExchangeRow | ExchangeForgotten):
                key = change.name, change.exchange
                newest = change if isinstance(change, ExchangeRow) else None
                if key in self._passing and self._passing[key] is newest:
                    del self._passing[key]


@asynccontextmanager
async def writing(database: Database, idle_seconds: float = math.inf) -> AsyncIterator[DatabaseStore]:
    """Write what the block hands over; on leaving it, also when cancelled, the rest first.

    Raises:
        Unavailable: Out of the block, when the database fails: everything in it is cancelled.
    """
    store = DatabaseStore(database)

    async def write_until_failure(block: trio.CancelScope) -> None:
        await store.run(idle_seconds)
        if store.failure is not None:
            block.cancel()

    async with open_service_nursery() as nursery:
        nursery.start_soon(write_until_failure, nursery.cancel_scope)
        try:
            yield store
        finally:
            store.close()
    if store.failure is not None:
        raise store.failure
