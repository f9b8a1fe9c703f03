"""A disk that is full, damaged or not ours: a file's ledger takes no more work, and loses nothing."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from cocoon_p2p.errors import CocoonError, ConfigurationError, Unavailable
from cocoon_p2p.ledger import Evidence
from cocoon_p2p.store import DatabaseStore, open_store
from tests.store.rows import PAYEE_END, PAYER_END, channel, exchange, line, until_the_ledger_ends


def paper(number: int) -> Evidence:
    return Evidence(PAYEE_END, f"reason {number}", (os.urandom(3000),), 1)


async def write_until_refused(store: DatabaseStore) -> tuple[list[int], Unavailable]:
    """Give the numbers of the lines that were promised to be on disk, and why there are no more."""
    promised: list[int] = []
    for number in range(10_000):
        try:
            await store.submit(line(number), paper(number)).wait()
        except Unavailable as refusal:
            return promised, refusal
        promised.append(number)
    raise AssertionError("the disk took everything")


async def test_a_full_disk_ends_the_block_and_every_write_after_it(tmp_path: Path) -> None:
    path, refused = tmp_path / "ledger.db", list[str]()

    with pytest.raises(Unavailable, match="cannot be written: database or disk is full") as caught:
        async with open_store(path) as store:
            await store.submit(line(0)).wait()
            fill(store)
            handed = [store.submit(line(number, name=PAYER_END), paper(number)) for number in range(200)]
            for write in [*handed, store.submit(line(1))]:
                try:
                    await write.wait()
                except Unavailable as error:
                    refused.append(str(error))
            await until_the_ledger_ends()

    assert caught.value.hint == "free space on the disk or mend it, then start again"
    assert refused
    async with open_store(path) as store:
        lines = await store.lines()
        assert line(0) in lines
        assert line(1) not in lines


def fill(store: DatabaseStore) -> None:
    # SQLite reports a full disk as soon as the file would grow beyond this.
    connection = cast(sqlite3.Connection, store._database._writer)  # type: ignore[attr-defined]
    pages = connection.execute("pragma page_count").fetchone()[0]
    connection.execute(f"pragma max_page_count={pages}")


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    mounting = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)]
    if os.getuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk to fill; the same is tried above without one")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_what_was_promised_before_a_real_disk_was_full_is_there_when_there_is_room(
    tmp_path: Path,
) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()

    with small_disk(small):
        with pytest.raises(Unavailable):
            async with open_store(small / "ledger.db") as store:
                promised, refusal = await write_until_refused(store)
                await until_the_ledger_ends()
        shutil.copytree(small, large)

    assert promised
    assert refusal.hint.startswith("free space")
    async with open_store(large / "ledger.db") as store:
        kept = [line.number for line in await store.lines()]
        # At most the write that was refused is there beside them.
        assert kept[: len(promised)] == promised
        assert len(kept) - len(promised) <= 1
        await store.submit(line(len(kept))).wait()


async def test_a_disk_that_has_no_room_for_a_new_ledger_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path):
        (tmp_path / "filler").write_bytes(bytes(500 * 1024))

        with pytest.raises(Unavailable, match="cannot be opened") as caught:
            async with open_store(tmp_path / "ledger.db"):
                pass

    assert caught.value.hint.startswith("free space")


async def damaged(path: Path, where: slice) -> Path:
    async with open_store(path) as store:
        for number in range(40):
            store.submit(line(number), channel(), exchange(number), paper(number))
    damage(path, where)
    return path


def damage(path: Path, where: slice) -> None:
    content = bytearray(path.read_bytes())
    content[where] = b"\xa5" * len(content[where])
    path.write_bytes(content)


async def test_a_damaged_page_ends_the_ledger_and_says_what_to_do(tmp_path: Path) -> None:
    path = await damaged(tmp_path / "ledger.db", slice(4096, None))

    with pytest.raises(Unavailable, match="malformed") as caught:
        async with open_store(path) as store:
            await store.lines()

    assert caught.value.hint.startswith("the file is damaged")


async def test_a_look_up_on_a_damaged_page_ends_the_ledger(tmp_path: Path) -> None:
    path = await damaged(tmp_path / "ledger.db", slice(4096, None))

    with pytest.raises(Unavailable, match="cannot be read"):
        async with open_store(path) as store:
            with pytest.raises(Unavailable, match="cannot be read"):
                store.exchange(PAYEE_END, exchange(7).exchange)
            await until_the_ledger_ends()


@pytest.mark.parametrize("where", [slice(0, 16), slice(0, 100), slice(100, 4096)])
async def test_a_damaged_first_page_is_told_and_left_as_it_is(tmp_path: Path, where: slice) -> None:
    path = await damaged(tmp_path / "ledger.db", where)
    before = path.read_bytes()

    with pytest.raises(CocoonError) as caught:
        async with open_store(path):
            pass

    assert isinstance(caught.value, ConfigurationError | Unavailable)
    assert caught.value.hint
    assert path.read_bytes() == before


@contextmanager
def another_user() -> Iterator[Path]:
    """Be nobody, whom a folder's mode binds, with a folder of one's own."""
    folder = Path(tempfile.mkdtemp())
    if os.getuid() == 0:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o700)
        shutil.rmtree(folder)


async def test_a_read_only_folder_is_refused_and_named() -> None:
    with another_user() as folder:
        folder.chmod(0o500)

        with pytest.raises(
            ConfigurationError, match=r"Permission denied \(file=.*ledger.db.lock\)"
        ) as caught:
            async with open_store(folder / "ledger.db"):
                pass

    assert caught.value.hint == "name a file in an existing folder that this user may write to"


async def test_a_ledger_whose_folder_became_read_only_says_what_to_do() -> None:
    with another_user() as folder:
        async with open_store(folder / "ledger.db") as store:
            await store.submit(line(0)).wait()
        folder.chmod(0o500)

        with pytest.raises(Unavailable, match="cannot be opened") as caught:
            async with open_store(folder / "ledger.db"):
                pass

    assert caught.value.hint.startswith("let this user write")
