"""Callers that go away at any moment: the next one is served as if they had never been."""

import threading
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.payments.contract import AccountId
from tests.payments.devchain.bait import STRANGER
from tests.payments.lite.scene import HANG, honest, staged

pytestmark = pytest.mark.slow

PLACE = AccountId(STRANGER)

BOUND_SECONDS = 30


def threads() -> int:
    return sum(thread.name == "lite client" for thread in threading.enumerate())


async def test_callers_cancelled_at_any_moment_spoil_nothing_for_the_next(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        scene.chain.give(STRANGER, 5)
        scene.chain.make_block()
        servers = [await scene.server("a"), await scene.server("b")]
        async with scene.opened() as port:
            # With the connections still to be made, too.
            for number in range(60):
                with trio.move_on_after(number / 60 / 100):
                    await port.account(PLACE)

            assert (await port.account(PLACE)).balance == 5
            assert [await port.transactions(PLACE)] != [()]
            assert max(server.open for server in servers) == 1
        assert threads() == 0


async def test_a_caller_who_waits_for_a_server_that_hangs_can_leave_at_once(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        servers = [await scene.server("a", lambda *_: HANG), await scene.server("b", lambda *_: HANG)]
        async with scene.opened() as port:
            began = trio.current_time()
            with trio.move_on_after(0.5) as scope:
                await port.account(PLACE)
            assert scope.cancelled_caught
            assert trio.current_time() - began < 5
            for server in servers:
                server.tamper = honest

            # What they still owe is thrown away.
            assert (await port.account(PLACE)).balance == 0
            assert [server.connections for server in servers] == [1, 1]


async def test_closing_while_calls_wait_leaves_no_thread_and_no_connection(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        servers = [await scene.server("a", lambda *_: HANG), await scene.server("b", lambda *_: HANG)]
        with trio.move_on_after(0.5) as scope:
            async with scene.opened() as port, trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(port.account, PLACE)
        assert scope.cancelled_caught
        assert threads() == 0
        with trio.fail_after(BOUND_SECONDS):
            while any(server.open for server in servers):  # noqa: ASYNC110  (a connection's end tells nobody)
                await trio.sleep(0.01)


async def test_a_server_that_owes_too_many_answers_is_left(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        server = await scene.server("a")
        async with scene.opened(operators_min=1) as port:
            await port.time()
            server.tamper = lambda *_: HANG
            with trio.fail_after(BOUND_SECONDS):
                while server.connections < 2:
                    with suppress(Unavailable), trio.move_on_after(0.01):
                        await port.time()
            server.tamper = honest

            assert await port.time() > 0


async def test_many_at_one_time_are_all_served(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        for operator in ("a", "b"):
            await scene.server(operator)
        async with scene.opened() as port:
            seen: list[int] = []

            async def look() -> None:
                seen.append((await port.account(PLACE)).at)

            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(look)

        assert len(seen) == 100


async def test_an_error_of_the_block_comes_out_as_it_is(tmp_path: Path) -> None:
    async with staged(tmp_path) as scene:
        await scene.server("a")
        with pytest.raises(Unavailable, match="mine"):
            async with scene.opened(operators_min=1):
                raise Unavailable("mine")
        assert threads() == 0
