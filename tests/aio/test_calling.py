"""Calls from asyncio into a trio thread: results, errors, cancels, and ends of either side."""

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from cocoon_p2p.aio import calling
from cocoon_p2p.aio.calling import Pending
from cocoon_p2p.aio.opening import open_portal
from cocoon_p2p.aio.portal import Portal
from cocoon_p2p.errors import LocalProtocolError, Unavailable
from tests.aio.conftest import Run
from tests.aio.scene import COLOUR, Desk, Threads, open_desk


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


async def the_desk(portal: Portal[Desk]) -> Desk:
    async def itself(desk: Desk) -> Desk:
        return desk

    return await Pending(portal, itself).wait()


def test_a_call_gives_what_it_returned_or_raises_what_it_raised(
    run_on_both: Run, trio_threads: Threads
) -> None:
    async def program() -> None:
        async with open_portal(open_desk) as portal:
            assert await Pending(portal, lambda desk: desk.double(21)).wait() == 42
            with pytest.raises(KeyError, match="mislaid"):
                await Pending(portal, lambda desk: desk.fail()).wait()
        assert trio_threads() == []

    run_on_both(program())


def test_a_call_sees_the_context_variables_of_its_caller(run_on_both: Run) -> None:
    async def program() -> None:
        async with open_portal(open_desk) as portal:
            COLOUR.set("green")
            assert await Pending(portal, lambda desk: desk.colour()).wait() == "green"

    run_on_both(program())


def test_a_cancel_reaches_trio_and_is_waited_for(run_on_both: Run) -> None:
    async def program() -> None:
        async with open_portal(open_desk) as portal:
            desk = await the_desk(portal)
            task = asyncio.create_task(Pending(portal, lambda desk: desk.wait()).wait())
            await until(desk.began)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert desk.left.is_set()

    run_on_both(program())


def test_a_second_cancel_does_not_wait_for_trio(run_on_both: Run) -> None:
    async def program() -> None:
        async with open_portal(open_desk) as portal:
            desk, leave = await the_desk(portal), trio.Event()
            task = asyncio.create_task(Pending(portal, lambda desk: desk.linger(leave)).wait())
            await until(desk.began)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=0.05)
            assert not done
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not desk.left.is_set()
            portal.post(leave.set)

    run_on_both(program())


def test_a_task_that_does_not_leave_holds_a_cancel_up_for_its_grace_and_no_longer(
    run_on_both: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "GRACE_SECONDS", 0.05)

    async def program() -> None:
        async with open_portal(open_desk) as portal:
            desk, leave = await the_desk(portal), trio.Event()
            task = asyncio.create_task(Pending(portal, lambda desk: desk.linger(leave)).wait())
            await until(desk.began)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not desk.left.is_set()
            portal.post(leave.set)

    run_on_both(program())


def test_closing_ends_what_runs_and_refuses_what_comes(run_on_both: Run) -> None:
    async def program() -> None:
        async with open_portal(open_desk) as portal:
            desk = await the_desk(portal)
            running = asyncio.create_task(Pending(portal, lambda desk: desk.wait()).wait())
            await until(desk.began)
        with pytest.raises(Unavailable, match="closed"):
            await running
        with pytest.raises(Unavailable, match="closed"):
            await Pending(portal, lambda desk: desk.double(1)).wait()

    run_on_both(program())


def test_what_cannot_be_opened_says_why_and_leaves_no_thread(run_on_both: Run, trio_threads: Threads) -> None:
    @asynccontextmanager
    async def refuse() -> AsyncIterator[Desk]:
        await trio.lowlevel.checkpoint()
        if not trio_threads():
            yield Desk()
        raise OSError("the port is taken")

    async def program() -> None:
        with pytest.raises(OSError, match="taken"):
            async with open_portal(refuse):
                raise AssertionError("it was not opened")

    run_on_both(program())


