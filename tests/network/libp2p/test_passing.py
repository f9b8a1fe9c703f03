"""A few at each pass of the loop: in order, nobody forgotten, and nobody kept waiting for nothing."""

import pytest
import trio
import trio.testing

from cocoon_p2p.network.libp2p.passing import Passing


async def test_a_crowd_goes_by_a_few_at_a_time_in_the_order_in_which_it_came() -> None:
    passing, passes, gone = Passing(2), 0, list[tuple[int, int]]()

    async def go(number: int) -> None:
        await passing.go_by()
        gone.append((number, passes))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(passing.run)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as crowd:
            for number in range(20):
                crowd.start_soon(go, number)
            while len(gone) < 20:
                await trio.lowlevel.checkpoint()
                passes += 1
        nursery.cancel_scope.cancel()

    at_each = [sum(when == each for _, when in gone) for each in range(passes + 1)]
    # Tasks of one pass run in any order, so two passes' worth may fall between two looks.
    assert max(at_each) <= 4
    assert sorted(number for number, _ in gone) == list(range(20))


async def test_whoever_comes_alone_goes_by_at_once_however_often() -> None:
    passing, others = Passing(1), list[int]()

    async def note(number: int) -> None:
        others.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(passing.run)
        for number in range(10):
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(note, number)
            await passing.go_by()
            assert others == list(range(number))
        nursery.cancel_scope.cancel()


async def test_who_gives_up_waiting_takes_nobodys_room() -> None:
    passing, gone = Passing(1), list[str]()

    async def go(name: str, scope: trio.CancelScope) -> None:
        with scope:
            await passing.go_by()
            gone.append(name)

    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(4)]
        for name, scope in zip("abcd", scopes, strict=True):
            nursery.start_soon(go, name, scope)
            await trio.testing.wait_all_tasks_blocked()
        assert gone == ["a"]

        scopes[1].cancel()
        nursery.start_soon(passing.run)
        await trio.testing.wait_all_tasks_blocked()

        assert gone == ["a", "c", "d"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("at_once_max", [1, 3])
async def test_an_idle_loop_stays_idle(at_once_max: int) -> None:
    passing = Passing(at_once_max)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(passing.run)
        await passing.go_by()

        # It would never return while anybody went round and round.
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
