"""The memory that all connections share: who holds most gives way, and nobody else."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.network.libp2p.budget import Budget

LIMIT = 100


class Peer:
    """A connection whose streams hold so much each."""

    def __init__(self, *streams: int, is_protected: bool = False) -> None:
        self.streams = list(streams)
        self.is_protected = is_protected

    @property
    def held_bytes(self) -> int:
        return sum(self.streams)

    def shed(self) -> None:
        self.streams.remove(max(self.streams))


def test_who_holds_most_gives_up_its_fullest_stream() -> None:
    budget, modest, greedy = Budget(LIMIT), Peer(10, 20), Peer(5, 30, 30)
    budget.note(greedy)
    budget.note(modest)
    assert greedy.streams == [5, 30, 30]

    modest.streams.append(6)
    budget.note(modest)

    assert (modest.streams, greedy.streams) == ([10, 20, 6], [5, 30])


def test_what_was_let_go_in_the_meantime_costs_nobody_a_stream() -> None:
    budget, one, other = Budget(LIMIT), Peer(90), Peer(50)
    budget.note(one)
    one.streams = [10]

    budget.note(other)

    assert (one.streams, other.streams) == ([10], [50])


def test_a_protected_peer_gives_up_nothing_while_strangers_hold_anything() -> None:
    budget, kept, strangers = Budget(LIMIT), Peer(40, is_protected=True), [Peer(15) for _ in range(4)]
    for peer in (kept, *strangers):
        budget.note(peer)
    assert all(peer.streams for peer in strangers)

    kept.streams.append(30)
    budget.note(kept)

    assert kept.streams == [40, 30]
    assert sum(peer.held_bytes for peer in strangers) == 30


def test_protected_peers_alone_hold_no_more_than_all_others() -> None:
    budget, one, other = Budget(LIMIT), Peer(60, is_protected=True), Peer(30, is_protected=True)
    for peer in (one, other, Peer()):
        budget.note(peer)

    other.streams.append(20)
    budget.note(other)

    assert (one.streams, other.streams) == ([], [30, 20])


def test_a_connection_that_is_lost_does_not_count() -> None:
    budget, one, other = Budget(LIMIT), Peer(90), Peer(90)
    budget.note(one)
    budget.forget(one)
    budget.forget(one)

    budget.note(other)

    assert (one.streams, other.streams) == ([90], [90])


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 60), max_size=5)), max_size=8))
def test_no_more_is_ever_held_than_may_be(sizes: Sequence[tuple[bool, Sequence[int]]]) -> None:
    budget, peers = Budget(LIMIT), [Peer(*streams, is_protected=kept) for kept, streams in sizes]
    for peer in peers:
        budget.note(peer)

        assert sum(each.held_bytes for each in peers[: peers.index(peer) + 1]) <= LIMIT
