"""Places and turns for those who connect to us."""

import itertools
import math
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.network.libp2p.admission import FAVOURED_MAX, Admission
from cocoon_p2p.network.libp2p.dialling import REST_FIRST_SECONDS, REST_LONGEST_SECONDS
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.rates import Rate

LIMITS = Limits(connections_max=4, connections_per_range_max=3, handshakes_max=4, handshakes_per_range_max=3)


async def test_places_come_back_whatever_happens_to_who_held_them() -> None:
    admission = Admission(LIMITS)
    for _ in range(20):
        with (
            pytest.raises(ZeroDivisionError),
            admission.connection("203.0.113.1"),
            admission.handshake("203.0.113.1"),
        ):
            assert (admission.connections, admission.handshakes) == (1, 1)
            raise ZeroDivisionError

    assert (admission.connections, admission.handshakes) == (0, 0)


def test_one_range_cannot_take_every_connection() -> None:
    admission = Admission(LIMITS)
    with ExitStack() as held:
        for number in range(3):
            held.enter_context(admission.connection(f"203.0.113.{number}"))
        with pytest.raises(Unavailable, match=r"range=203\.0\.113\.0/24 here=3 all=3"):
            held.enter_context(admission.connection("203.0.113.9"))
        for number in range(5):
            held.enter_context(admission.connection(f"198.51.{number}.1"))

        # Four that stand and four that still prove their keys.
        with pytest.raises(Unavailable, match="here=0 all=8"):
            held.enter_context(admission.connection("192.0.2.1"))


async def test_a_newcomer_takes_the_place_of_the_oldest_handshake_where_most_are() -> None:
    admission, ended = Admission(LIMITS), list[str]()

    async def hold(host: str) -> None:
        try:
            with admission.handshake(host):
                await trio.sleep_forever()
        except Unavailable:
            ended.append(host)

    async with trio.open_nursery() as nursery:
        for host in ("192.0.2.1", "203.0.113.1", "203.0.113.2", "198.51.100.1"):
            nursery.start_soon(hold, host)
            await wait_all_tasks_blocked()
        assert (ended, admission.handshakes) == ([], 4)

        nursery.start_soon(hold, "192.0.3.1")
        await wait_all_tasks_blocked()

        assert (ended, admission.handshakes) == (["203.0.113.1"], 4)
        nursery.cancel_scope.cancel()
    assert admission.handshakes == 0


async def test_a_range_with_all_its_handshakes_gives_up_one_of_its_own() -> None:
    admission, ended = Admission(LIMITS), list[str]()

    async def hold(host: str) -> None:
        try:
            with admission.handshake(host):
                await trio.sleep_forever()
        except Unavailable:
            ended.append(host)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(hold, f"203.0.113.{number}")
            await wait_all_tasks_blocked()

        assert (ended, admission.handshakes) == (["203.0.113.0", "203.0.113.1"], 3)
        nursery.cancel_scope.cancel()


ONE_A_SECOND = Limits(
    handshake_rate=Rate(per_second=1, burst=1), handshake_rate_per_range=Rate(per_second=0.5, burst=2)
)


async def served(admission: Admission, hosts: Sequence[str]) -> list[tuple[str, float]]:
    """Let sockets from these hosts arrive in this order, and say who had its turn when."""
    order, begun = list[tuple[str, float]](), trio.current_time()

    async def wait(host: str) -> None:
        await admission.turn(host)
        order.append((host, trio.current_time() - begun))

    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(wait, host)
            await wait_all_tasks_blocked()
    return order


async def test_handshakes_begin_no_faster_than_they_may(autojump_clock: MockClock) -> None:
    hosts = [f"192.0.{number}.1" for number in range(4)]

    assert await served(Admission(ONE_A_SECOND), hosts) == [(host, n) for n, host in enumerate(hosts)]


async def test_a_newcomer_from_elsewhere_goes_before_all_that_a_flood_has_sent(
    autojump_clock: MockClock,
) -> None:
    flood = [f"203.0.113.{number}" for number in range(5)]

    order = await served(Admission(ONE_A_SECOND), [*flood, "192.0.2.1"])

    assert order[:2] == [(flood[0], 0), ("192.0.2.1", 1)]
    assert [host for host, _ in order[2:]] == flood[1:]


