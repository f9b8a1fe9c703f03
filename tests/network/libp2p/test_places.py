"""Places for strangers' streams: the newest has one."""

import pytest
import trio

from cocoon_p2p.network.libp2p.places import Places


class Streams:
    """Streams that hold their places until they are ended."""

    def __init__(self, places: Places, nursery: trio.Nursery) -> None:
        self.places = places
        self.nursery = nursery
        self.ended: list[str] = []

    async def open(self, *names: str) -> None:
        for name in names:
            self.nursery.start_soon(self._hold, name)
            await trio.testing.wait_all_tasks_blocked()

    async def _hold(self, name: str) -> None:
        with self.places.take(name[0]):
            await trio.sleep_forever()
        self.ended.append(name)


async def test_one_peers_idle_streams_cost_nobody_else_a_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        streams = Streams(Places(in_all_max=12, per_peer_max=4, seconds=30), nursery)
        await streams.open(*(f"a{number}" for number in range(12)))
        await streams.open("b0", "c0")

        assert streams.ended == [f"a{number}" for number in range(8)]
        assert streams.places.taken == 6
        nursery.cancel_scope.cancel()


async def test_when_all_places_are_taken_the_oldest_makes_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        streams = Streams(Places(in_all_max=3, per_peer_max=2, seconds=30), nursery)
        await streams.open("a0", "b0", "c0", "d0", "e0")

        assert streams.ended == ["a0", "b0"]
        nursery.cancel_scope.cancel()


async def test_no_stream_holds_its_place_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    places = Places(in_all_max=3, per_peer_max=2, seconds=30)
    with places.take("a"):
        await trio.sleep_forever()

    assert trio.current_time() == pytest.approx(30)
    assert places.taken == 0


async def test_a_place_comes_back_from_who_fails() -> None:
    places = Places(in_all_max=3, per_peer_max=2, seconds=30)
    with pytest.raises(ZeroDivisionError), places.take("a"):
        raise ZeroDivisionError

    assert places.taken == 0
