"""What is written is read, by each reader, in order; what nobody needs is not held."""

import pytest
import trio
import trio.testing

from cocoon_p2p.gateway import flow as flows
from cocoon_p2p.gateway.flow import Flow, Reader


async def _read_all(reader: Reader) -> list[bytes]:
    pieces: list[bytes] = []
    while (piece := await reader.take()) is not None:
        pieces.append(piece)
    return pieces


async def test_a_burst_is_read_as_one() -> None:
    flow = Flow(is_kept=False)
    reader = flow.read()

    for piece in (b"one ", b"two ", b"three"):
        flow.write(piece)
    flow.end()

    assert await _read_all(reader) == [b"one two three"]


async def test_who_waits_is_woken_by_each_piece(autojump_clock: trio.testing.MockClock) -> None:
    flow = Flow(is_kept=False)
    reader = flow.read()
    got: list[bytes] = []

    async def read() -> None:
        got.extend(await _read_all(reader))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for piece in (b"one", b"two"):
            await trio.sleep(1)
            flow.write(piece)
        await trio.sleep(1)
        flow.end()

    assert got == [b"one", b"two"]


async def test_what_was_read_is_not_held_unless_it_is_kept() -> None:
    passing, kept = Flow(is_kept=False), Flow(is_kept=True)
    for flow in (passing, kept):
        reader = flow.read()
        flow.write(b"a word")
        await reader.take()

    assert (passing.size_bytes, passing.is_whole) == (0, False)
    assert (kept.size_bytes, kept.is_whole) == (6, True)
    kept.end()
    assert await _read_all(kept.read()) == [b"a word"]


async def test_what_grows_too_long_is_kept_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "KEPT_MAX_BYTES", 10)
    flow = Flow(is_kept=True)
    reader = flow.read()

    for _ in range(3):
        flow.write(b"four")
        await reader.take()

    assert not flow.is_whole
    assert flow.size_bytes == 0


async def test_a_writer_waits_for_the_slowest_reader_and_for_no_one_who_left(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "UNREAD_MAX_BYTES", 10)
    flow = Flow(is_kept=True)
    quick, slow = flow.read(), flow.read()
    flow.write(bytes(11))
    await quick.take()

    with trio.move_on_after(1) as waiting:
        await flow.room()
    assert waiting.cancelled_caught

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flow.room)
        await trio.testing.wait_all_tasks_blocked()
        slow.leave()


async def test_one_that_nobody_reads_takes_what_comes() -> None:
    flow = Flow(is_kept=False)
    flow.read().leave()

    flow.write(bytes(flows.UNREAD_MAX_BYTES + 1))
    with trio.fail_after(1):
        await flow.room()


async def test_a_reader_learns_of_a_head_and_of_an_end_without_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    begun, ended = Flow(is_kept=False), Flow(is_kept=False)
    readers = begun.read(), ended.read()

    async with trio.open_nursery() as nursery:
        for reader in readers:
            nursery.start_soon(reader.begun)
        await trio.testing.wait_all_tasks_blocked()
        begun.begin([])
        ended.end()
