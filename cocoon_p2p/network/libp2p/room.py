"""Who gives way when there is no room for another connection. Pure.

    protected                     never
    strangers, where most are     the one that nothing was heard from for longest

Rule 1: a flood makes room for the others: one of the range that has most connections goes.
Rule 2: a stream that is merely held is no use of a connection, or whoever opened one and left it there would
        be the last to go. Bytes on it are, and opening it is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from cocoon_p2p.network.libp2p.limits import Limits

T = TypeVar("T")


def is_full(conns: Sequence[T], is_protected: Callable[[T], bool], limits: Limits) -> bool:
    """Say whether one more connection should cost another its place: the last tenth is kept free."""
    if len(conns) < min(limits.strangers_max, limits.connections_max * 9 // 10):
        return False
    strangers = len(conns) - sum(map(is_protected, conns))
    return strangers >= limits.strangers_max or len(conns) >= limits.connections_max * 9 // 10


def who_gives_way(
    conns: Iterable[T],
    is_protected: Callable[[T], bool],
    range_of: Callable[[T], str],
    used_at: Callable[[T], float],
) -> T | None:
    """Name the connection that is let go for another one; None if all are protected."""
    strangers = [conn for conn in conns if not is_protected(conn)]
    by_range = Counter(map(range_of, strangers))
    most = max(by_range.values(), default=0)
    crowd = (conn for conn in strangers if by_range[range_of(conn)] == most)
    return min(crowd, key=used_at, default=None)
