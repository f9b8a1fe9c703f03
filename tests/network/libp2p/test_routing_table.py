"""Who stays in the routing table, and who does not get in."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.lookup import PER_RANGE_MAX, position
from cocoon_p2p.network.libp2p.routing_table import BUCKET_SIZE, STANDING_BY_MAX, RoutingTable

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
@settings(deadline=None)
def test_the_nearest_are_the_nearest(numbers: list[int], key: bytes) -> None:
    table = RoutingTable(OWN)
    inside = [peer(number) for number in numbers if table.heard(peer(number), HERE)]

    found = [entry.peer for entry in table.nearest(key, 5)]

    assert found == sorted(inside, key=lambda each: position(each) ^ position(key))[:5]


def far_peers(count: int) -> list[PeerId]:
    """Give peers of the farthest bucket."""
    found = (peer(n) for n in range(1, 10_000) if (position(peer(n)) ^ position(OWN)) >> 255)
    return [each for each, _ in zip(found, range(count), strict=False)]


def test_whoever_stood_by_longest_ago_gets_the_place_of_who_stopped_answering_and_is_checked_first() -> None:
    table = RoutingTable(OWN)
    inside, waiting = far_peers(BUCKET_SIZE + 1)[:BUCKET_SIZE], far_peers(BUCKET_SIZE + 1)[-1]
    for each in inside:
        table.heard(each, HERE)
    assert not table.heard(waiting, HERE)
    assert table.buckets()[0].standing_by == 1

    table.remove(inside[7])

    assert waiting in table
    assert [entry.peer for entry in table.stalest()] == [waiting]
    assert table.buckets()[0].standing_by == 0


def test_few_stand_by_and_a_flood_changes_nothing_about_who() -> None:
    table = RoutingTable(OWN)
    everybody = far_peers(BUCKET_SIZE + 3 * STANDING_BY_MAX)
    for each in everybody:
        table.heard(each, HERE)
    for each in everybody[:BUCKET_SIZE]:
        table.remove(each)

    first_come = everybody[BUCKET_SIZE : BUCKET_SIZE + STANDING_BY_MAX]
    assert {entry.peer for entry in table} == set(first_come)


def test_who_could_not_enter_anyway_is_not_wanted() -> None:
    table = RoutingTable(OWN)
    everybody = far_peers(BUCKET_SIZE + STANDING_BY_MAX + 1)
    assert table.wants(everybody[0])
    for each in everybody[:-1]:
        table.heard(each, HERE)

    assert not table.wants(everybody[0])
    assert not table.wants(everybody[BUCKET_SIZE])
    assert not table.wants(everybody[-1])
    assert not table.wants(OWN)


def test_another_of_a_rented_range_is_not_wanted_however_much_room_there_is() -> None:
    table = RoutingTable(OWN)
    for each in far_peers(PER_RANGE_MAX):
        table.heard(each, HERE, seen_from="8.8.8.0/24")

    assert not table.wants(far_peers(PER_RANGE_MAX + 1)[-1], seen_from="8.8.8.0/24")
    assert table.wants(far_peers(PER_RANGE_MAX + 1)[-1], seen_from="9.9.9.0/24")


def test_only_a_dial_brings_a_server_in_and_only_a_dial_says_that_its_address_works() -> None:
    table = RoutingTable(OWN)
    assert not table.heard(peer(1), now=10)
    assert table.heard(peer(1), HERE, now=20)
    assert table.heard(peer(1), now=30)

    entry = table.entry(peer(1))

    assert entry is not None
    assert entry.addresses == tuple(HERE)
    assert (entry.since, entry.heard, entry.dialled) == (20, 30, 20)


def test_the_address_that_worked_last_comes_first_and_few_are_kept() -> None:
    table = RoutingTable(OWN)
    for port in range(1, 20):
        table.heard(peer(1), [Address("ip4", "127.0.0.1", port)])

    entry = table.entry(peer(1))

    assert entry is not None
    assert [address.port for address in entry.addresses] == [19, 18, 17, 16]


class Tables(RuleBasedStateMachine):
    """However servers come and go, buckets are bounded and hold nobody who was not heard."""

    def __init__(self) -> None:
        super().__init__()
        self.table = RoutingTable(OWN)
        self.heard: set[PeerId] = set()
        self.now = 0.0

    @rule(number=st.integers(0, 90), dialled=st.booleans(), where=st.sampled_from(["", "8.8.8.0/24"]))
    def hear(self, number: int, dialled: bool, where: str) -> None:
        self.now += 1
        each = peer(number)
        was_in = each in self.table
        is_in = self.table.heard(each, HERE if dialled else (), seen_from=where, now=self.now)
        assert is_in == (each in self.table)
        assert is_in or not was_in
        if dialled:
            self.heard.add(each)

    @rule(number=st.integers(0, 90))
    def lose(self, number: int) -> None:
        self.table.remove(peer(number))
        self.heard.discard(peer(number))
        assert peer(number) not in self.table

    @rule(number=st.integers(0, 90), where=st.sampled_from(["", "8.8.8.0/24"]))
    def want(self, number: int, where: str) -> None:
        if self.table.wants(peer(number), seen_from=where):
            assert peer(number) not in self.table

    @invariant()
    def is_bounded(self) -> None:
        inside = [entry.peer for entry in self.table]
        assert set(inside) <= self.heard
        assert len(inside) == len(set(inside)) == len(self.table)
        assert OWN not in inside
        for bucket in self.table.buckets():
            assert 0 < bucket.servers <= BUCKET_SIZE
            assert bucket.standing_by <= STANDING_BY_MAX
            assert bucket.heard <= self.now


TestTables = Tables.TestCase
TestTables.settings = settings(deadline=None)
