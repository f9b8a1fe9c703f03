"""The places that a ledger can be in: every promise is tried in each of them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cocoon_p2p.testing.postgres import PostgresServer, find_programs, postgres_server

REQUIRED = "COCOON_TESTS_NEED_POSTGRES"
"Where this variable is set, a machine without PostgreSQL fails the tests that need it."


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    if find_programs() is None:
        missing = "no PostgreSQL to try ledgers on; Debian, Ubuntu: apt install postgresql"
        if REQUIRED in os.environ:
            pytest.fail(missing)
        pytest.skip(missing)
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a ledger can be made: a file, or a schema on a server."""
    if request.param == "file":
        return tmp_path / "ledger.db"
    server: PostgresServer = request.getfixturevalue("server")
    return server.new_ledger()
