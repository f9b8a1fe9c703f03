"""Where a ledger is, and who opens it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.store.group_commit import DatabaseStore
from cocoon_p2p.store.sqlite import open_file

_SERVER = ("postgresql://", "postgres://")


def is_server(where: str) -> bool:
    """Say whether a ledger is named by a server's URL, and not by a file."""
    return where.startswith(_SERVER)


@asynccontextmanager
async def open_store(where: Path | str) -> AsyncIterator[DatabaseStore]:
    """Own a ledger while the block runs; create it if there is none.

    On leaving, also when cancelled, what was handed over is written first.

    Args:
        where: A file, in an existing folder on a local disk (`sqlite.open_file`); or `postgresql://...`,
            without a password (`postgres.open_server`).

    Raises:
        ConfigurationError: Another process owns it, it is no ledger, it is another version's, or it
            cannot be opened.
        Unavailable: Its server cannot be reached; or out of the block, when the disk or the server
            fails: everything in it is cancelled.
    """
    if isinstance(where, Path) or not is_server(where):
        async with open_file(Path(where)) as store:
            yield store
        return
    try:
        from cocoon_p2p.store.postgres import open_server
    except ImportError as exc:
        raise ConfigurationError(
            f"a ledger on PostgreSQL needs psycopg, which is not here: {exc}",
            hint="pip install 'cocoon-p2p[postgres]'",
        ) from exc
    async with open_server(where) as store:
        yield store
