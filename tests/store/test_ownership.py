"""One process owns a ledger, and nobody else reads its keys."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.store import open_store
from tests.store.rows import line

WRITER = """
import itertools, sys, trio
from pathlib import Path
from cocoon_p2p.store import open_store
from tests.store.rows import line

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        print("open", flush=True)
        for number in itertools.count():
            written = [store.submit(line(3 * number + part)) for part in range(3)]
            await written[-1].wait()
            print(3 * number + 3, flush=True)

trio.run(main)
"""


def start_writer(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def kill(process: "subprocess.Popen[str]") -> list[str]:
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[0].splitlines()
    assert process.returncode == -signal.SIGKILL
    return said


async def test_a_ledger_in_use_is_refused_even_within_one_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async with open_store(path):
        with pytest.raises(ConfigurationError, match=f"in use by another process .*pid={os.getpid()}"):
            async with open_store(path):
                pass


@pytest.mark.slow
async def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    process = start_writer(path)
    try:
        with pytest.raises(ConfigurationError, match=f"pid={process.pid}") as caught:
            async with open_store(path):
                pass
    finally:
        kill(process)

    assert caught.value.hint == "stop that process, or give this node a ledger of its own"
    async with open_store(path) as store:
        await store.submit(line(0)).wait()


@pytest.mark.slow
async def test_what_a_killed_process_was_told_is_written_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    process = start_writer(path)
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()

    said = kill(process)

    told = int(said[-1]) if said and said[-1].isdigit() else 60
    async with open_store(path) as store:
        numbers = [line.number for line in await store.lines()]
    # Nothing that was promised is missing, and nothing is there without what came before it.
    assert len(numbers) >= told
    assert numbers == list(range(len(numbers)))


def modes_in(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_only_the_owner_may_read_any_of_its_files(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch(mode=0o666)
    path.chmod(0o644)

    async with open_store(path) as store:
        await store.submit(line(0)).wait()

        modes = modes_in(tmp_path)

    assert modes == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"), 0o600)


async def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        async with open_store(path):
            pass
    return str(caught.value)


async def test_a_file_that_is_no_database_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)

    assert "not a ledger: file is not a database" in await refusal(path)
    assert path.read_text().startswith("Dear Sir")


async def test_another_program_s_database_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table channels (id)")
    connection.close()

    assert "another program's database" in await refusal(path)


async def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with open_store(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version=99")
    connection.close()

    assert "written by a newer version of this program (schema=99 known=2)" in await refusal(path)


async def test_a_ledger_in_a_folder_that_is_missing_says_which_file(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "ledger.db"

    assert f"No such file or directory (file={path}.lock)" in await refusal(path)


async def test_a_link_is_not_followed_to_another_s_file(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").symlink_to(tmp_path / "elsewhere")

    assert "cannot be opened" in await refusal(tmp_path / "ledger.db")
