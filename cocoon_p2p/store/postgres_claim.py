"""What must be so before a PostgreSQL database is a ledger that this process may write.

One process owns it: an advisory lock of the session that writes, on the schema that its tables are in.
The server lets go of it when the session ends, however that ends.
"""

import logging
from typing import Any

import psycopg

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.store import schema
from cocoon_p2p.store.postgres_session import Session
from cocoon_p2p.store.statements import Statements

log = logging.getLogger(__name__)

LOCK = int.from_bytes(b"COCN")
"The upper half of the lock's number; the lower is the schema's."

OWNER_SECONDS = 1
"A process that was killed a moment ago may still have a session that ends its last commit."

_LOCK_NUMBER = "select (%s::bigint << 32) | oid::bigint from pg_namespace where nspname = current_schema()"
_OWNER = """
select pid, application_name, coalesce(host(client_addr), 'this machine')
from pg_locks join pg_stat_activity using (pid)
where locktype = 'advisory' and granted and objsubid = 1
    and database = (select oid from pg_database where datname = current_database())
    and (classid::bigint << 32) | objid::bigint = %s
"""
_TABLES = """
select relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = current_schema() and relkind in ('r', 'p', 'v', 'm', 'f')
"""


def claim(session: Session, statements: Statements) -> None:
    """Own the ledger until the session ends, look it over, and create it if there is none.

    Raises:
        ConfigurationError: Another process owns it, it is no ledger, or it is another version's.
        Unavailable: The server failed.
    """
    with session.limited("opened"):
        try:
            _own(session)
            _check_server(session)
            _check_tables(session, statements)
        except psycopg.errors.InsufficientPrivilege as exc:
            raise ConfigurationError(
                f"the ledger's user may not do what it must: {exc} ({session.name})",
                hint="make that user the owner of the database, or grant it create on the schema",
            ) from exc


def _own(session: Session) -> None:
    number = _first(session, _LOCK_NUMBER, LOCK)
    if number is None:
        raise _not_a_ledger(session, "there is no schema to put it into; see its search_path")
    session.execute(f"set lock_timeout = '{OWNER_SECONDS}s'")
    try:
        session.execute("select pg_advisory_lock(%s)", (number,))
    except psycopg.errors.LockNotAvailable:
        owner = session.execute(_OWNER, (number,)).fetchone() or ("unknown",) * 3
        raise ConfigurationError(
            f"the ledger is in use by another process (session={owner[0]} name={owner[1]!r} at={owner[2]}"
            f" {session.name})",
            hint="stop that process, or give this node a ledger of its own",
        ) from None
    session.execute("set lock_timeout = 0")


def _check_server(session: Session) -> None:
    if _first(session, "show transaction_read_only") == "on":
        raise ConfigurationError(
            f"the ledger's server takes no writes ({session.name})", hint="name the primary, not a copy of it"
        )
    # A commit returns only when it is on disk. What waits for more than that is left as it is.
    if _first(session, "show synchronous_commit") == "off":
        session.execute("set synchronous_commit = on")
    for name in ("fsync", "full_page_writes"):
        if _first(session, f"show {name}") == "off":
            log.warning("server may lose a ledger when the power fails", extra={"setting": f"{name}=off"})


def _check_tables(session: Session, statements: Statements) -> None:
    tables = {row[0] for row in session.execute(_TABLES)}
    if not tables:
        with session.connection.transaction():
            session.execute("create table cocoon_ledger (version bigint not null)")
            session.execute("insert into cocoon_ledger values (%s)", (schema.VERSION,))
            for text in statements.schema:
                session.execute(text)
    elif "cocoon_ledger" not in tables:
        raise _not_a_ledger(session, "another program's database")
    else:
        version = _first(session, "select version from cocoon_ledger")
        if version != schema.VERSION:
            raise _not_a_ledger(session, schema.other_version(version))
        if not tables.issuperset(table.name for table in schema.ADDED):
            with session.connection.transaction():
                for text in statements.added:
                    session.execute(text)


def _first(session: Session, text: str, *values: object) -> Any:
    row = session.execute(text, values).fetchone()
    return row and row[0]


def _not_a_ledger(session: Session, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"not a ledger: {why} ({session.name})", hint="name an empty database, or a schema of its own"
    )