async def test_one_range_has_no_more_than_its_share_even_alone(autojump_clock: MockClock) -> None:
    order = await served(Admission(ONE_A_SECOND), ["203.0.113.1"] * 5)

    assert [round(seconds, 3) for _, seconds in order] == [0, 1, 2, 4, 6]


async def test_a_turn_that_is_given_up_is_the_next_ones(autojump_clock: MockClock) -> None:
    admission, order = Admission(ONE_A_SECOND), list[str]()
    await admission.turn("192.0.2.1")

    async def wait(host: str, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await admission.turn(host)
            order.append(host)

    async with trio.open_nursery() as nursery:
        for host, seconds in (("192.0.3.1", 0.5), ("192.0.4.1", 100), ("192.0.5.1", 100)):
            nursery.start_soon(wait, host, seconds)
            await wait_all_tasks_blocked()

    assert order == ["192.0.4.1", "192.0.5.1"]
    assert trio.current_time() == 2


async def test_a_protected_peers_host_waits_for_none_of_its_neighbours(autojump_clock: MockClock) -> None:
    admission = Admission(ONE_A_SECOND)
    admission.favour("203.0.113.9")
    flood = [f"203.0.113.{number}" for number in range(5)]

    order = await served(admission, [*flood, "203.0.113.9"])

    assert order[1] == ("203.0.113.9", 1)


async def test_a_protected_peers_host_has_connections_and_handshakes_apart() -> None:
    admission, ended = Admission(LIMITS), list[str]()
    admission.favour("203.0.113.9")

    async def hold(host: str) -> None:
        try:
            with admission.connection(host), admission.handshake(host):
                await trio.sleep_forever()
        except Unavailable:
            ended.append(host)

    async with trio.open_nursery() as nursery:
        for host in ("203.0.113.9", "192.0.2.1", "192.0.3.1", "192.0.4.1", "192.0.5.1"):
            nursery.start_soon(hold, host)
            await wait_all_tasks_blocked()

        # All ranges hold one: who is protected is not the one that goes, though it came first.
        assert ended == ["192.0.2.1"]
        nursery.cancel_scope.cancel()


def test_no_number_of_protected_peers_makes_it_remember_more_hosts() -> None:
    admission = Admission(LIMITS)
    for number in range(FAVOURED_MAX + 5):
        admission.favour(f"10.{number >> 8}.{number & 255}.1")

    assert len(admission._favoured) == FAVOURED_MAX
    assert f"10.{(FAVOURED_MAX + 4) >> 8}.{(FAVOURED_MAX + 4) & 255}.1" in admission._favoured


@pytest.mark.slow
async def test_a_thousand_peers_of_a_node_that_restarted_are_back_in_half_a_minute(
    autojump_clock: MockClock,
) -> None:
    admission, back = Admission(Limits()), list[float]()

    async def come_back(host: str) -> None:
        pause = REST_FIRST_SECONDS
        while True:
            with suppress(Unavailable), admission.connection(host):
                with admission.handshake(host):
                    await admission.turn(host)
                    await trio.sleep(0.1)
                back.append(trio.current_time())
                await trio.sleep_forever()
            await trio.sleep(pause)
            pause = min(2 * pause, REST_LONGEST_SECONDS)

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(come_back, f"10.{number % 250}.{number // 250}.1")
        await trio.sleep(30)
        nursery.cancel_scope.cancel()

    assert len(back) == 1000


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 4), st.floats(0, 2), st.one_of(st.none(), st.floats(0, 5))), max_size=25
)


@pytest.mark.slow
@given(ARRIVALS)
@settings(deadline=None, max_examples=60)
def test_whoever_waits_long_enough_has_a_turn_and_never_do_too_many(
    arrivals: list[tuple[int, float, float | None]],
) -> None:
    turns = list[float]()

    async def wait(admission: Admission, where: int, patience: float | None) -> None:
        with trio.move_on_after(math.inf if patience is None else patience):
            await admission.turn(f"192.0.{where}.1")
            turns.append(trio.current_time())
            return
        assert patience is not None

    async def run() -> None:
        admission = Admission(ONE_A_SECOND)
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                for where, pause, patience in arrivals:
                    nursery.start_soon(wait, admission, where, patience)
                    await trio.sleep(pause)

    trio.run(run, clock=MockClock(autojump_threshold=0))

    gaps = [later - earlier for earlier, later in itertools.pairwise(turns)]
    assert all(gap > 0.999 for gap in gaps)
    assert len(turns) >= sum(patience is None for _, _, patience in arrivals)
