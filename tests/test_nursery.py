"""What a service's block raises comes out as it is, and its tasks end with it."""

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.nursery import open_service_nursery


async def test_the_blocks_own_error_is_in_no_group_and_the_tasks_end() -> None:
    ended = False

    async def serve() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True

    with pytest.raises(Unavailable, match="mine"):
        async with open_service_nursery() as nursery:
            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
            raise Unavailable("mine")

    assert ended


async def test_a_task_that_fails_ends_the_block() -> None:
    async def fail() -> None:
        raise RuntimeError("a fault")

    with pytest.RaisesGroup(RuntimeError):
        async with open_service_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()


async def test_a_cancel_passes() -> None:
    with trio.move_on_after(0) as scope:
        async with open_service_nursery():
            await trio.sleep_forever()

    assert scope.cancelled_caught
