"""Who gives way, and who never does."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.protected import Protected
from cocoon_p2p.network.libp2p.room import is_full, who_gives_way

LIMITS = Limits(connections_max=20, strangers_max=10)
ANNA, BELA, CARA = (PeerId(bytes([number]) * 38) for number in range(3))


@dataclass(frozen=True)
class Conn:
    where: str
    used_at: float = 0.0
    is_protected: bool = False


def leaving(*conns: Conn) -> Conn | None:
    return who_gives_way(
        conns, lambda each: each.is_protected, lambda each: each.where, lambda each: each.used_at
    )


def full(conns: list[Conn], limits: Limits = LIMITS) -> bool:
    return is_full(conns, lambda each: each.is_protected, limits)


def test_the_range_that_has_most_gives_way_however_busy_it_is() -> None:
    crowd = [Conn("b", used_at=100.0 + number) for number in range(3)]

    assert leaving(Conn("a"), Conn("a"), *crowd, Conn("c")) is crowd[0]


def test_of_equals_the_one_that_was_silent_for_longest_gives_way() -> None:
    assert leaving(Conn("a", 3), Conn("b", 1), Conn("c", 2)) == Conn("b", 1)


def test_a_protected_connection_stays_and_makes_no_crowd() -> None:
    kept = [Conn("a", is_protected=True) for _ in range(5)]

    assert leaving(*kept, Conn("b", 7), Conn("c", 8)) == Conn("b", 7)
    assert leaving(*kept) is None
    assert leaving() is None


def test_strangers_have_their_share_and_the_rest_is_kept() -> None:
    strangers = [Conn(str(number)) for number in range(10)]
    kept = [Conn(str(number), is_protected=True) for number in range(10)]

    assert not full(strangers[:9])
    assert full(strangers)
    assert not full(strangers[:7] + kept)
    assert full(strangers[:8] + kept)


conns = st.lists(st.builds(Conn, st.sampled_from("abcd"), st.floats(0, 100), st.booleans()), max_size=40)


@given(conns)
def test_nobody_protected_goes_and_nobody_stays_who_was_silent_longer_where_most_are(
    conns: list[Conn],
) -> None:
    gone = leaving(*conns)
    strangers = [each for each in conns if not each.is_protected]

    assert (gone is None) == (not strangers)
    if gone is not None:
        counts = {each.where: sum(other.where == each.where for other in strangers) for each in strangers}
        assert not gone.is_protected
        assert counts[gone.where] == max(counts.values())
        assert all(gone.used_at <= each.used_at for each in strangers if each.where == gone.where)


def test_a_peer_is_protected_while_one_reason_counts() -> None:
    protected = Protected(per_tag_max=2)
    protected.add(ANNA, "worker")
    protected.add(ANNA, "client")
    protected.remove(ANNA, "worker")
    protected.remove(BELA, "worker")
    protected.remove(BELA, "unheard of")

    assert ANNA in protected
    protected.remove(ANNA, "client")
    assert ANNA not in protected


def test_one_too_many_for_a_reason_costs_the_one_confirmed_longest_ago_and_no_other_reason() -> None:
    protected = Protected(per_tag_max=2)
    for peer in (ANNA, BELA, ANNA, CARA):
        protected.add(peer, "client")
    protected.add(BELA, "worker")
    protected.remove(BELA, "worker")

    assert [peer in protected for peer in (ANNA, BELA, CARA)] == [True, False, True]


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab"), st.booleans()), max_size=60))
def test_never_more_are_protected_than_may_be(steps: list[tuple[int, str, bool]]) -> None:
    protected, peers = Protected(per_tag_max=3), [PeerId(bytes([number]) * 38) for number in range(10)]
    for number, tag, is_added in steps:
        (protected.add if is_added else protected.remove)(peers[number], tag)

        assert sum(peer in protected for peer in peers) <= 6
        assert not is_added or peers[number] in protected
