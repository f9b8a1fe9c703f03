"""One exchange's work: what it takes, it gives back."""

import trio
import trio.testing

from cocoon_p2p.protocols.exchange.assignment import Job, Standing, judge
from cocoon_p2p.units import Nano
from cocoon_p2p.worker.work import Work
from tests.worker.scene import NETWORK, PROXY, Scene, scene

MockClock = trio.testing.MockClock


def begin(here: Scene) -> Work:
    """Admit an exchange without a stream."""
    standing = Standing(
        NETWORK, PROXY.peer_id, (here.worker.record,), 1, False, True, is_running=False, receipt=None
    )
    job = judge(here.ask().assign, standing, trio.current_time())
    assert isinstance(job, Job)
    return Work(here.worker._shop, PROXY.peer_id, job, here.account)


async def test_what_accrued_and_was_not_charged_is_given_back(autojump_clock: MockClock) -> None:
    async with scene(grant=100) as here:
        work = begin(here)
        assert work.is_covered(Nano(60))
        assert here.account.accrued == 60

        work.dismiss()

        assert here.account.accrued == 0
        assert here.account.credit == 100


async def test_a_slot_is_free_only_when_the_last_task_has_left(autojump_clock: MockClock) -> None:
    async with scene() as here:
        work, slots = begin(here), here.worker.slots

        with work.task():
            work.dismiss()
            assert (slots.running, slots.free) == (0, slots.total - 1)

        assert slots.free == slots.total


async def test_stopping_cancels_every_task(autojump_clock: MockClock) -> None:
    async with scene() as here:
        work = begin(here)

        async def wait() -> None:
            with work.task():
                await trio.sleep_forever()

        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                nursery.start_soon(wait)
                await here.settled()
                work.stop()

        work.dismiss()
        assert here.worker.slots.free == here.worker.slots.total


async def test_a_task_that_was_to_begin_when_it_was_stopped_does_nothing(autojump_clock: MockClock) -> None:
    async with scene() as here:
        work, ran = begin(here), False
        work.stop()

        with work.task():
            await trio.lowlevel.checkpoint()
            ran = True

        assert not ran
        work.dismiss()
        assert here.worker.slots.free == here.worker.slots.total


async def test_a_task_that_begins_after_the_end_gives_no_slot_back_twice(autojump_clock: MockClock) -> None:
    async with scene() as here:
        first, slots = begin(here), here.worker.slots
        first.dismiss()
        second = begin(here)

        with first.task():
            await trio.lowlevel.checkpoint()

        assert slots.free == slots.total - 1
        second.dismiss()
        assert slots.free == slots.total


async def test_draining_waits_for_slots_that_are_still_busy(autojump_clock: MockClock) -> None:
    async with scene() as here:
        work, left = begin(here), trio.Event()

        async def linger() -> None:
            """Behave as an engine in the middle of a step."""
            with work.task(), trio.CancelScope(shield=True):
                await left.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(linger)
            await here.settled()
            work.dismiss()
            with trio.move_on_after(1) as waited:
                await here.worker.drain()
            assert waited.cancelled_caught

            left.set()
            with trio.fail_after(1):
                await here.worker.drain()
