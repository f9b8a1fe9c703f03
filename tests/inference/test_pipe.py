"""The way from an engine's thread into trio."""

import threading
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from cocoon_p2p.inference.engine import EngineError
from cocoon_p2p.inference.pipe import Pipe

BOUND_SECONDS = 10
"A bound for a test that hangs; none waits for it."


def in_thread(engine: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=engine, daemon=True)
    thread.start()
    return thread


async def joined(thread: threading.Thread) -> None:
    with trio.fail_after(BOUND_SECONDS):
        await trio.to_thread.run_sync(thread.join)


async def test_items_arrive_in_order_and_none_is_lost() -> None:
    pipe = Pipe[int](credit=8)

    def engine() -> None:
        for number in range(5_000):
            pipe.put(number)
        pipe.close()

    in_thread(engine)
    with trio.fail_after(BOUND_SECONDS):
        received = [number async for number in pipe]

    assert received == list(range(5_000))


async def test_a_reader_that_lags_stops_its_writer_at_the_credit() -> None:
    pipe = Pipe[int](credit=3)
    handed_over = list[int]()
    waits = threading.Event()

    def engine() -> None:
        for number in range(5):
            if number == 3:
                waits.set()
            pipe.put(number)
            handed_over.append(number)

    thread = in_thread(engine)
    await trio.to_thread.run_sync(waits.wait)
    before = list(handed_over)
    taken = [await anext(pipe) for _ in range(2)]
    await joined(thread)

    assert before == [0, 1, 2]
    assert taken == [0, 1]
    assert handed_over == [0, 1, 2, 3, 4]


async def test_a_writer_that_serves_many_readers_never_waits_for_one() -> None:
    pipe = Pipe[int](credit=1)

    assert all(pipe.offer(number) for number in range(1_000))
    pipe.close()

    assert [number async for number in pipe] == list(range(1_000))


async def test_a_writer_that_waits_for_credit_goes_on_when_the_reader_leaves() -> None:
    pipe = Pipe[int](credit=1)
    answers = list[bool]()

    def engine() -> None:
        answers.append(pipe.put(1))
        answers.append(pipe.put(2))
        answers.append(pipe.put(3))

    with pipe:
        thread = in_thread(engine)
        await anext(pipe)
    await joined(thread)

    assert answers[0] is True
    assert answers[-1] is False


async def test_a_cancelled_reader_takes_no_item() -> None:
    pipe = Pipe[str]()
    pipe.offer("only")

    with trio.CancelScope() as scope:
        scope.cancel()
        await anext(pipe)

    assert scope.cancelled_caught
    assert await anext(pipe) == "only"


async def test_an_error_comes_after_everything_that_was_handed_over() -> None:
    pipe = Pipe[str]()
    pipe.offer("delivered")
    pipe.close(ValueError("engine broke"))
    pipe.close()

    received = [await anext(pipe)]
    with pytest.raises(ValueError, match="engine broke"):
        await anext(pipe)

    assert received == ["delivered"]


async def test_a_silent_engine_is_given_up_after_the_patience(autojump_clock: MockClock) -> None:
    pipe = Pipe[str](patience_seconds=30)
    started = trio.current_time()

    with pytest.raises(EngineError, match="no step"):
        await anext(pipe)

    assert trio.current_time() - started == pytest.approx(30)


async def test_a_reader_that_always_finds_items_lets_other_tasks_run() -> None:
    pipe = Pipe[int]()
    for number in range(200):
        pipe.offer(number)
    pipe.close()
    taken, taken_when_the_other_ran = 0, list[int]()

    async def other() -> None:
        taken_when_the_other_ran.append(taken)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        async for _ in pipe:
            taken += 1

    assert taken == 200
    assert taken_when_the_other_ran[0] < 200


async def test_a_waiting_reader_is_woken_by_the_close() -> None:
    pipe = Pipe[int]()
    received = list[int]()

    async def read() -> None:
        received.extend([number async for number in pipe])

    with trio.fail_after(BOUND_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            pipe.offer(7)
            pipe.close()

    assert received == [7]


def test_a_writer_is_told_to_stop_when_trio_is_gone() -> None:
    pipes = list[Pipe[int]]()

    async def main() -> None:
        pipes.append(Pipe[int]())

    trio.run(main)

    pipes[0].offer(1)
    assert pipes[0].offer(2) is False
