"""A PostgreSQL server of one's own: a fresh cluster in a temporary folder, on a Unix socket.

    with postgres_server() as server:
        async with open_store(server.new_ledger()) as store:
            ...

It needs PostgreSQL's programs, not a server that runs. PostgreSQL refuses to run as root, so root runs it
as another user.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocoon_p2p.errors import Unavailable

if TYPE_CHECKING:
    import psycopg

_DEBIAN = "/usr/lib/postgresql"


def find_programs() -> Path | None:
    """Find the folder of `initdb` and `pg_ctl`: on the path, or where Debian has it."""
    found = shutil.which("pg_ctl")
    if found is not None:
        return Path(found).resolve().parent
    folders = (file.parent for file in Path(_DEBIAN).glob("*/bin/pg_ctl"))
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


class PostgresServer:
    """A running server. Opened by `postgres_server`."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self._programs = programs
        self._folder = folder
        self._user = user
        self._numbers = count(1)

    def new_ledger(self) -> str:
        """Make an empty schema, and give the URL that leads to it."""
        name = f"ledger_{next(self._numbers)}"
        self.execute(f"create schema {name}")
        return self.url(name)

    def url(self, schema: str = "public", user: str = "owner") -> str:
        return f"postgresql://{user}@/postgres?host={self._folder}&options=-csearch_path%3D{schema}"

    def connect(self, schema: str = "public") -> "psycopg.Connection[tuple[Any, ...]]":
        import psycopg

        return psycopg.connect(self.url(schema), autocommit=True)

    def execute(self, text: str, schema: str = "public") -> list[tuple[Any, ...]]:
        """Say something to it, as its superuser."""
        with self.connect(schema) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        settings = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c shared_buffers=16MB"
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "-w", "-s", "-D", str(self._data), "-l", log, "-o", settings)

    def stop(self, how: str = "fast") -> None:
        """Stop it. `immediate` is what a crash leaves: no session is ended, nothing is flushed."""
        self._run("pg_ctl", "stop", "-w", "-s", "-D", str(self._data), "-m", how)

    def create(self, *, flushes: bool) -> None:
        self._run(
            "initdb", "-D", str(self._data), "-U", "owner", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"
        )
        if not flushes:
            with (self._data / "postgresql.conf").open("a") as file:
                file.write("fsync = off\nfull_page_writes = off\n")

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self._folder,
            user=self._user,
            extra_groups=None if self._user is None else (),
            # A server that goes on must not hold our own pipes open.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            check=False,
            text=True,
        )
        if done.returncode:
            log = self._folder / "log"
            said = done.stderr or (log.read_text() if log.exists() else "")
            raise Unavailable(f"{program} failed (status={done.returncode}): {said[-2000:]}")


@contextmanager
def postgres_server(*, flushes: bool = False) -> Iterator[PostgresServer]:
    """Run a server while the block runs; its data go with it.

    Args:
        flushes: Let it flush to disk, as a real one does. What only kills processes needs no flush.

    Raises:
        Unavailable: PostgreSQL is not installed, or it does not start.
    """
    programs = find_programs()
    if programs is None:
        raise Unavailable("there is no PostgreSQL here", hint="Debian, Ubuntu: apt install postgresql")
    # The path of a Unix socket has room for 107 bytes.
    with tempfile.TemporaryDirectory(prefix="cocoon-pg-", dir="/tmp") as name:
        folder, user = Path(name), None
        if os.getuid() == 0:
            user = _unprivileged_user()
            shutil.chown(folder, user)
        server = PostgresServer(programs, folder, user)
        server.create(flushes=flushes)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


def _unprivileged_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
