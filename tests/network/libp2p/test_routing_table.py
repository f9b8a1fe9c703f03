"""Who stays in the routing table, and who does not get in."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.lookup import position
from cocoon_p2p.network.libp2p.routing_table import BUCKET_SIZE, PER_RANGE_MAX, RoutingTable

OWN = peer_id_of(bytes(32))
HERE = [Address("ip4", "127.0.0.1", 4001)]


def peer(number: int) -> PeerId:
    return peer_id_of(number.to_bytes(32, "big"))


def test_a_full_bucket_keeps_who_was_there_first() -> None:
    table = RoutingTable(OWN)
    entered = [number for number in range(1, 200) if table.heard(peer(number), HERE)]

    # Half of all keys fall into the farthest bucket, a quarter into the next.
    assert BUCKET_SIZE < len(entered) < 200
    assert len(table) == len(entered)
    assert all(peer(number) in table for number in entered)


def test_a_place_that_comes_free_is_given_to_the_next_who_is_heard() -> None:
    table = RoutingTable(OWN)
    refused = next(number for number in range(1, 200) if not table.heard(peer(number), HERE))
    for entry in table.nearest(peer(refused), 200):
        table.remove(entry.peer)

    assert table.heard(peer(refused), HERE)


def test_whoever_was_heard_longest_ago_is_checked_first() -> None:
    table = RoutingTable(OWN)
    far = [number for number in range(1, 100) if (position(peer(number)) ^ position(OWN)) >> 255][:3]
    for number in far:
        table.heard(peer(number), HERE)
    table.heard(peer(far[0]), HERE)

    assert [entry.peer for entry in table.stalest()] == [peer(far[1])]


def test_a_rented_range_does_not_surround_a_key() -> None:
    table = RoutingTable(OWN)
    for number in range(1, 100):
        table.heard(peer(number), [Address("ip4", f"8.8.8.{number}", 4001)])

    buckets = {(position(entry.peer) ^ position(OWN)).bit_length() for entry in table.nearest(OWN, 200)}
    assert len(table) <= PER_RANGE_MAX * len(buckets)
    assert len(table) > PER_RANGE_MAX


def test_a_rented_range_that_claims_to_be_everywhere_does_not_surround_a_key() -> None:
    table = RoutingTable(OWN)
    for number in range(1, 100):
        table.heard(peer(number), [Address("ip4", f"{number}.8.8.8", 4001)], seen_from="8.8.4.0/24")

    buckets = {(position(entry.peer) ^ position(OWN)).bit_length() for entry in table.nearest(OWN, 200)}
    assert PER_RANGE_MAX < len(table) <= PER_RANGE_MAX * len(buckets)


def test_neither_we_nor_who_has_no_address_is_in_the_table() -> None:
    table = RoutingTable(OWN)

    assert not table.heard(OWN, HERE)
    assert not table.heard(peer(1), [])
    assert len(table) == 0


@given(st.lists(st.integers(1, 500), max_size=60, unique=True), st.binary(min_size=1, max_size=40))
def test_the_nearest_are_the_nearest(numbers: list[int], key: bytes) -> None:
    table = RoutingTable(OWN)
    inside = [peer(number) for number in numbers if table.heard(peer(number), HERE)]

    found = [entry.peer for entry in table.nearest(key, 5)]

    assert found == sorted(inside, key=lambda each: position(each) ^ position(key))[:5]
