"""Places for those who connect to us."""

from contextlib import ExitStack

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.network.libp2p.admission import Admission
from cocoon_p2p.network.libp2p.limits import Limits

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
