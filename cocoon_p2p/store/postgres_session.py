"""One connection to a PostgreSQL server, on which no call waits for ever.

libpq waits for an answer as long as the network says nothing. So each call has a time, and a
thread beside it that shuts the socket when that is over: the call then ends with an error.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import Cursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8BinaryDumper

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.store.statements import Columns, Query

T = TypeVar("T")

Parameters: TypeAlias = Mapping[str, Any]
"What libpq takes apart a URL into."

VERSION_MIN = 14
CONNECT_SECONDS = 10
CALL_SECONDS = 30.0
"A server that has not answered after so long is taken for gone."

_LOOK_SECONDS = 0.5

# A server that lost its peer without a word must not keep the ledger's lock for the two hours that
# are usual; and an idle ledger is no reason to end its session.
_SETTINGS = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "statement_timeout": "0",
}


def parse_url(url: str) -> Parameters:
    """Take a `postgresql://` URL apart.

    It names no password: a config file is read by more people than a password should be. libpq
    finds one in `~/.pgpass`, in the file that `passfile=` names, or by `service=`.

    Raises:
        ConfigurationError: It is no such URL, or it has a password in it.
    """
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.Error:
        # libpq's own words may repeat a part of the password.
        raise ConfigurationError(
            "the ledger's URL cannot be read", hint="write it as postgresql://user@host:5432/database"
        ) from None
    secret = {"password", "sslpassword"} & parameters.keys()
    if secret:
        raise ConfigurationError(
            "the ledger's URL has a password in it",
            hint="leave it out, and put it into ~/.pgpass (mode 0600) or a service file of libpq's",
        )
    return {"connect_timeout": CONNECT_SECONDS, **parameters}


def spell(parameters: Parameters) -> str:
    """Name a database for people, without what is nobody's business."""
    names = ("host", "port", "dbname", "service")
    return (
        " ".join(f"{name}={parameters[name]}" for name in names if parameters.get(name)) or "libpq's default"
    )


class Session:
    """A connection in autocommit mode.

    Attributes:
        connection: For use inside `limited` only.

    Raises:
        ConfigurationError: The server is too old.
        Unavailable: There is none, or it does not let us in.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.name = spell(parameters)
        who = f"cocoon host={socket.gethostname()[:20]} pid={os.getpid()}"
        try:
            self.connection = psycopg.connect(
                make_conninfo(**{**parameters, "application_name": who, "client_encoding": "utf8"}),
                autocommit=True,
            )
        except psycopg.Error as exc:
            raise Unavailable(
                f"the ledger's server cannot be reached: {_one_line(exc)} ({self.name})",
                hint="see that it runs and lets this user in (~/.pgpass, pg_hba.conf), then start again",
            ) from exc
        self._socket = socket.socket(fileno=os.dup(self.connection.fileno()))
        self._until: float | None = None
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="ledger's watch", daemon=True).start()
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        version = self.connection.info.server_version // 10000
        if version < VERSION_MIN:
            raise ConfigurationError(
                f"the ledger's server is too old (version={version} least={VERSION_MIN} {self.name})",
                hint="use a newer PostgreSQL",
            )
        # One type for every number, so that a statement is prepared once, not once a size.
        for kind in (int, bool):
            self.connection.adapters.register_dumper(kind, Int8BinaryDumper)
        with self.limited("opened"):
            for name, value in _SETTINGS.items():
                self.execute("select set_config(%s, %s, false)", (name, value))

    def close(self) -> None:
        self._over.set()
        self.connection.close()
        self._socket.close()

    def execute(
        self, text: str, values: Sequence[object] = (), *, prepare: bool = False
    ) -> "Cursor[Columns]":
        """Say one thing, inside `limited`. Nothing of a peer's is ever part of the text."""
        return self.connection.execute(text.encode(), values or None, prepare=prepare, binary=True)

    def ask(self, query: Query[T], values: Sequence[object], seconds: float | None = None) -> Sequence[T]:
        """Ask one question.

        Raises:
            Unavailable: There is no answer.
        """
        with self.limited("read", seconds):
            return [query.noun(row) for row in self.execute(query.text, values, prepare=True)]

    @contextmanager
    def limited(self, done: str, seconds: float | None = None) -> Iterator[None]:
        """Cut the connection off if the block takes too long: `CALL_SECONDS` where nothing else is said.

        Raises:
            Unavailable: It did, or the server failed.
        """
        self._until = time.monotonic() + (seconds or CALL_SECONDS)
        try:
            yield
        except psycopg.Error as exc:
            raise self._failure(done, exc) from exc
        finally:
            self._until = None

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            until = self._until
            if until is not None and time.monotonic() > until:
                # It may have ended by itself, or be closed this moment.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                return

    def _failure(self, done: str, exc: psycopg.Error) -> Unavailable:
        kind = (exc.sqlstate or "08")[:2]
        if kind == "53":
            hint = "free space or memory on the server, then start again"
        elif kind in ("08", "57"):
            hint = "start again once the server can be reached; what was promised is there"
        else:
            hint = "see the server's log, then start again"
        return Unavailable(f"the ledger cannot be {done}: {_one_line(exc)} ({self.name})", hint=hint)


def _one_line(exc: psycopg.Error) -> str:
    return exc.diag.message_primary or " ".join(str(exc).split()) or type(exc).__name__
