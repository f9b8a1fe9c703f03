"""When a node looks around, and for what."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.refresh import (
    BUCKET_SECONDS,
    BUCKETS_AT_ONCE,
    BUCKETS_MAX,
    NEIGHBOURHOOD_SECONDS,
    Refresh,
    key_in,
)
from cocoon_p2p.network.libp2p.routing_table import FARTHEST, RoutingTable

OWN = peer_id_of(bytes(32))
HERE = [Address("ip4", "127.0.0.1", 4001)]


def peer(number: int) -> PeerId:
    return peer_id_of(number.to_bytes(32, "big"))


def a_table(size: int) -> RoutingTable:
    table = RoutingTable(OWN)
    for number in range(1, size + 1):
        table.heard(peer(number), HERE)
    return table


def run(refresh: Refresh, table: RoutingTable, since: float, until: float) -> dict[int, list[float]]:
    """Look around each minute; return when each bucket was looked up (0 is ourselves)."""
    looked: dict[int, list[float]] = {}
    now = since
    while now < until:
        for key in refresh.due(table, now):
            refresh.looked_up(key, now)
            looked.setdefault(table.bucket_of(PeerId(key)), []).append(now)
        now += 60
    return looked


@given(st.integers(FARTHEST - BUCKETS_MAX + 1, FARTHEST), st.integers(0, 2**40))
@settings(deadline=None)
def test_a_key_for_a_bucket_belongs_into_it(number: int, draw: int) -> None:
    key = key_in(OWN, number, draw)

    assert RoutingTable(OWN).bucket_of(PeerId(key)) == number


def test_every_bucket_is_looked_up_once_an_hour_and_few_at_once() -> None:
    table = a_table(60)
    numbers = {bucket.number for bucket in table.buckets()}

    looked = run(Refresh(OWN), table, 1000.0, 1000.0 + 3 * BUCKET_SECONDS)

    assert numbers <= set(looked)
    for number, times in looked.items():
        if number:
            assert len(times) == 3
            assert times[0] - 1000 < len(looked) / BUCKETS_AT_ONCE * 60


def test_our_neighbourhood_is_looked_up_every_five_minutes() -> None:
    looked = run(Refresh(OWN), a_table(60), 0.0, 3600.0)

    assert looked[0] == [NEIGHBOURHOOD_SECONDS * number for number in range(12)]


def test_who_has_nobody_left_looks_for_its_neighbourhood_each_time() -> None:
    refresh, table = Refresh(OWN), RoutingTable(OWN)
    refresh.looked_up(OWN, 0.0)

    assert refresh.due(table, 1.0)[0] == OWN


def test_what_changed_has_our_neighbourhood_looked_up_at_once() -> None:
    refresh, table = Refresh(OWN), a_table(3)
    refresh.looked_up(OWN, 0.0)
    assert OWN not in refresh.due(table, 1.0)

    refresh.forget_neighbourhood()

    assert refresh.due(table, 1.0)[0] == OWN


def test_a_bucket_that_a_search_went_to_is_not_looked_up() -> None:
    refresh, table = Refresh(OWN), a_table(60)
    for number in range(FARTHEST - BUCKETS_MAX, FARTHEST + 1):
        refresh.looked_up(key_in(OWN, number, 7), 100.0)
    refresh.looked_up(OWN, 100.0)

    assert refresh.due(table, 160.0) == ()
    assert refresh.looked_up_at(FARTHEST) == 100.0


def test_buckets_nearer_than_our_nearest_neighbour_are_not_looked_up() -> None:
    far = next(number for number in range(1, 100) if RoutingTable(OWN).bucket_of(peer(number)) == FARTHEST)
    table = RoutingTable(OWN)
    table.heard(peer(far), HERE)

    looked = run(Refresh(OWN), table, 0.0, 3600.0)

    assert set(looked) == {0, FARTHEST}
