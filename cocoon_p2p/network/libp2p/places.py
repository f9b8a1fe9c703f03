"""Places for a stranger's streams, given to the newest: who holds one idly loses it.

Upstream gives the DHT twelve places and keeps each until its stream ends: twelve idle streams
of one peer, which a node that keeps its streams open for later has soon, shut everybody out.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import trio


class Places:
    """So many streams at once, so many for each peer. One too many ends the oldest.

    Args:
        in_all_max: Over all peers.
        per_peer_max: Of one peer; its own oldest is ended first.
        seconds: How long a stream may hold a place in any case.
    """

    def __init__(self, *, in_all_max: int, per_peer_max: int, seconds: float) -> None:
        self._in_all_max = in_all_max
        self._per_peer_max = per_peer_max
        self._seconds = seconds
        # Oldest first: dicts keep the order of arrival.
        self._held: dict[trio.CancelScope, Hashable] = {}

    @property
    def taken(self) -> int:
        """How many places are held."""
        return len(self._held)

    @contextmanager
    def take(self, peer: Hashable) -> Iterator[trio.CancelScope]:
        """Hold a place during the block, which is cancelled if somebody newer needs the place."""
        own = [scope for scope, holder in self._held.items() if holder == peer]
        if len(own) >= self._per_peer_max:
            self._end(own[0])
        elif len(self._held) >= self._in_all_max:
            self._end(next(iter(self._held)))
        with trio.move_on_after(self._seconds) as scope:
            self._held[scope] = peer
            try:
                yield scope
            finally:
                self._held.pop(scope, None)

    def _end(self, scope: trio.CancelScope) -> None:
        del self._held[scope]
        scope.cancel()
