"""A ledger is read without being owned: beside its node, after it, and after its node was killed."""

import os
import signal
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
import trio

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.ledger import Status
from cocoon_p2p.store import open_store
from cocoon_p2p.store.reading import read_ledger
from tests.store.rows import channel, exchange, line

WRITER = """
import os, signal, sys, trio
from pathlib import Path
from cocoon_p2p.store import open_store
from tests.store.rows import line

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        for number in range(500):
            store.submit(line(number))
        await store.submit().wait()
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


async def write(path: Path) -> None:
    async with open_store(path) as store:
        await store.submit(
            channel(charged=10), exchange(1), exchange(2, status=Status.BROKEN), line(0)
        ).wait()


async def test_what_was_written_is_read_while_the_owner_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with open_store(path) as store:
        await store.submit(channel(), exchange(1), exchange(2, status=Status.BROKEN), line(0)).wait()

        with read_ledger(path) as ledger:
            assert list(ledger.channels()) == list(await store.channels())
            assert list(ledger.unsettled()) == list(await store.unsettled())
            assert list(ledger.lines()) == list(await store.lines())
            await store.submit(line(1)).wait()

        assert len(await store.lines()) == 2


async def test_all_that_is_read_is_of_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with open_store(path) as store:
        await store.submit(line(0)).wait()

        with read_ledger(path) as ledger:
            assert list(ledger.channels()) == []
            await store.submit(channel(), line(1)).wait()
            assert list(ledger.channels()) == []
            assert len(list(ledger.lines())) == 1


async def test_what_a_reading_leaves_beside_a_ledger_only_its_owner_can_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    await write(path)
    before = path.read_bytes()

    with read_ledger(path) as ledger:
        assert [row.charged for row in ledger.channels()] == [10]

    assert path.read_bytes() == before
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}  # noqa: ASYNC240
    async with open_store(path) as store:
        assert len(await store.lines()) == 1


@pytest.mark.slow
async def test_what_a_killed_node_was_told_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    done = await trio.run_process([sys.executable, "-c", WRITER, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    # The rows are in the journal alone.
    assert path.with_name("ledger.db-wal").stat().st_size > 0

    with read_ledger(path) as ledger:
        assert len(list(ledger.lines())) == 500

    async with open_store(path) as store:
        assert len(await store.lines()) == 500


async def test_nothing_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await write(path)

    with read_ledger(path) as ledger, pytest.raises(sqlite3.OperationalError, match="readonly"):
        ledger._connection.execute("delete from lines")


def test_where_there_is_no_ledger_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no ledger here"), read_ledger(tmp_path / "ledger.db"):
        pass

    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize("name", ["what?mode=rwc", "a#b", "50%25", "sp ace", "ü"])
async def test_a_folder_s_odd_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    await write(folder / "ledger.db")

    with read_ledger(folder / "ledger.db") as ledger:
        assert len(list(ledger.lines())) == 1


def test_another_file_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    letter, other, empty = (tmp_path / name for name in ("letter.txt", "other.db", "empty"))
    letter.write_text("Dear Sir or Madam, " * 100)
    empty.touch()
    with sqlite3.connect(other) as connection:
        connection.execute("create table lines (id)")
    connection.close()

    for path in (letter, other, empty):
        with pytest.raises(ConfigurationError, match="not a ledger"), read_ledger(path):
            pass


async def test_another_version_s_ledger_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await write(path)
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version=99")
    connection.close()

    with pytest.raises(ConfigurationError, match="schema=99"), read_ledger(path):
        pass


async def test_a_damaged_ledger_is_told_so_also_half_way(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with open_store(path) as store:
        for number in range(2000):
            store.submit(line(number))
        await store.submit().wait()
    with path.open("r+b") as file:
        file.seek(40_000)
        file.write(b"\xff" * 4096 * 4)

    with pytest.raises(Unavailable, match="cannot be read"), read_ledger(path) as ledger:
        list(ledger.lines())
