"""The bridge between trio and an asyncio loop: nothing is lost on it, and nothing left behind."""

import asyncio
import threading

import pytest
import trio
import trio.lowlevel

from cocoon_p2p.payments.lite.loop import AsyncioLoop, open_asyncio_loop

NAME = "a loop of a test"


def threads() -> int:
    return sum(thread.name == NAME for thread in threading.enumerate())


async def left(loop: AsyncioLoop) -> int:
    """How many tasks there are in the loop beside the one that asks."""

    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    return await loop.run(count)


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_a_coroutine_gives_comes_over() -> None:
    async def add() -> int:
        await asyncio.sleep(0)
        return 5

    async with open_asyncio_loop(NAME) as loop:
        assert await loop.run(add) == 5


async def test_what_it_raises_comes_over() -> None:
    async def fail() -> None:
        raise LookupError("so")

    async with open_asyncio_loop(NAME) as loop:
        with pytest.raises(LookupError, match="so"):
            await loop.run(fail)


async def test_many_run_at_one_time() -> None:
    async with open_asyncio_loop(NAME) as loop:
        event = await loop.run(_event)

        async def wait() -> None:
            await event.wait()

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(loop.run, wait)
            while await left(loop) < 50:
                await trio.lowlevel.checkpoint()

            async def go() -> None:
                event.set()

            await loop.run(go)
        assert await left(loop) == 0


async def _event() -> asyncio.Event:
    return asyncio.Event()


async def test_a_cancel_cancels_it_there_and_waits_for_its_end() -> None:
    ended: list[bool] = []

    async def slow_to_end() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    async with open_asyncio_loop(NAME) as loop:
        with trio.move_on_after(0.01) as scope:
            await loop.run(slow_to_end)

        assert scope.cancelled_caught
        assert ended == [True]
        assert await left(loop) == 0


async def test_a_cancel_at_any_moment_leaves_nothing() -> None:
    async with open_asyncio_loop(NAME) as loop:
        for number in range(60):
            with trio.move_on_after(number / 60 / 500):
                await loop.run(lambda: asyncio.sleep(0.001))

        assert await left(loop) == 0


async def test_one_that_is_cancelled_before_it_began_never_runs() -> None:
    ran: list[bool] = []

    async def run() -> None:
        await asyncio.sleep(0)
        ran.append(True)

    async with open_asyncio_loop(NAME) as loop:
        with trio.CancelScope() as scope:
            scope.cancel()
            await loop.run(run)

        assert ran == []


async def test_what_is_cancelled_by_its_own_loop_is_a_lost_connection() -> None:
    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with open_asyncio_loop(NAME) as loop:
        with pytest.raises(ConnectionAbortedError):
            await loop.run(cancel_itself)


async def test_in_the_end_the_thread_is_joined_and_what_ran_was_cancelled() -> None:
    cancelled: list[bool] = []

    async def run() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def start() -> None:
        kept.append(asyncio.get_running_loop().create_task(run()))

    kept: list[asyncio.Task[None]] = []
    with pytest.raises(LookupError):
        async with open_asyncio_loop(NAME) as loop:
            assert threads() == 1
            await loop.run(start)
            raise LookupError

    assert cancelled == [True]
    assert threads() == 0


async def test_a_cancel_of_the_whole_joins_the_thread_too() -> None:
    with trio.move_on_after(0.02) as scope:
        async with open_asyncio_loop(NAME) as loop:
            await loop.run(forever)

    assert scope.cancelled_caught
    assert threads() == 0
