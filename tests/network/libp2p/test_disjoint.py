"""A lookup along several paths, in networks where some servers lie."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.disjoint import ASKED_MAX, PARALLEL, PATHS, DisjointLookup
from cocoon_p2p.network.libp2p.lookup import NAMED_MAX, PER_RANGE_MAX, position


def nearest(key: bytes, among: Sequence[PeerId], count: int) -> list[PeerId]:
    return sorted(among, key=lambda peer: position(peer) ^ position(key))[:count]


class Network:
    """A hundred servers, of which some lie: they name only each other, and give nothing of what they keep.

    An honest one knows the 20 nearest to itself and 20 anywhere, liars among them. A proxy told the eight
    honest servers nearest to its key, as many as a publisher reaches on its paths.
    """

    def __init__(self, seed: int, *, liars: float = 0.2, size: int = 100) -> None:
        self.draw = random.Random(seed)
        self.servers = [peer_id_of(self.draw.randbytes(32)) for _ in range(size)]
        self.liars = set(self.draw.sample(self.servers, int(liars * size)))
        self.honest = [peer for peer in self.servers if peer not in self.liars]
        self.knows = {
            peer: nearest(peer, self.servers, 20) + self.draw.sample(self.servers, 20) for peer in self.honest
        }
        self.key = self.draw.randbytes(20)
        self.keepers = set(nearest(self.key, self.honest, 8))

    def named_by(self, peer: PeerId, key: bytes) -> list[PeerId]:
        if peer in self.liars:
            # Each of them has as many keys as it likes, made to fit: they answer, and they lie too.
            return nearest(key, [*self.liars, *self._forged(key)], NAMED_MAX)
        return nearest(key, self.knows[peer], NAMED_MAX)

    def _forged(self, key: bytes) -> list[PeerId]:
        forged = [peer_id_of(self.draw.randbytes(32)) for _ in range(500)]
        made_to_fit = nearest(key, forged, NAMED_MAX)
        self.liars.update(made_to_fit)
        return made_to_fit

    def finds(self, lookup: DisjointLookup, begin: Sequence[PeerId]) -> bool:
        """Carry a lookup out, answers in any order; say whether an honest keeper was asked."""
        lookup.begin(begin, [])
        asked: list[PeerId] = []
        under_way = list(lookup.take())
        while under_way:
            peer = under_way.pop(self.draw.randrange(len(under_way)))
            asked.append(peer)
            lookup.answered(peer, self.named_by(peer, self.key))
            under_way += lookup.take()
        assert len(asked) == len(set(asked)) <= PATHS * ASKED_MAX
        return not self.keepers.isdisjoint(asked)


UNLUCKY = [8, 21, 28, 36, 39, 42, 46, 48, 49]
"Networks of the first fifty in which one path ends among liars."


def lookup(network: Network, *, paths: int, closest: int = 2) -> DisjointLookup:
    return DisjointLookup(network.key, closest, paths=paths)


@pytest.mark.parametrize("seed", UNLUCKY)
def test_one_path_ends_among_liars_where_four_find_who_is_honest(seed: int) -> None:
    network, same = Network(seed, liars=0.3), Network(seed, liars=0.3)
    known = network.draw.sample(network.servers, 20)
    assert known == same.draw.sample(same.servers, 20)

    # Eight answers, as many as four paths ask for, do not help who has one path.
    assert not network.finds(lookup(network, paths=1, closest=8), known)
    assert same.finds(lookup(same, paths=PATHS), known)


@pytest.mark.slow
def test_three_liars_of_ten_hide_nothing() -> None:
    hidden: list[int] = []
    for seed in range(50):
        network = Network(seed, liars=0.3)
        if not network.finds(lookup(network, paths=PATHS), network.draw.sample(network.servers, 20)):
            hidden.append(seed)

    assert hidden == []


def test_who_knows_one_server_shares_what_it_names_among_the_paths() -> None:
    network = Network(1, liars=0)
    (first,) = network.servers[:1]
    searching = lookup(network, paths=4)
    searching.begin([], [first])

    assert searching.take() == (first,)
    searching.answered(first, network.named_by(first, network.key))

    assert len(searching.take()) == 4 * PARALLEL


def test_half_of_the_paths_hear_bootstraps_only_and_the_others_never() -> None:
    network = Network(2, liars=0)
    bootstraps, known = network.servers[:2], network.servers[2:10]
    searching = lookup(network, paths=4)
    searching.begin([*known, *bootstraps], bootstraps)
    first = searching.take()

    assert set(bootstraps) < set(first)
    assert len(first) == 2 + 2 * PARALLEL
    friends = [peer_id_of(network.draw.randbytes(32)) for _ in range(20)]
    for bootstrap in bootstraps:
        searching.answered(bootstrap, friends)
    assert set(searching.take()) < set(friends)
    for peer in set(first) - set(bootstraps):
        searching.failed(peer)
    # What bootstraps named is nothing that these paths would ask.
    assert set(searching.take()) <= set(known)


def test_a_server_that_is_silent_on_a_path_holds_up_nobody() -> None:
    network = Network(3, liars=0)
    silent = network.servers[0]
    searching = lookup(network, paths=2)
    searching.begin(network.servers[:2], [])
    both = searching.take()
    assert set(both) == set(network.servers[:2])
    searching.answered(network.servers[1], [])
    assert searching.is_waiting

    searching.late(silent)

    assert not searching.is_waiting
    assert searching.found() == (network.servers[1],)
    searching.answered(silent, [])
    assert set(searching.found()) == set(both)


def test_where_everybody_is_slow_the_slow_are_waited_for() -> None:
    (slow, dead) = Network(3, liars=0).servers[:2]
    searching = DisjointLookup(b"key", 2, paths=2)
    searching.begin([slow, dead], [])
    searching.take()
    searching.late(slow)
    searching.late(dead)
    assert searching.is_waiting

    searching.failed(dead)
    assert searching.is_waiting
    searching.answered(slow, [])

    assert not searching.is_waiting
    assert searching.found() == (slow,)


def test_a_rented_range_is_not_all_that_a_lookup_hears() -> None:
    draw = random.Random(4)
    key = draw.randbytes(20)
    crowd = nearest(key, [peer_id_of(draw.randbytes(32)) for _ in range(3000)], 40)
    honest = [peer_id_of(draw.randbytes(32)) for _ in range(6)]
    searching = DisjointLookup(key, 2, paths=2, range_of=lambda p: "8.8.8.0/24" if p in crowd else "")
    searching.begin([*crowd, *honest], [])
    asked: list[PeerId] = []
    while taken := searching.take():
        asked += taken
        for peer in taken:
            searching.answered(peer, crowd[:NAMED_MAX] if peer in crowd else honest)

    # Two of the crowd, and then the honest ones, farther as they are.
    assert len(set(asked) & set(crowd)) == PER_RANGE_MAX
    assert len(set(asked) & set(honest)) >= 2


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 4), st.data())
@settings(deadline=None)
def test_however_servers_behave_nobody_is_asked_twice_and_it_ends(
    seed: int, paths: int, closest: int, data: st.DataObject
) -> None:
    draw = random.Random(seed)
    servers = [peer_id_of(draw.randbytes(32)) for _ in range(40)]
    searching = DisjointLookup(b"key", closest, paths=paths)
    searching.begin(draw.sample(servers, draw.randrange(10)), draw.sample(servers, draw.randrange(4)))
    under_way = list(searching.take())
    asked = list(under_way)
    late: list[PeerId] = []
    while searching.is_waiting:
        peer = under_way.pop(draw.randrange(len(under_way)))
        match data.draw(st.sampled_from(("answers", "fails", "is late"))):
            case "answers":
                searching.answered(peer, [draw.choice(servers) for _ in range(draw.randrange(60))])
            case "fails":
                searching.failed(peer)
            case _:
                searching.late(peer)
                late.append(peer)
        if late and (not under_way or draw.random() < 0.5):
            searching.answered(late.pop(), draw.sample(servers, 3))
        taken = searching.take()
        under_way += taken
        asked += taken

    assert searching.take() == ()
    assert len(asked) == len(set(asked)) <= paths * ASKED_MAX
    assert set(searching.found()) <= set(asked)
    assert list(searching.found()) == nearest(b"key", searching.found(), len(servers))
