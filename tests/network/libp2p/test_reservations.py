"""Which relays a node relies on, without a network and in no time."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.reservations import (
    REST_FIRST_SECONDS,
    REST_LONGEST_SECONDS,
    Reservations,
    refresh_after,
)

RELAYS = tuple(peer_id_of(bytes([number]) * 32) for number in range(4))


def test_as_many_as_are_wanted_are_asked_the_first_ones_first() -> None:
    reservations = Reservations(RELAYS, wanted=2)

    assert reservations.choose(0.0) == RELAYS[:2]
    assert reservations.choose(0.0) == ()
    reservations.taken(RELAYS[1])
    assert reservations.held == (RELAYS[1],)


def test_one_that_fails_is_replaced_at_once_and_rests_longer_each_time() -> None:
    reservations = Reservations(RELAYS[:2], wanted=1)
    assert reservations.choose(0.0) == RELAYS[:1]
    reservations.failed(RELAYS[0], 0.0)

    assert reservations.choose(0.0) == RELAYS[1:2]
    reservations.failed(RELAYS[1], 0.0)
    assert reservations.choose(0.0) == ()
    assert reservations.seconds_left(0.0) == REST_FIRST_SECONDS
    assert reservations.choose(REST_FIRST_SECONDS) == RELAYS[:1]
    for _ in range(20):
        reservations.failed(RELAYS[0], 100.0)
    reservations.failed(RELAYS[1], 100.0)
    assert reservations.choose(100.0 + REST_LONGEST_SECONDS) != ()


def test_one_that_took_us_is_forgiven_what_it_did_before() -> None:
    reservations = Reservations(RELAYS[:1], wanted=1)
    for _ in range(5):
        reservations.failed(RELAYS[0], 0.0)
    reservations.choose(1000.0)
    reservations.taken(RELAYS[0])
    reservations.failed(RELAYS[0], 1000.0)

    assert reservations.seconds_left(1000.0) == REST_FIRST_SECONDS


def test_a_reservation_is_refreshed_before_it_ends_and_once_a_day_at_least() -> None:
    assert refresh_after(1_000_003_600, 1_000_000_000) == 2700
    assert refresh_after(2**64, 1_000_000_000) == 18 * 3600
    for expires in (0, 1_000_000_000, 1_000_000_059):
        with pytest.raises(RemoteProtocolError):
            refresh_after(expires, 1_000_000_000)


class Relying(RuleBasedStateMachine):
    """However relays answer and go, no more are asked or held than are wanted, and none that rests."""

    def __init__(self) -> None:
        super().__init__()
        self.reservations = Reservations(RELAYS, wanted=2)
        self.now = 0.0
        self.busy: set[PeerId] = set()
        self.held: set[PeerId] = set()

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def choose(self) -> None:
        chosen = self.reservations.choose(self.now)
        assert not self.busy & set(chosen)
        self.busy |= set(chosen)
        if len(self.busy) < 2:
            assert 0 < self.reservations.seconds_left(self.now) <= REST_LONGEST_SECONDS

    @rule(data=st.data(), deed=st.sampled_from(["taken", "failed", "dropped"]))
    def hear(self, data: st.DataObject, deed: str) -> None:
        if not self.busy:
            return
        relay = data.draw(st.sampled_from(sorted(self.busy)))
        if deed == "taken":
            self.reservations.taken(relay)
            self.held.add(relay)
            return
        if deed == "failed":
            self.reservations.failed(relay, self.now)
        else:
            self.reservations.dropped(relay)
        self.busy.discard(relay)
        self.held.discard(relay)

    @invariant()
    def only_wanted_ones_are_held(self) -> None:
        assert len(self.busy) <= 2
        assert set(self.reservations.held) == self.held


TestRelying = pytest.mark.slow(Relying.TestCase)
