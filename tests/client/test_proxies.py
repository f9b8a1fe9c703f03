"""The view of the network's proxies: fresh, checked, and never in a request's way."""

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from cocoon_p2p.client.proxies import PROXIES_MAX, SEARCH_AGAIN_SECONDS, ProxyView
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import network_id
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.records import make_record
from cocoon_p2p.testing.papers import paper_identity, paper_worker
from tests.client.scene import EPOCH, NETWORK, now

STATEMENT = paper_worker(NETWORK, now=EPOCH).statement


def record(number: int, **changes: Any) -> bytes:
    arguments: dict[str, Any] = {
        "role": Role.PROXY,
        "statement": STATEMENT,
        "addresses": (f"/memory/{number}",),
        "models": (),
        "now": EPOCH,
        "sequence": 1,
        **changes,
    }
    network = arguments.pop("network", NETWORK)
    return encode_signed(make_record(paper_identity(number), network, **arguments))


class Shelf:
    """A directory that gives what a test put there."""

    def __init__(self, *found: bytes) -> None:
        self.found = found
        self.searches = 0
        self.fails = False

    async def publish(self, record: bytes) -> None:
        raise AssertionError("a client publishes nothing")

    async def find_proxies(self) -> tuple[bytes, ...]:
        self.searches += 1
        await trio.sleep(0.5)
        if self.fails:
            raise Unavailable("no route")
        return self.found


def view(shelf: Shelf, clock: Any = now) -> ProxyView:
    return ProxyView(shelf, NETWORK, clock, refresh_seconds=60)


def test_only_valid_records_of_proxies_on_this_network_are_taken() -> None:
    seen = view(Shelf(), clock=lambda: EPOCH)

    seen.take(
        [
            record(1),
            record(2)[:-1],
            b"",
            record(3, network=network_id("other")),
            record(4, now=EPOCH - 7_200),
            record(5, now=EPOCH + 3_600),
            encode_signed(paper_worker(NETWORK, now=EPOCH).record),
        ]
    )

    assert [found.peer for found in seen.records] == [paper_identity(1).peer_id]


def test_the_highest_sequence_holds_in_whatever_order_records_come() -> None:
    seen = view(Shelf(), clock=lambda: EPOCH)

    seen.take([record(1, sequence=2), record(1, sequence=3), record(1, sequence=1)])

    assert [found.sequence for found in seen.records] == [3]


def test_a_flood_of_records_is_bounded() -> None:
    seen = view(Shelf(), clock=lambda: EPOCH)

    seen.take(record(number) for number in range(PROXIES_MAX + 5))

    assert len(seen.records) == PROXIES_MAX


async def test_a_record_is_forgotten_when_it_expires(autojump_clock: MockClock) -> None:
    seen = view(Shelf())
    seen.take([record(1)])

    await trio.sleep(3_600)

    assert seen.records == ()


async def test_the_view_is_refreshed_and_a_known_view_is_given_at_once(autojump_clock: MockClock) -> None:
    shelf = Shelf(record(1))
    seen = view(shelf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seen.keep_fresh)
        await trio.sleep(1)
        shelf.found = (record(1), record(2))

        began = trio.current_time()
        assert len(await seen.known(10)) == 1
        assert trio.current_time() == began
        await trio.sleep(61)
        assert len(seen.records) == 2

        nursery.cancel_scope.cancel()
    assert shelf.searches == 2


async def test_all_who_wait_are_told_as_soon_as_somebody_is_found(autojump_clock: MockClock) -> None:
    seen = view(Shelf(record(1)))
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as waiting:
            for _ in range(3):
                waiting.start_soon(seen.known, 20)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(seen.keep_fresh)
        assert trio.current_time() == 0.5
        nursery.cancel_scope.cancel()


async def test_while_nobody_is_known_searches_have_a_pause_however_many_wait(
    autojump_clock: MockClock,
) -> None:
    shelf = Shelf()
    seen = view(shelf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seen.keep_fresh)
        for _ in range(10):
            nursery.start_soon(seen.known, 20)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()

    # Each takes half a second, and so long is the pause after it.
    assert shelf.searches == pytest.approx(20 / (0.5 + SEARCH_AGAIN_SECONDS), abs=1)


async def test_a_directory_that_fails_is_asked_again(autojump_clock: MockClock) -> None:
    shelf = Shelf(record(1))
    shelf.fails = True
    seen = view(shelf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seen.keep_fresh)
        await trio.sleep(5)
        shelf.fails = False

        assert len(await seen.known(10)) == 1

        nursery.cancel_scope.cancel()
