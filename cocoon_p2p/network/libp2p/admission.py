"""Who may connect to us, and in which order: places for accepted connections, and turns for handshakes.

    accepted --place--> waits for its turn --> proves a key --> connection, with a place while it stands
                             |                     |
                             +---------------------+-- a newer one needs the place --> closed

A socket first counts as a handshake, then, once it proved a key, as a connection. Every
count is given back by the `with` block that took it, so nothing can leak a place.

Rule 1: a handshake's place goes to the newest. An honest one takes a fraction of a second, and who
        holds places silently has them for ten: to refuse newcomers would let a few hundred sockets
        keep everybody out.
Rule 2: the range that holds most gives way, so that a flood pushes out itself.
Rule 3: a handshake costs milliseconds of the one thread that serves everybody, so no more than so many
        begin in a second. Of those that wait, one from the range that had fewest lately is next: a flood
        waits for itself, and a newcomer from elsewhere for nobody.
Rule 4: before a key is proved, where somebody comes from is all that is known. So the host of a protected
        peer is a range of its own: what its neighbours do does not touch it.

Upstream holds an accepted connection's place until the node stops: after 250 connections in
its lifetime a node refuses all others, with none alive.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from trio.lowlevel import ParkingLot

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.network.libp2p.addresses import address_range
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.rates import Shares

FAVOURED_MAX = 1024
"Hosts that are remembered for a protected peer; the one that connected longest ago is forgotten first."


class Admission:
    """The places of one listening node."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Oldest first: dicts keep the order of arrival.
        self._handshakes: dict[trio.CancelScope, str] = {}
        self._handshakes_by_range = Counter[str]()
        self._connections = Counter[str]()
        self._rates = Shares(limits.handshake_rate, limits.handshake_rate_per_range)
        self._waiting: dict[ParkingLot, str] = {}
        self._favoured: OrderedDict[str, None] = OrderedDict()

    @property
    def handshakes(self) -> int:
        """How many accepted sockets have not proved a key yet."""
        return len(self._handshakes)

    @property
    def connections(self) -> int:
        """How many accepted connections stand, sockets that have not proved a key among them."""
        return self._connections.total()

    def favour(self, host: str) -> None:
        """Remember that a protected peer connects from `host`."""
        self._favoured[host] = None
        self._favoured.move_to_end(host)
        if len(self._favoured) > FAVOURED_MAX:
            self._favoured.popitem(last=False)

    @contextmanager
    def handshake(self, host: str) -> Iterator[None]:
        """Hold a place while a socket from `host` has not proved a key.

        The block is cancelled when a newer one needs the place.

        Raises:
            Unavailable: The place was needed: on the way out of the block.
        """
        where = self._range_of(host)
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

    async def turn(self, host: str) -> None:
        """Wait until a handshake with `host` may begin. A cancel gives the turn to the next.

        Only who is next counts the seconds; everybody else sleeps until who was next has gone.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        where, mine, was_next = self._range_of(host), ParkingLot(), False
        self._waiting[mine] = where
        try:
            while wait_seconds := self._seconds_until_turn(mine, where):
                with trio.move_on_after(wait_seconds):
                    await mine.park()
                # It knows, unless what was remembered of its range has been forgotten meanwhile.
                self._next().unpark_all()
            was_next = True
            self._rates.use(where, 1, trio.current_time())
        finally:
            was_next = was_next or self._next() is mine
            del self._waiting[mine]
            if was_next and self._waiting:
                self._next().unpark_all()

    @contextmanager
    def connection(self, host: str) -> Iterator[None]:
        """Hold a place while a connection from `host` stands, its handshake included.

        Raises:
            Unavailable: There is none left, in all or for the address range of `host`.
        """
        where, in_all = self._range_of(host), self._connections.total()
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

    def _range_of(self, host: str) -> str:
        return host if host in self._favoured else address_range(host)

    def _seconds_until_turn(self, mine: ParkingLot, where: str) -> float:
        if self._next() is mine:
            return self._rates.seconds_early(where, trio.current_time())
        return math.inf

    def _next(self) -> ParkingLot:
        return min(self._waiting, key=lambda waiting: self._rates.whole_at(self._waiting[waiting]))

    def _crowded(self, where: str) -> str | None:
        """Name the range that must give up a handshake for a new one from `where`, if one must."""
        if self._handshakes_by_range[where] >= self._limits.handshakes_per_range_max:
            return where
        if len(self._handshakes) >= self._limits.handshakes_max:
            held = self._handshakes_by_range
            return max(held, key=lambda each: (held[each], each not in self._favoured))
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
