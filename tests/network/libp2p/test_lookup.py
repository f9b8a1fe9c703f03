"""A lookup in networks that are drawn at random, honest and not."""

import random
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.lookup import KNOWN_MAX, NAMED_MAX, Lookup, position

Answers = Callable[[PeerId], Sequence[PeerId] | None]


def peers(count: int, seed: int = 0) -> list[PeerId]:
    draw = random.Random(seed)
    return [peer_id_of(draw.randbytes(32)) for _ in range(count)]


def nearest(key: bytes, among: Sequence[PeerId], count: int) -> list[PeerId]:
    return sorted(among, key=lambda peer: position(peer) ^ position(key))[:count]


def run(lookup: Lookup, ask: Answers, order: random.Random) -> tuple[list[PeerId], int]:
    """Answer what is asked, in any order; returns who was asked and how many were under way at most."""
    asked: list[PeerId] = []
    under_way = list(lookup.take())
    most = len(under_way)
    while under_way:
        peer = under_way.pop(order.randrange(len(under_way)))
        asked.append(peer)
        closer = ask(peer)
        if closer is None:
            lookup.failed(peer)
        else:
            lookup.answered(peer, closer)
        under_way += lookup.take()
        most = max(most, len(under_way))
    return asked, most


@given(st.integers(1, 120), st.integers(0, 2**32), st.sets(st.integers(0, 119), max_size=30))
@settings(deadline=None)
def test_in_an_honest_network_the_nearest_living_servers_are_found(
    size: int, seed: int, dead_numbers: set[int]
) -> None:
    network = peers(size, seed)
    dead = {network[number] for number in dead_numbers if number < size}
    draw = random.Random(seed)
    key = draw.randbytes(20)
    knows = {peer: nearest(peer, network, 20) + draw.sample(network, min(size, 10)) for peer in network}
    lookup = Lookup(key, closest=3, asked_max=200)
    lookup.learn(network[:1] if network[0] not in dead else network)

    run(lookup, lambda peer: None if peer in dead else nearest(key, knows[peer], NAMED_MAX), draw)

    living = [peer for peer in network if peer not in dead]
    assert list(lookup.found()) == nearest(key, living, 3)


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 40))
@settings(deadline=None)
def test_liars_without_end_cost_no_more_than_the_bounds(seed: int, parallel: int, asked_max: int) -> None:
    draw = random.Random(seed)
    lookup = Lookup(b"key", closest=3, parallel=parallel, asked_max=asked_max)
    lookup.learn(peers(2, seed))

    asked, most = run(lookup, lambda _: [peer_id_of(draw.randbytes(32)) for _ in range(1000)], draw)

    assert len(asked) <= asked_max
    assert most <= parallel
    assert len(asked) == len(set(asked))
    assert len(lookup._phases) <= KNOWN_MAX


def test_a_lookup_that_knows_nobody_is_done() -> None:
    lookup = Lookup(b"key", closest=3)

    assert lookup.take() == ()
    assert lookup.found() == ()


def test_nobody_is_asked_twice_however_often_it_is_named() -> None:
    (peer,) = peers(1)
    lookup = Lookup(b"key", closest=3)
    lookup.learn([peer, peer])
    assert lookup.take() == (peer,)
    lookup.answered(peer, [peer])

    assert lookup.take() == ()
    assert lookup.found() == (peer,)


def test_a_peer_that_failed_gives_its_ranges_voice_to_the_next() -> None:
    crowd = nearest(b"key", peers(5), 5)
    lookup = Lookup(b"key", closest=3, range_of=lambda _: "8.8.8.0/24")
    lookup.learn(crowd)
    assert lookup.take() == tuple(crowd[:2])
    lookup.answered(crowd[0], [])
    assert lookup.take() == ()

    lookup.failed(crowd[1])

    assert lookup.take() == (crowd[2],)


def test_who_is_late_is_not_waited_for_and_heard_all_the_same() -> None:
    near, far, farther = nearest(b"key", peers(3), 3)
    lookup = Lookup(b"key", closest=2, parallel=2)
    lookup.learn([near, far, farther])
    assert lookup.take() == (near, far)

    lookup.late(near)

    assert lookup.take() == (farther,)
    lookup.answered(far, [])
    lookup.answered(farther, [])
    assert lookup.found() == (far, farther)
    lookup.answered(near, [])
    assert lookup.found() == (near, far)
    lookup.late(near)
    assert lookup.found() == (near, far)
