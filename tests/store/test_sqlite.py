"""What a ledger in a file keeps, and for whom."""

import sqlite3
from pathlib import Path
from typing import cast

import pytest
import trio

from cocoon_p2p.errors import LocalProtocolError, Unavailable
from cocoon_p2p.ledger import EndedForgotten, Evidence, ExchangeForgotten, Status
from cocoon_p2p.store import DatabaseStore, open_store
from cocoon_p2p.units import Nano
from tests.store.rows import PAYEE_END, PAYER_END, channel, exchange, line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_what_was_written_is_there_when_the_ledger_is_opened_again(path: Path) -> None:
    rows = channel(PAYER_END, charged=7), channel(PAYEE_END, vouchered=2**62)
    exchanges = exchange(1), exchange(2, name=PAYER_END, status=Status.RUNNING)
    lines = line(0), line(1, 0), line(0, name=PAYER_END)

    async with open_store(path) as store:
        await store.submit(*rows, *exchanges, *lines).wait()

    async with open_store(path) as store:
        assert set(await store.channels()) == set(rows)
        assert tuple(await store.unsettled()) == exchanges[1:]
        assert set(await store.lines()) == set(lines)
        assert store.exchange(PAYEE_END, exchanges[0].exchange) == exchanges[0]
        assert store.exchange(PAYER_END, exchanges[0].exchange) is None


async def test_writing_anything_twice_leaves_what_writing_it_once_leaves(path: Path) -> None:
    evidence = Evidence(PAYEE_END, "two states", (b"one", b"other"), 100)
    changes = channel(), exchange(1), line(0), evidence

    async with open_store(path) as store:
        store.submit(*changes)
        await store.submit(*changes).wait()

        assert len(await store.channels()) == len(await store.lines()) == 1
        assert list(await store.evidence(PAYEE_END)) == [("two states", b"one"), ("two states", b"other")]


async def test_a_newer_row_replaces_the_older_one(path: Path) -> None:
    async with open_store(path) as store:
        store.submit(channel(vouchered=1), exchange(1, status=Status.RUNNING), line(0, 3))
        store.submit(channel(vouchered=2), exchange(1, status=Status.ENDED), line(0, 4))

        assert [row.vouchered for row in await store.channels()] == [2]
        assert await store.unsettled() == []
        assert [line.amount for line in await store.lines()] == [4]


async def test_what_was_handed_over_counts_for_a_look_up_before_it_is_on_disk(path: Path) -> None:
    async with open_store(path) as store:
        store.submit(exchange(1))

        assert store.exchange(PAYEE_END, exchange(1).exchange) == exchange(1)
        assert store.ended(exchange(1).exchange) == exchange(1)

        store.submit(ExchangeForgotten(PAYEE_END, exchange(1).exchange))
        assert store.exchange(PAYEE_END, exchange(1).exchange) is None


async def test_an_exchange_counts_as_ended_only_where_we_were_paid(path: Path) -> None:
    async with open_store(path) as store:
        store.submit(exchange(1, name=PAYER_END), exchange(2, status=Status.BROKEN))
        for _ in range(2):
            assert store.ended(exchange(1).exchange) is None
            assert store.ended(exchange(2).exchange) is None
            # First what is on its way, then what is on disk.
            await store.submit().wait()


async def test_only_ended_exchanges_are_forgotten_and_only_old_ones(path: Path) -> None:
    kept = exchange(2, at=50), exchange(3, at=10, status=Status.RUNNING)

    async with open_store(path) as store:
        store.submit(exchange(1, at=49), *kept, line(0))
        await store.submit(EndedForgotten(before=50)).wait()

        assert store.exchange(PAYEE_END, exchange(1).exchange) is None
        assert all(store.exchange(PAYEE_END, row.exchange) == row for row in kept)
        assert len(await store.lines()) == 1


async def test_callers_that_come_while_the_disk_is_busy_share_a_commit(path: Path) -> None:
    async with open_store(path) as store, trio.open_nursery() as nursery:
        await store.submit(channel()).wait()
        before = store.commits
        for number in range(200):
            nursery.start_soon(store.submit(line(number)).wait)

    assert store.commits - before < 20


async def test_whoever_waits_for_one_write_may_count_on_all_before_it(path: Path) -> None:
    async with open_store(path) as store:
        handed = [store.submit(line(number)) for number in range(50)]
        await handed[-1].wait()

        assert all(write.finished for write in handed)


async def test_a_cancelled_caller_s_write_lands_all_the_same(path: Path) -> None:
    async with open_store(path) as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.submit(line(0)).wait()

        assert scope.cancelled_caught
        assert len(await store.lines()) == 1


async def test_leaving_the_block_writes_what_is_queued_even_when_cancelled(path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_store(path) as store:
            store.submit(line(0))
            scope.cancel()
            await trio.lowlevel.checkpoint()

    async with open_store(path) as store:
        assert len(await store.lines()) == 1


async def test_changes_that_cannot_be_written_harm_nobody_else_s(path: Path) -> None:
    async with open_store(path) as store:
        first = store.submit(line(0))
        # A whole caller's changes stand or fall together.
        bad = store.submit(line(1), line(2, -1), line(3))
        too_large = store.submit(line(4, 2**63))
        last = store.submit(line(5))

        await first.wait()
        for handed in bad, too_large:
            with pytest.raises(LocalProtocolError, match="does not take these changes"):
                await handed.wait()
        await last.wait()

        assert [line.number for line in await store.lines()] == [0, 5]


async def test_a_full_disk_ends_the_block_and_every_write_after_it(path: Path) -> None:
    unwritten = list[str]()

    with pytest.raises(Unavailable, match="the ledger cannot be written") as caught:
        async with open_store(path) as store:
            await store.submit(line(0)).wait()
            fill_disk(store)
            handed = [store.submit(line(number, name=PAYER_END), *papers(number)) for number in range(200)]
            for write in [*handed, store.submit(line(1))]:
                try:
                    await write.wait()
                except Unavailable as error:
                    unwritten.append(str(error))
            await trio.sleep_forever()

    assert caught.value.hint
    assert unwritten
    async with open_store(path) as store:
        lines = await store.lines()
        # What was promised is there, and what came after the failure is not.
        assert line(0) in lines
        assert line(1) not in lines


def fill_disk(store: DatabaseStore) -> None:
    # SQLite reports a full disk as soon as the file would grow beyond this.
    connection = cast(sqlite3.Connection, store._database._writer)
    pages = connection.execute("pragma page_count").fetchone()[0]
    connection.execute(f"pragma max_page_count={pages}")


def papers(number: int) -> list[Evidence]:
    return [Evidence(PAYEE_END, f"reason {number}", (bytes(3000),), 1)]


async def test_the_block_s_own_error_comes_out_as_it_is(path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_store(path):
            raise ZeroDivisionError


async def test_a_reader_beside_the_owner_sees_what_is_committed(path: Path) -> None:
    async with open_store(path) as store:
        await store.submit(channel(vouchered=9)).wait()

        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as reader:
            assert reader.execute("select vouchered from channels").fetchall() == [(9,)]
        reader.close()


async def test_a_caller_waits_for_the_disk_not_for_a_second_batch(path: Path) -> None:
    async with open_store(path) as store:
        written = store.submit(channel(vouchered=Nano(1)))
        assert not written.finished

        await written.wait()

        assert written.finished
