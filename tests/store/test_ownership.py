"""One process owns a ledger's file, and nobody else reads the keys in it."""

import errno
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.store import open_store
from tests.store.rows import line


async def test_a_ledger_in_use_is_refused_even_within_one_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async with open_store(path):
        with pytest.raises(ConfigurationError, match=f"in use by another process .*pid={os.getpid()}"):
            async with open_store(path):
                pass


async def test_a_disk_without_room_for_the_owner_s_number_is_no_reason_not_to_own_a_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    path = tmp_path / "ledger.db"

    async with open_store(path):
        with pytest.raises(ConfigurationError, match=r"in use by another process .*pid=unknown"):
            async with open_store(path):
                pass


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
