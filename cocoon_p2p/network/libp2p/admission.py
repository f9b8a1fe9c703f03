"""Who may still connect to us: counts of accepted connections, by state and by address range.

A socket first counts as a handshake, then, once it proved a key, as a connection. Every
count is given back by the `with` block that took it, so nothing can leak a place.

Upstream holds an accepted connection's place until the node stops: after 250 connections in
its lifetime a node refuses all others, with none alive.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.network.libp2p.addresses import address_range
from cocoon_p2p.network.libp2p.limits import Limits


@dataclass(slots=True)
class _Places:
    """Places of one kind: so many in all, so many for each address range."""

    kind: str
    in_all_max: int
    per_range_max: int
    taken: Counter[str] = field(default_factory=Counter[str])

    @contextmanager
    def take(self, where: str) -> Iterator[None]:
        if self.taken.total() >= self.in_all_max or self.taken[where] >= self.per_range_max:
            raise Unavailable(
                f"no place for another {self.kind} (range={where} here={self.taken[where]} "
                f"all={self.taken.total()})"
            )
        self.taken[where] += 1
        try:
            yield
        finally:
            self.taken[where] -= 1
            if not self.taken[where]:
                del self.taken[where]


class Admission:
    """The places of one listening node."""

    def __init__(self, limits: Limits) -> None:
        self._handshakes = _Places("handshake", limits.handshakes_max, limits.handshakes_per_range_max)
        self._connections = _Places("connection", limits.connections_max, limits.connections_per_range_max)

    @property
    def handshakes(self) -> int:
        """How many accepted sockets have not proved a key yet."""
        return self._handshakes.taken.total()

    @property
    def connections(self) -> int:
        """How many accepted connections stand."""
        return self._connections.taken.total()

    @contextmanager
    def handshake(self, host: str) -> Iterator[None]:
        """Hold a place while a socket from `host` has not proved a key.

        Raises:
            Unavailable: There is none left, in all or for the address range of `host`.
        """
        with self._handshakes.take(address_range(host)):
            yield

    @contextmanager
    def connection(self, host: str) -> Iterator[None]:
        """Hold a place while a connection from `host` stands. Raises as `handshake`."""
        with self._connections.take(address_range(host)):
            yield
