"""The memory that all connections share: who holds most gives way, and nobody else."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.network.libp2p.budget import Budget

LIMIT = 100


class Peer:
    """A connection whose streams hold so much each."""

    def __init__(self, *streams: int) -> None:
        self.streams = list(streams)

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


def test_a_connection_that_is_lost_does_not_count() -> None:
    budget, one, other = Budget(LIMIT), Peer(90), Peer(90)
    budget.note(one)
    budget.forget(one)
    budget.forget(one)

    budget.note(other)

    assert (one.streams, other.streams) == ([90], [90])


@given(st.lists(st.lists(st.integers(0, 60), max_size=5), max_size=8))
def test_no_more_is_ever_held_than_may_be(sizes: Sequence[Sequence[int]]) -> None:
    budget, peers = Budget(LIMIT), [Peer(*streams) for streams in sizes]
    for peer in peers:
        budget.note(peer)

        assert sum(each.held_bytes for each in peers[: peers.index(peer) + 1]) <= LIMIT
