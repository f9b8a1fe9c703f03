"""Who may still connect to us: counts of accepted connections, by state and by address range.

A socket first counts as a handshake, then, once it proved a key, as a connection. Every
count is given back by the `with` block that took it, so nothing can leak a place.

Rule 1: a handshake's place goes to the newest. An honest one takes a fraction of a second, and who
        holds places silently has them for ten: to refuse newcomers would let a few hundred sockets
        keep everybody out.
Rule 2: the range that holds most gives way, so that a flood pushes out itself.

Upstream holds an accepted connection's place until the node stops: after 250 connections in
its lifetime a node refuses all others, with none alive.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.network.libp2p.addresses import address_range
from cocoon_p2p.network.libp2p.limits import Limits


class Admission:
    """The places of one listening node."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Oldest first: dicts keep the order of arrival.
        self._handshakes: dict[trio.CancelScope, str] = {}
        self._handshakes_by_range = Counter[str]()
        self._connections = Counter[str]()

    @property
    def handshakes(self) -> int:
        """How many accepted sockets have not proved a key yet."""
        return len(self._handshakes)

    @property
    def connections(self) -> int:
        """How many accepted connections stand, sockets that have not proved a key among them."""
        return self._connections.total()

    @contextmanager
    def handshake(self, host: str) -> Iterator[None]:
        """Hold a place while a socket from `host` has not proved a key.

        The block is cancelled when a newer one needs the place.

        Raises:
            Unavailable: The place was needed: on the way out of the block.
        """
        where = address_range(host)
        if (crowded := self._crowded(where)) is not None:
            self._end(next(scope for scope, held in self._handshakes.items() if held == crowded))
        with trio.CancelScope() as scope:
            self._handshakes[scope] = where
            self._handshakes_by_range[where] += 1
            try:
                yield
            finally:
                self._forget(scope)
        if scope.cancelled_caught:
            raise Unavailable(f"a newer handshake took the place (range={where})")

    @contextmanager
    def connection(self, host: str) -> Iterator[None]:
        """Hold a place while a connection from `host` stands, its handshake included.

        Raises:
            Unavailable: There is none left, in all or for the address range of `host`.
        """
        where, in_all = address_range(host), self._connections.total()
        in_all_max = self._limits.connections_max + self._limits.handshakes_max
        if in_all >= in_all_max or self._connections[where] >= self._limits.connections_per_range_max:
            raise Unavailable(
                "no place for another connection "
                f"(range={where} here={self._connections[where]} all={in_all})"
            )
        self._connections[where] += 1
        try:
            yield
        finally:
            _give_back(self._connections, where)

    def _crowded(self, where: str) -> str | None:
        """Name the range that must give up a handshake for a new one from `where`, if one must."""
        if self._handshakes_by_range[where] >= self._limits.handshakes_per_range_max:
            return where
        if len(self._handshakes) >= self._limits.handshakes_max:
            return self._handshakes_by_range.most_common(1)[0][0]
        return None

    def _end(self, scope: trio.CancelScope) -> None:
        self._forget(scope)
        scope.cancel()

    def _forget(self, scope: trio.CancelScope) -> None:
        where = self._handshakes.pop(scope, None)
        if where is not None:
            _give_back(self._handshakes_by_range, where)


def _give_back(places: Counter[str], where: str) -> None:
    places[where] -= 1
    if not places[where]:
        del places[where]
