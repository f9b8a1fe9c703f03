"""What a ledger keeps, and for whom: the same in a file and on a server."""

from dataclasses import replace

import pytest
import trio

from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.ledger import ChannelForgotten, EndedForgotten, Evidence, ExchangeForgotten, Note, Status
from cocoon_p2p.store import open_store
from cocoon_p2p.units import Nano
from tests.store.rows import PAYEE_END, PAYER_END, Place, channel, exchange, line


async def test_what_was_written_is_there_when_the_ledger_is_opened_again(place: Place) -> None:
    rows = channel(PAYER_END, charged=7), channel(PAYEE_END, vouchered=2**62)
    exchanges = exchange(1), exchange(2, name=PAYER_END, status=Status.RUNNING)
    lines = line(0), line(1, 0), line(0, name=PAYER_END)

    async with open_store(place) as store:
        await store.submit(*rows, *exchanges, *lines).wait()

    async with open_store(place) as store:
        assert set(await store.channels()) == set(rows)
        assert tuple(await store.unsettled()) == exchanges[1:]
        assert set(await store.lines()) == set(lines)
        assert store.exchange(PAYEE_END, exchanges[0].exchange) == exchanges[0]
        assert store.exchange(PAYER_END, exchanges[0].exchange) is None


async def test_writing_anything_twice_leaves_what_writing_it_once_leaves(place: Place) -> None:
    evidence = Evidence(PAYEE_END, "two states", (b"one", b"other"), 100)
    changes = channel(), exchange(1), line(0), evidence

    async with open_store(place) as store:
        store.submit(*changes)
        await store.submit(*changes).wait()

        assert len(await store.channels()) == len(await store.lines()) == 1
        assert list(await store.evidence(PAYEE_END)) == [("two states", b"one"), ("two states", b"other")]


async def test_a_newer_row_replaces_the_older_one(place: Place) -> None:
    async with open_store(place) as store:
        store.submit(channel(vouchered=1), exchange(1, status=Status.RUNNING), line(0, 3))
        store.submit(channel(vouchered=2), exchange(1, status=Status.ENDED), line(0, 4))

        assert [row.vouchered for row in await store.channels()] == [2]
        assert await store.unsettled() == []
        assert [line.amount for line in await store.lines()] == [4]


async def test_what_was_handed_over_counts_for_a_look_up_before_it_is_on_disk(place: Place) -> None:
    async with open_store(place) as store:
        store.submit(exchange(1))

        assert store.exchange(PAYEE_END, exchange(1).exchange) == exchange(1)
        assert store.ended(exchange(1).exchange) == exchange(1)

        store.submit(ExchangeForgotten(PAYEE_END, exchange(1).exchange))
        assert store.exchange(PAYEE_END, exchange(1).exchange) is None


async def test_an_exchange_counts_as_ended_only_where_we_were_paid(place: Place) -> None:
    async with open_store(place) as store:
        store.submit(exchange(1, name=PAYER_END), exchange(2, status=Status.BROKEN))
        for _ in range(2):
            assert store.ended(exchange(1).exchange) is None
            assert store.ended(exchange(2).exchange) is None
            # First what is on its way, then what is on disk.
            await store.submit().wait()


async def test_only_ended_exchanges_are_forgotten_and_only_old_ones(place: Place) -> None:
    kept = exchange(2, at=50), exchange(3, at=10, status=Status.RUNNING)

    async with open_store(place) as store:
        store.submit(exchange(1, at=49), *kept, line(0))
        await store.submit(EndedForgotten(before=50)).wait()

        assert store.exchange(PAYEE_END, exchange(1).exchange) is None
        assert all(store.exchange(PAYEE_END, row.exchange) == row for row in kept)
        assert len(await store.lines()) == 1


async def test_callers_that_come_while_the_disk_is_busy_share_a_commit(place: Place) -> None:
    async with open_store(place) as store, trio.open_nursery() as nursery:
        await store.submit(channel()).wait()
        before = store.commits
        for number in range(200):
            nursery.start_soon(store.submit(line(number)).wait)

    assert store.commits - before < 20


async def test_whoever_waits_for_one_write_may_count_on_all_before_it(place: Place) -> None:
    async with open_store(place) as store:
        handed = [store.submit(line(number)) for number in range(50)]
        await handed[-1].wait()

        assert all(write.finished for write in handed)


