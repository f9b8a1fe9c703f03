"""Talks in one file, so that a bot that is restarted goes on where it was.

The file holds what people wrote and what they were answered, in the clear: it is for its owner alone, and
what /new forgets is overwritten in it. Who does not want that has `MemoryStore`.
"""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from cocoon_p2p.errors import ConfigurationError, Refused
from cocoon_p2p.telegram.talk import Choices, Place, Talk, Turn

Result = TypeVar("Result")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS talk (
    bot INTEGER, chat INTEGER, thread INTEGER, turns TEXT NOT NULL, choices TEXT NOT NULL,
    PRIMARY KEY (bot, chat, thread)
) STRICT, WITHOUT ROWID
"""


class SqliteStore:
    """Keeps talks in a file. Made by `open_sqlite_store`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # One at a time, each in a thread: the host's loop never waits for a disk.
        self._turn = asyncio.Lock()

    async def load(self, place: Place) -> Talk:
        return await self._do(partial(self._load, place))

    async def save(self, place: Place, talk: Talk) -> None:
        await self._do(partial(self._save, place, talk))

    async def _do(self, work: Callable[[], Result]) -> Result:
        async with self._turn:
            # A thread goes on when its caller is cancelled, and the next one must not run beside it.
            working = asyncio.ensure_future(asyncio.to_thread(work))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                await asyncio.wait((working,))
                raise
            except sqlite3.Error as exc:
                raise Refused(f"the talks cannot be kept: {exc}", code="store-failed") from exc

    def _load(self, place: Place) -> Talk:
        query = "SELECT turns, choices FROM talk WHERE bot = ? AND chat = ? AND thread = ?"
        row = self._connection.execute(query, _key(place)).fetchone()
        return Talk() if row is None else _read(*row)

    def _save(self, place: Place, talk: Talk) -> None:
        turns = json.dumps([[turn.role, turn.content] for turn in talk.turns])
        with self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO talk VALUES (?, ?, ?, ?, ?)",
                (*_key(place), turns, json.dumps(asdict(talk.choices))),
            )


@asynccontextmanager
async def open_sqlite_store(file: Path) -> AsyncIterator[SqliteStore]:
    """Open a file of talks, or make it, for as long as the block lasts.

    Raises:
        ConfigurationError: It cannot be used.
    """
    try:
        connection = await asyncio.to_thread(_open, file)
    except (OSError, sqlite3.Error) as exc:
        raise ConfigurationError(
            f"cannot use {file}: {exc}", hint="name a file in an existing folder of your own"
        ) from exc
    store = SqliteStore(connection)
    try:
        yield store
    finally:
        await asyncio.to_thread(connection.close)


def _open(file: Path) -> sqlite3.Connection:
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(file, check_same_thread=False)
    try:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(_SCHEMA)
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _key(place: Place) -> tuple[int, int, int]:
    return place.bot_id, place.chat_id, place.thread_id


def _read(turns: str, choices: str) -> Talk:
    """Read a row; one that another version wrote is as good as none."""
    try:
        said = msgspec.json.decode(turns, type=list[tuple[str, str]])
        chosen = msgspec.json.decode(choices, type=Choices)
        return Talk(tuple(Turn(role, content) for role, content in said), chosen)
    except msgspec.DecodeError:
        return Talk()
