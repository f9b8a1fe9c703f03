"""Reading a ledger file without owning it: while its node runs, and while it is down.

What is read is what was on disk when the reading began; nothing in it is ever changed. SQLite may
leave its `-wal` and `-shm` beside the file; whoever opens it next takes them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.ledger import Account, ChannelName, ChannelRow, ExchangeRow, Line, Side, Turnover
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.store import schema
from cocoon_p2p.store.sqlite import APPLICATION, STATEMENTS
from cocoon_p2p.store.statements import Query

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MovedSums:
    """All that a channel's books moved from one account to another."""

    name: ChannelName
    source: Account
    target: Account
    amount: int
    amount_since: int
    "What of it was booked since the time that was asked for."


# The database adds up, so that long books cost no Python.
_MOVED = Query(
    "select channel, side, source, target, sum(amount), sum(case when at >= ? then amount else 0 end)"
    " from lines group by channel, side, source, target",
    lambda row: MovedSums(
        ChannelName(Side(row[1]), ChannelId(row[0])), Account(row[2]), Account(row[3]), row[4], row[5]
    ),
)


class LedgerReading:
    """A ledger as it stood at one moment. Opened by `read_ledger`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def channels(self) -> Iterator[ChannelRow]:
        """Give every channel."""
        return self._ask(STATEMENTS.channels)

    def unsettled(self) -> Iterator[ExchangeRow]:
        """Give the exchanges that run or broke."""
        return self._ask(STATEMENTS.unsettled)

    def lines(self) -> Iterator[Line]:
        """Give the books, in order, a line at a time: they can be longer than memory."""
        return self._ask(STATEMENTS.lines)

    def moved(self, since: int) -> Iterator[MovedSums]:
        """Give the sums of the books, whole and from `since` (seconds since the Unix epoch) on."""
        return self._ask(_MOVED, since)

    def turnover(self, since: int, until: int) -> Iterator[Turnover]:
        """Add up what was booked from one time to another (`ledger.Store.turnover`)."""
        return self._ask(STATEMENTS.turnover, *(since, until) * 3)

    def _ask(self, query: Query[T], *values: object) -> Iterator[T]:
        return map(query.noun, self._connection.execute(query.text, values))


@contextmanager
def read_ledger(path: Path) -> Iterator[LedgerReading]:
    """Read the ledger in a file, of this moment, while the block runs.

    Raises:
        ConfigurationError: There is none, or it is no ledger, or another version's.
        Unavailable: The disk or the file is damaged, also in the block.
    """
    if not path.is_file():
        raise ConfigurationError(
            f"no ledger here (file={path})", hint="a node makes it when it first runs; is this its folder?"
        )
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            _check(connection, path)
            # One transaction: all that is read is of one moment.
            connection.execute("begin")
            _add_missing(connection)
            yield LedgerReading(connection)
    except sqlite3.Error as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise _not_a_ledger(path, "no database") from exc
        raise Unavailable(f"the ledger cannot be read: {exc} (file={path})") from exc


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("pragma application_id").fetchone()[0]
    version = connection.execute("pragma user_version").fetchone()[0]
    if application != APPLICATION:
        raise _not_a_ledger(path, "another program's database")
    if version != schema.VERSION:
        raise _not_a_ledger(path, schema.other_version(version))


def _add_missing(connection: sqlite3.Connection) -> None:
    """Stand in for the tables that an older program made no use of: beside the file, for this connection."""
    there = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    if not there.issuperset(table.name for table in schema.ADDED):
        for text in STATEMENTS.added:
            connection.execute(text.replace("create table", "create temp table", 1))


def _not_a_ledger(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"not a ledger: {why} (file={path})")
