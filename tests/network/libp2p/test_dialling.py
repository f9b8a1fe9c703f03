"""The rules of dialling, without a socket and in no time."""

import socket
from collections.abc import Awaitable, Callable, Iterable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.addresses import Address, CircuitAddress, Route
from cocoon_p2p.network.libp2p.dialling import (
    REMEMBERED_MAX,
    REST_LONGEST_SECONDS,
    Dialler,
    Resting,
    first_success,
    in_dialling_order,
)
from cocoon_p2p.network.libp2p.limits import Limits

PEER = peer_id_of(bytes(32))
SIX = [Address("ip6", f"2001:db8::{number}", 4001) for number in range(1, 5)]
FOUR = [Address("ip4", f"203.0.113.{number}", 4001) for number in range(1, 5)]
RELAYS = [CircuitAddress(address, peer_id_of(bytes([7]) * 32)) for address in FOUR[2:]]


class Wire:
    """Addresses that answer after so many seconds, or never do."""

    def __init__(self, answers: dict[Route, float]) -> None:
        self.answers = answers
        self.tried: list[tuple[float, Route]] = []
        self.dropped: list[Route] = []
        self.connected: set[PeerId] = set()
        self.dialler = Dialler[Route](
            self.connect, self.dropped.append, lambda peer: peer in self.connected, Limits()
        )

    async def connect(self, address: Route, peer: PeerId) -> Route:
        self.tried.append((trio.current_time(), address))
        seconds = self.answers.get(address)
        if seconds is None:
            raise Unavailable("refused")
        await trio.sleep(seconds)
        self.connected.add(peer)
        return address

    async def dial_seconds(self, addresses: Iterable[Route]) -> float:
        began = trio.current_time()
        await self.dialler.dial(PEER, addresses)
        return trio.current_time() - began


# ------------------------------------------------------------------ order


def test_families_take_turns_and_each_keeps_its_own_order() -> None:
    assert in_dialling_order([*FOUR[:3], *SIX[:1]]) == (SIX[0], FOUR[0], FOUR[1], FOUR[2])
    assert in_dialling_order([*FOUR[:1], *SIX[:3]]) == (SIX[0], FOUR[0], SIX[1], SIX[2])


@given(st.lists(st.sampled_from([*SIX, *FOUR])))
def test_ordering_loses_no_address_and_repeats_none(addresses: list[Address]) -> None:
    ordered = in_dialling_order(addresses)

    assert sorted(map(str, ordered)) == sorted({str(address) for address in addresses})


# ------------------------------------------------------------------ resting


def test_an_address_rests_twice_as_long_after_each_failure_and_never_too_long() -> None:
    resting = Resting()
    rests: list[float] = []
    for _ in range(8):
        resting.failed("a", now=100.0)
        rests.append(resting.seconds_left("a", now=100.0))

    assert rests == [1, 2, 4, 8, 16, 30, 30, 30]
    assert resting.seconds_left("a", now=100.0 + REST_LONGEST_SECONDS) == 0
    assert resting.seconds_left("b", now=100.0) == 0


def test_an_address_that_worked_is_forgiven() -> None:
    resting = Resting()
    resting.failed("a", now=0.0)
    resting.worked("a")
    resting.failed("a", now=0.0)

    assert resting.seconds_left("a", now=0.0) == 1


def test_no_more_failures_are_remembered_than_there_is_room_for() -> None:
    resting = Resting()
    for number in range(REMEMBERED_MAX + 1):
        resting.failed(str(number), now=0.0)

    assert resting.seconds_left("0", now=0.0) == 0
    assert resting.seconds_left("1", now=0.0) == 1


# ------------------------------------------------------------------ the race


def after(seconds: float, result: str | None) -> Callable[[], Awaitable[str]]:
    async def attempt() -> str:
        await trio.sleep(seconds)
        if result is None:
            raise Unavailable(f"failed after {seconds}")
        return result

    return attempt


@pytest.mark.parametrize(
    ("attempts", "winner", "seconds"),
    [
        ([after(0.01, "a"), after(0, "b")], "a", 0.01),
        ([after(0, None), after(0.02, "b")], "b", 0.02),
        ([after(99, "a"), after(0.02, "b")], "b", 0.27),
        ([after(0.3, "a"), after(99, "b"), after(0, "c")], "a", 0.3),
        ([after(99, None), after(99, None), after(0.1, "c")], "c", 0.6),
    ],
)
async def test_the_first_success_wins_and_each_attempt_has_a_head_start(
    attempts: list[Callable[[], Awaitable[str]]],
    winner: str,
    seconds: float,
    autojump_clock: trio.testing.MockClock,
) -> None:
    dropped: list[str] = []

    result = await first_success(attempts, stagger_seconds=0.25, drop=dropped.append)

    assert result == winner
    assert trio.current_time() == pytest.approx(seconds)
    assert dropped == []


