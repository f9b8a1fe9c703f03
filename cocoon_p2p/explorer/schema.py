"""The tables of an explorer's file, and how each version of them became the next.

Everything that grows is thinned or bounded: points by `thinning`, proxies and hours by age, channels by their
number. Of a channel that was closed nothing is left but its sums.
"""

import os
import sqlite3
from pathlib import Path

from cocoon_p2p.errors import ConfigurationError

APPLICATION = int.from_bytes(b"COCX")
"Kept in `pragma application_id`, so that another program's database is not taken for ours."

MIGRATIONS = (
    (
        """create table points (
            series text not null, at integer not null, value integer not null, primary key (series, at)
        ) strict, without rowid""",
        """create table series (
            name text primary key, last_at integer not null, last_value integer not null
        ) strict, without rowid""",
        """create table proxies (
            peer text primary key, first_seen integer not null, last_seen integer not null, seen text not null
        ) strict, without rowid""",
        """create table channels (
            account blob primary key, epoch integer not null, payer blob not null, payee blob not null,
            locked integer not null, counted integer not null, lt integer not null,
            looked_at integer not null, gone_at integer not null
        ) strict, without rowid""",
        """create table hours (
            hour integer primary key, settlements integer not null, amount integer not null
        ) strict""",
        "create table notes (name text primary key, value text not null) strict, without rowid",
    ),
)
"Each takes a file from the version that is its index to the next. None is ever changed."

BUSY_SECONDS = 30.0
"How long one process waits for what another writes."


def open_file(file: Path, now: int, *, is_read_only: bool) -> sqlite3.Connection:
    """Open a file of the newest version, or make one, or make it that.

    Args:
        file: Where it is; its folder is made, too.
        now: When it begins, if it does; in seconds since the Unix epoch.
        is_read_only: Another process writes it.

    Raises:
        OSError, sqlite3.Error: It cannot be used.
        ConfigurationError: It is another program's, or of another version than can be used.
    """
    if is_read_only:
        path = f"{file.resolve().as_uri()}?mode=ro"
    else:
        path = str(file)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, uri=is_read_only, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS
    )
    try:
        version = _version(connection, file)
        if not is_read_only:
            connection.execute("pragma journal_mode = wal")
            # What is forgotten is overwritten: whose wallets stood behind a channel that is closed.
            connection.execute("pragma secure_delete = on")
            _migrate(connection, version, now)
        elif version != len(MIGRATIONS):
            raise ConfigurationError(f"{file} is not ready to be read", hint="start `cocoon explorer` first")
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection, file: Path) -> int:
    (application,) = connection.execute("pragma application_id").fetchone()
    (version,) = connection.execute("pragma user_version").fetchone()
    (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
    if tables and application != APPLICATION:
        raise ConfigurationError(f"{file} is no explorer's file", hint="name another folder with --data")
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"{file} is of a later version (version={version} known={len(MIGRATIONS)})",
            hint="upgrade cocoon-p2p, or begin anew in another folder",
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, version: int, now: int) -> None:
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        with connection:
            connection.execute("begin immediate")
            for statement in statements:
                connection.execute(statement)
            if number == 1:
                connection.execute("insert into notes values ('began', ?)", (str(now),))
            connection.execute(f"pragma application_id = {APPLICATION}")
            connection.execute(f"pragma user_version = {number}")
