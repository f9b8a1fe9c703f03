"""A ledger that the last version's program made is opened, gone on with, and left so that it can go back.

`last_version/ledger.sql` is what that program's own ledger looks like inside; it changes when a version is
left behind, and only then. tests/end_to_end/test_last_version.py has that program read what this one wrote.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cocoon_p2p.ledger import Note, Side, audit
from cocoon_p2p.store import open_store
from cocoon_p2p.store.reading import read_ledger

MADE = (Path(__file__).parent / "last_version" / "ledger.sql").read_text()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.executescript(MADE)
    return path


def tables_of(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("select name, sql from sqlite_master where sql is not null"))


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        version: int = connection.execute("pragma user_version").fetchone()[0]
        return version


async def test_all_that_stood_in_it_stands_there_still(ledger: Path) -> None:
    async with open_store(ledger) as store:
        rows, lines, notes = await store.channels(), await store.lines(), await store.notes("")
        kept = [await store.evidence(row.name) for row in rows]

    assert [(row.name.side, row.vouchered, row.charged) for row in rows] == [
        (Side.PAYER, 300, 180),
        (Side.PAYEE, 250, 200),
    ]
    assert (rows[0].voucher, rows[0].seed, rows[1].earned) == (b"voucher", b"\x05" * 32, b"earned")
    assert len(lines) == 5
    assert audit(rows, lines) == ()
    assert notes == {"a-note": b"kept"}
    assert kept == [[("why", b"one"), ("why", b"two")], []]


async def test_it_is_gone_on_with_and_can_go_back(ledger: Path) -> None:
    before, version = tables_of(ledger), version_of(ledger)

    async with open_store(ledger) as store:
        await store.submit(Note("another", b"1")).wait()

    after = tables_of(ledger)
    # What the last version's program looks at is as it made it; what it does not know it passes over.
    assert before.items() <= after.items()
    assert version_of(ledger) == version


def test_who_only_reads_it_leaves_it_as_it_is(ledger: Path) -> None:
    before = tables_of(ledger)

    with read_ledger(ledger) as reading:
        assert len(list(reading.channels())) == 2

    assert tables_of(ledger) == before