async def test_a_cancelled_caller_s_write_lands_all_the_same(place: Place) -> None:
    async with open_store(place) as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.submit(line(0)).wait()

        assert scope.cancelled_caught
        assert len(await store.lines()) == 1


async def test_leaving_the_block_writes_what_is_queued_even_when_cancelled(place: Place) -> None:
    with trio.CancelScope() as scope:
        async with open_store(place) as store:
            store.submit(line(0))
            scope.cancel()
            await trio.lowlevel.checkpoint()

    async with open_store(place) as store:
        assert len(await store.lines()) == 1


async def test_what_the_block_writes_while_it_is_cancelled_is_written(place: Place) -> None:
    with trio.CancelScope() as outside:
        async with open_store(place) as store:
            try:
                outside.cancel()
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(60, shield=True) as scope:
                    await store.submit(line(0)).wait()

    assert not scope.cancelled_caught
    async with open_store(place) as store:
        assert list(await store.lines()) == [line(0)]


async def test_a_closed_ledger_takes_nothing(place: Place) -> None:
    async with open_store(place) as store:
        pass

    with pytest.raises(LocalProtocolError, match="closed"):
        await store.submit(line(0)).wait()


async def test_changes_that_cannot_be_written_harm_nobody_else_s(place: Place) -> None:
    async with open_store(place) as store:
        first = store.submit(line(0))
        # A whole caller's changes stand or fall together.
        bad = store.submit(line(1), line(2, -1), line(3))
        too_large = store.submit(line(4, 2**63))
        no_text = store.submit(Evidence(PAYEE_END, "half \ud800 of a letter", (b"paper",), 1))
        last = store.submit(line(5))

        await first.wait()
        for handed in bad, too_large, no_text:
            with pytest.raises(LocalProtocolError, match="does not take these changes"):
                await handed.wait()
        await last.wait()

        assert [line.number for line in await store.lines()] == [0, 5]


async def test_the_block_s_own_error_comes_out_as_it_is(place: Place) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_store(place):
            raise ZeroDivisionError


async def test_a_caller_waits_for_the_disk_not_for_a_second_batch(place: Place) -> None:
    async with open_store(place) as store:
        written = store.submit(channel(vouchered=Nano(1)))
        assert not written.finished

        await written.wait()

        assert written.finished


async def test_a_refusal_shows_nothing_of_the_row(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    secret = bytes(range(32))

    async with open_store(place) as store:
        with pytest.raises(LocalProtocolError) as caught:
            await store.submit(replace(channel(PAYER_END, charged=-1), seed=secret)).wait()

    logged = str(vars(caplog.records[-1]))
    for shown in str(caught.value), logged:
        assert "check constraint" in shown.lower()
        assert secret[:8].hex() not in shown


async def test_a_row_s_fixed_columns_stay_as_they_were_first_written(place: Place) -> None:
    async with open_store(place) as store:
        store.submit(channel(PAYER_END))
        await store.submit(replace(channel(PAYER_END, charged=3), offer=b"another", seed=b"another")).wait()

        assert list(await store.channels()) == [channel(PAYER_END, charged=3)]


async def test_notes_are_read_by_how_they_begin_and_in_the_order_of_bytes(place: Place) -> None:
    names = ["b:1", "a:Z", "a:a", "a:%_", "a:é", "a:"]

    async with open_store(place) as store:
        store.submit(
            *(Note(name, name.encode()) for name in names), Note("a:gone", b"1"), Note("a:gone", None)
        )

        read = await store.notes("a:")

    assert list(read.items()) == [(name, name.encode()) for name in sorted(names) if name.startswith("a:")]


async def test_a_paper_of_a_megabyte_is_kept_as_it_is(place: Place) -> None:
    paper = bytes(range(256)) * 4096

    async with open_store(place) as store:
        await store.submit(Evidence(PAYEE_END, "long", (paper,), 1)).wait()

        assert list(await store.evidence(PAYEE_END)) == [("long", paper)]


async def test_the_books_of_a_channel_that_came_to_nothing_are_forgotten_with_it(place: Place) -> None:
    async with open_store(place) as store:
        store.submit(channel(), line(0), channel(PAYER_END), line(0, name=PAYER_END))
        store.submit(ChannelForgotten(PAYEE_END))

        assert [row.name for row in await store.channels()] == [PAYER_END]
        assert [line.name for line in await store.lines()] == [PAYER_END]