async def test_if_all_fail_the_error_names_each_reason(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(Unavailable, match="failed after 1; failed after 2"):
        await first_success([after(1, None), after(2, None)], stagger_seconds=0.25, drop=print)


async def test_of_two_successes_at_the_same_time_one_is_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dropped: list[str] = []

    result = await first_success([after(0.25, "a"), after(0, "b")], stagger_seconds=0.25, drop=dropped.append)

    assert sorted([result, *dropped]) in (["a"], ["b"], ["a", "b"])


async def test_a_success_that_a_cancel_overtakes_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    dropped: list[str] = []

    with trio.CancelScope() as scope:

        async def succeed_and_cancel() -> str:
            scope.cancel()
            return "a"

        await first_success([succeed_and_cancel], stagger_seconds=0.25, drop=dropped.append)

    assert scope.cancelled_caught
    assert dropped == ["a"]


# ------------------------------------------------------------------ the dialler


async def test_a_dead_first_address_costs_its_head_start_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({FOUR[0]: 99, FOUR[1]: 0.01})

    assert await wire.dial_seconds(FOUR[:2]) == pytest.approx(0.26)
    wire.connected.clear()
    assert await wire.dial_seconds(FOUR[:2]) == pytest.approx(0.01)


async def test_an_address_that_failed_is_not_tried_again_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({})

    with pytest.raises(Unavailable, match=r"refused.*refused"):
        await wire.dial_seconds(FOUR[:2])
    with pytest.raises(Unavailable, match="failed a moment ago") as caught:
        await wire.dial_seconds(FOUR[:2])
    assert len(wire.tried) == 2
    assert caught.value.retry_after == pytest.approx(1)

    await trio.sleep(caught.value.retry_after or 0)
    wire.answers = {FOUR[1]: 0}
    await wire.dial_seconds(FOUR[:2])
    assert len(wire.tried) == 4


async def test_an_address_that_never_answers_fails_in_time(autojump_clock: trio.testing.MockClock) -> None:
    wire = Wire({FOUR[0]: 99})

    with pytest.raises(Unavailable, match="no answer in time"):
        await wire.dial_seconds(FOUR[:1])
    assert trio.current_time() == pytest.approx(Limits().dial_seconds)


async def test_two_who_dial_the_same_peer_at_once_share_one_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({FOUR[0]: 1})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.dial_seconds, FOUR[:1])
        nursery.start_soon(wire.dial_seconds, FOUR[:1])

    assert len(wire.tried) == 1


async def test_whoever_waits_for_a_dial_that_is_cancelled_dials_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({FOUR[0]: 1})

    async def give_up_soon() -> None:
        with trio.move_on_after(0.5):
            await wire.dial_seconds(FOUR[:1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up_soon)
        await trio.sleep(0.1)
        nursery.start_soon(wire.dial_seconds, FOUR[:1])

    assert [when for when, _ in wire.tried] == pytest.approx([0, 0.5])
    assert PEER in wire.connected


async def test_a_record_with_many_addresses_makes_us_try_only_some(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({})

    with pytest.raises(Unavailable):
        await wire.dial_seconds(
            Address("ip4", f"10.0.{number // 250}.{number % 250}", 1) for number in range(999)
        )
    assert len(wire.tried) == Limits().dial_addresses_max


async def test_a_name_is_dialled_at_every_address_it_has(autojump_clock: trio.testing.MockClock) -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(  # type: ignore[override]  # only what is asked for here
            self, host: bytes, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
        ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
            assert (host, port) == (b"proxy.example.org", 4001)
            return [(socket.AF_INET, type, 6, "", (FOUR[n].host, port)) for n in (0, 1)]

        async def getnameinfo(self, sockaddr: tuple[str, int], flags: int) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    wire = Wire({FOUR[1]: 0})

    await wire.dial_seconds([Address("dns4", "proxy.example.org", 4001)])

    assert [address for _, address in wire.tried] == FOUR[:2]


# ------------------------------------------------------------------ relays


async def test_a_relay_is_asked_at_once_when_every_own_address_has_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({RELAYS[0]: 0.1})

    assert await wire.dial_seconds([RELAYS[0], *FOUR[:2]]) == pytest.approx(0.1)
    assert [route for _, route in wire.tried] == [*FOUR[:2], RELAYS[0]]


async def test_an_own_address_that_is_slow_keeps_its_head_start_before_a_relay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({FOUR[0]: 0.9, RELAYS[0]: 0.01})

    assert await wire.dial_seconds([RELAYS[0], FOUR[0]]) == pytest.approx(0.9)
    assert [route for _, route in wire.tried] == [FOUR[0]]


async def test_a_relay_wins_over_an_own_address_that_never_answers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({FOUR[0]: 99, RELAYS[1]: 0.01})

    seconds = await wire.dial_seconds([*RELAYS, FOUR[0]])

    assert seconds == pytest.approx(Limits().dial_direct_head_start_seconds + 0.01)


async def test_a_relay_that_worked_last_is_still_asked_after_the_own_addresses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({RELAYS[0]: 0.01})
    await wire.dial_seconds([FOUR[0], RELAYS[0]])
    wire.connected.clear()
    await trio.sleep(REST_LONGEST_SECONDS)

    wire.answers = {FOUR[0]: 0.5, RELAYS[0]: 0.01}

    assert await wire.dial_seconds([RELAYS[0], FOUR[0]]) == pytest.approx(0.5)


async def test_a_peer_that_is_connected_gets_one_connection_more_when_it_is_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({FOUR[0]: 0, RELAYS[0]: 0})
    await wire.dial_seconds([RELAYS[0]])

    await wire.dialler.dial(PEER, [FOUR[0]])
    assert len(wire.tried) == 1
    await wire.dialler.dial_anew(PEER, [FOUR[0]])
    assert [route for _, route in wire.tried] == [RELAYS[0], FOUR[0]]


async def test_a_record_with_many_relays_makes_us_ask_only_some(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = Wire({})

    with pytest.raises(Unavailable):
        await wire.dial_seconds(
            CircuitAddress(Address("ip4", "203.0.113.9", port), PEER) for port in range(1, 99)
        )

    assert len(wire.tried) == Limits().dial_relays_max