class Hanging:
    """Opens for ever, and takes a moment to leave that."""

    def __init__(self) -> None:
        self.began, self.left = threading.Event(), threading.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Desk]:
        self.began.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            self.left.set()
        yield Desk()

    async def use(self) -> None:
        async with open_portal(self.open):
            raise AssertionError("it was not opened")


def test_a_cancel_while_it_opens_ends_the_opening_and_waits_for_that(run_on_both: Run) -> None:
    hanging = Hanging()

    async def program() -> None:
        task = asyncio.create_task(hanging.use())
        await until(hanging.began)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Whoever opens anew finds a ledger that nobody has.
        assert hanging.left.is_set()

    run_on_both(program())


def test_a_time_out_that_ended_the_thread_is_said(run_on_both: Run) -> None:
    @asynccontextmanager
    async def fail() -> AsyncIterator[Desk]:
        try:
            yield Desk()
        finally:
            raise TimeoutError("the disk")

    async def program() -> None:
        with pytest.raises(TimeoutError, match="the disk"):
            async with open_portal(fail):
                pass

    run_on_both(program())


def test_a_loop_that_has_ended_is_forgotten(run_on_both: Run) -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def program() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        async with open_portal(open_desk) as portal:
            await Pending(portal, lambda desk: desk.double(1)).wait()

    run_on_both(program())
    gc.collect()
    assert loops[0]() is None


def test_a_thread_that_breaks_down_fails_what_runs_and_says_why_at_the_end(run_on_both: Run) -> None:
    async def program() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_portal(open_desk) as portal:
                desk = await the_desk(portal)
                running = asyncio.create_task(Pending(portal, lambda desk: desk.wait()).wait())
                await until(desk.began)
                portal.post(desk.broken.set)
                with pytest.raises(Unavailable):
                    await running
        assert caught.group_contains(OSError, match="collapsed")

    run_on_both(program())


def test_the_body_s_error_comes_out_as_it_is(run_on_both: Run) -> None:
    async def program() -> None:
        with pytest.raises(KeyError, match="body"):
            async with open_portal(open_desk):
                raise KeyError("body")

    run_on_both(program())


def test_a_forked_process_is_told_to_open_its_own() -> None:
    portal = Portal(open_desk)
    ready, closed = threading.Event(), threading.Event()
    portal.start(lambda _: ready.set(), lambda _: closed.set())
    assert ready.wait(30)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            try:
                portal.submit(lambda desk: desk.double(1), lambda _: None)
            except LocalProtocolError as error:
                os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert b"forked" in os.read(read, 1000)
    os.close(read)
    portal.close()
    assert closed.wait(30)


def test_many_loops_call_at_once_and_each_gets_its_own_answers() -> None:
    portal = Portal(open_desk)
    ready, closed = threading.Event(), threading.Event()
    portal.start(lambda _: ready.set(), lambda _: closed.set())
    assert ready.wait(30)
    found: dict[int, list[int]] = {}

    async def program(loop: int) -> None:
        calls = (Pending(portal, lambda desk, n=n: desk.double(n)).wait() for n in range(loop, loop + 50))
        found[loop] = await asyncio.gather(*calls)

    threads = [threading.Thread(target=asyncio.run, args=(program(n * 1000),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    portal.close()
    assert closed.wait(30)
    assert found == {n * 1000: [2 * (n * 1000 + k) for k in range(50)] for n in range(4)}


def test_a_loop_that_closed_under_a_call_takes_nothing_with_it() -> None:
    portal = Portal(open_desk)
    ready, closed = threading.Event(), threading.Event()
    portal.start(lambda _: ready.set(), lambda _: closed.set())
    assert ready.wait(30)
    leave = trio.Event()

    async def abandon() -> None:
        Pending(portal, lambda desk: desk.linger(leave))

    async def double() -> int:
        return await Pending(portal, lambda desk: desk.double(4)).wait()

    asyncio.run(abandon())
    portal.post(leave.set)
    assert asyncio.run(double()) == 8
    portal.close()
    assert closed.wait(30)
