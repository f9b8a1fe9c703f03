"""Who may be reached through a relay, without a network and in no time."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.rates import Rate
from cocoon_p2p.network.libp2p.relay_book import (
    Circuit,
    RelayBook,
    RelayLimits,
)
from cocoon_p2p.network.libp2p.relay_wire import Status

RELAY, *PEERS = [peer_id_of(bytes([number]) * 32) for number in range(9)]
LIMITS = RelayLimits(
    reservations_max=4,
    reservations_per_range_max=3,
    circuits_max=5,
    circuits_per_source_max=2,
    circuits_per_target_max=3,
    circuits_per_range_max=4,
    circuits_per_range_and_target_max=2,
    request_rate_per_range=Rate(per_second=1000, burst=1000),
)


class Scene:
    def __init__(self, limits: RelayLimits = LIMITS) -> None:
        self.connected = set(PEERS)
        self.book = RelayBook(RELAY, limits, self.connected.__contains__)

    def connect(self, source: int, target: int, now: float = 0.0, where: str = "home") -> Circuit | Status:
        return self.book.connect(PEERS[source], where, PEERS[target], now)


def test_nobody_is_reached_without_a_reservation() -> None:
    assert Scene().connect(0, 1) is Status.NO_RESERVATION


def test_who_reserved_is_reached_until_the_reservation_expires() -> None:
    scene = Scene()
    assert scene.book.reserve(PEERS[1], "home", now=100.0) is Status.OK

    assert isinstance(scene.connect(0, 1, now=3699.9), Circuit)
    assert scene.connect(0, 1, now=3700.0) is Status.NO_RESERVATION


def test_a_refresh_lengthens_a_reservation_and_needs_no_room() -> None:
    scene = Scene(RelayLimits(reservations_max=1))
    scene.book.reserve(PEERS[1], "home", now=0.0)

    assert scene.book.reserve(PEERS[1], "home", now=3000.0) is Status.OK
    assert scene.book.reserve(PEERS[2], "elsewhere", now=3000.0) is Status.RESERVATION_REFUSED
    assert isinstance(scene.connect(0, 1, now=6000.0), Circuit)


def test_who_is_gone_is_not_reached_and_leaves_room_for_another() -> None:
    scene = Scene(RelayLimits(reservations_max=1))
    scene.book.reserve(PEERS[1], "home", now=0.0)
    scene.connected.remove(PEERS[1])

    assert scene.book.reserve(PEERS[2], "home", now=1.0) is Status.OK
    assert scene.connect(0, 1) is Status.NO_RESERVATION


def test_one_address_range_does_not_take_all_reservations() -> None:
    scene = Scene()

    given = [scene.book.reserve(peer, "home", now=0.0) for peer in PEERS[:4]]

    assert given == [Status.OK] * 3 + [Status.RESERVATION_REFUSED]
    assert scene.book.reserve(PEERS[4], "elsewhere", now=0.0) is Status.OK


def test_a_crowd_that_moved_to_another_address_range_made_no_room_in_it() -> None:
    scene = Scene()
    for peer, where in zip(PEERS, ["home", "home", "home", "elsewhere"], strict=False):
        assert scene.book.reserve(peer, where, now=0.0) is Status.OK

    assert scene.book.reserve(PEERS[3], "home", now=1.0) is Status.RESERVATION_REFUSED
    assert isinstance(scene.connect(0, 3, now=1.0), Circuit)


def test_one_address_range_keeps_nobody_from_a_peer_nor_from_the_relay() -> None:
    scene = Scene(RelayLimits(circuits_per_range_max=3, circuits_per_range_and_target_max=2))
    for target in (6, 7):
        scene.book.reserve(PEERS[target], "there", now=0.0)

    given = [scene.connect(source, target) for source, target in ((0, 6), (1, 6), (2, 6), (3, 7), (4, 7))]

    is_given = [isinstance(each, Circuit) for each in given]
    assert is_given == [True, True, False, True, False]
    assert given[2] is given[4] is Status.RESOURCE_LIMIT_EXCEEDED
    assert isinstance(scene.connect(2, 6, where="elsewhere"), Circuit)
    scene.book.close(next(each for each in given if isinstance(each, Circuit)))
    assert isinstance(scene.connect(4, 7), Circuit)


def test_a_relay_passes_on_neither_to_itself_nor_to_who_asks() -> None:
    scene = Scene()
    for peer in (RELAY, PEERS[0]):
        scene.connected.add(peer)
        scene.book.reserve(peer, "home", now=0.0)

    assert scene.book.connect(PEERS[0], "home", RELAY, 0.0) is Status.PERMISSION_DENIED
    assert scene.connect(0, 0) is Status.PERMISSION_DENIED


def test_one_peer_has_few_circuits_and_gets_another_when_one_is_closed() -> None:
    scene = Scene()
    scene.book.reserve(PEERS[1], "home", now=0.0)
    first, _ = scene.connect(0, 1), scene.connect(0, 1)

    assert scene.connect(0, 1) is Status.RESOURCE_LIMIT_EXCEEDED
    assert isinstance(first, Circuit)
    scene.book.close(first)
    assert isinstance(scene.connect(0, 1), Circuit)


def test_what_fails_is_limited_for_an_address_range_and_not_for_others() -> None:
    scene = Scene(RelayLimits(request_rate_per_range=Rate(per_second=0.5, burst=3)))
    for _ in range(3):
        assert scene.connect(0, 1) is Status.NO_RESERVATION

    assert scene.connect(2, 1) is Status.RESOURCE_LIMIT_EXCEEDED
    assert scene.book.reserve(PEERS[3], "home", now=0.0) is Status.RESERVATION_REFUSED
    assert scene.book.reserve(PEERS[3], "elsewhere", now=0.0) is Status.OK
    assert isinstance(scene.book.connect(PEERS[0], "home", PEERS[3], now=2.0), Circuit)


class Relaying(RuleBasedStateMachine):
    """However peers come, go and ask, a relay carries no more than it said, and only for who reserved."""

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene()
        self.now = 0.0
        self.held: dict[PeerId, tuple[float, str]] = {}
        self.open: list[Circuit] = []

    @rule(seconds=st.sampled_from([0.0, 1.0, 1800.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=st.integers(0, 7), where=st.sampled_from(["home", "elsewhere"]))
    def reserve(self, number: int, where: str) -> None:
        peer = PEERS[number]
        was_held_here = self._holds(peer) and self.held[peer][1] == where
        if peer not in self.scene.connected:
            return
        status = self.scene.book.reserve(peer, where, self.now)
        assert status is Status.OK or not was_held_here
        if status is Status.OK:
            self.held[peer] = (self.now + LIMITS.reservation_seconds, where)

    @rule(who=st.integers(0, 7), whom=st.integers(0, 7), where=st.sampled_from(["home", "elsewhere"]))
    def connect(self, who: int, whom: int, where: str) -> None:
        given: Any = self.scene.connect(who, whom, self.now, where)
        if isinstance(given, Circuit):
            assert self._holds(PEERS[whom])
            assert who != whom
            assert given not in self.open
            self.open.append(given)
        elif given is Status.NO_RESERVATION:
            assert not self._holds(PEERS[whom])

    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        if self.open:
            self.scene.book.close(self.open.pop(data.draw(st.integers(0, len(self.open) - 1))))

    @rule(number=st.integers(0, 7))
    def leave(self, number: int) -> None:
        self.scene.connected.discard(PEERS[number])
        self.scene.book.release(PEERS[number])
        self.held.pop(PEERS[number], None)

    @rule(number=st.integers(0, 7))
    def come(self, number: int) -> None:
        self.scene.connected.add(PEERS[number])

    def _holds(self, peer: PeerId) -> bool:
        return peer in self.held and self.held[peer][0] > self.now

    @invariant()
    def nothing_exceeds_its_limit(self) -> None:
        book = self.scene.book
        holders = [where for peer, (_, where) in self.held.items() if self._holds(peer)]
        assert set(book.holders) >= {peer for peer in self.held if self._holds(peer)}
        assert len(book.holders) <= LIMITS.reservations_max
        assert book.circuits == len(self.open) <= LIMITS.circuits_max
        for where in ("home", "elsewhere"):
            here = [each for each in self.open if each.where == where]
            assert holders.count(where) <= LIMITS.reservations_per_range_max
            assert len(here) <= LIMITS.circuits_per_range_max
            for peer in PEERS:
                to_one = sum(each.target == peer for each in here)
                assert to_one <= LIMITS.circuits_per_range_and_target_max
        for peer in PEERS:
            assert sum(each.source == peer for each in self.open) <= LIMITS.circuits_per_source_max
            assert sum(each.target == peer for each in self.open) <= LIMITS.circuits_per_target_max


TestRelaying = pytest.mark.slow(Relaying.TestCase)
