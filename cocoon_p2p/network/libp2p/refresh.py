"""When a node looks around in the DHT, and for what. Pure: it holds no clock.

    each minute      who was heard longest ago in each bucket is asked whether it is there, and
                     each bootstrap that did not answer last
    each 5 minutes   our own neighbourhood; at once when a bootstrap came back or nobody is left
    each hour        every bucket that no lookup went to, a few a minute

Rule 1: a bucket that sees no traffic is looked up, or it would fill with the dead.
Rule 2: a lookup for ourselves begins at every bootstrap, each on a path of its own. So two islands
        that formed while their bootstraps were apart join within a minute and a lookup of a
        bootstrap's hearing of one in the other; and whoever knows bootstraps of both, anyway.

Spec: Maymounkov and Mazieres, section 2.3.
"""

import hashlib
from dataclasses import dataclass, field

from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.lookup import position
from cocoon_p2p.network.libp2p.routing_table import FARTHEST, RoutingTable

TICK_SECONDS = 60.0
"Between two looks; a little more at random, so that nodes do not keep step."

NEIGHBOURHOOD_SECONDS = 300.0
BUCKET_SECONDS = 3600.0

BUCKETS_AT_ONCE = 2
"Buckets that are looked up at one look, so that a start does not ask for all of them."

BUCKETS_MAX = 12
"Buckets that are looked up at all: nearer ones are our neighbourhood. A key for the last takes 4,000 hashes."


@dataclass(slots=True)
class Refresh:
    """What was looked up when."""

    own: PeerId
    _looked: dict[int, float] = field(default_factory=dict[int, float])
    _neighbourhood_at: float = float("-inf")

    def looked_up(self, key: bytes, now: float) -> None:
        """Note that a lookup went out."""
        number = (position(key) ^ position(self.own)).bit_length()
        if number:
            self._looked[number] = now
        else:
            self._neighbourhood_at = now

    def looked_up_at(self, number: int) -> float | None:
        """Say when a lookup last went to a bucket."""
        return self._looked.get(number)

    @property
    def last_looked_up_at(self) -> float | None:
        """Say when a lookup last went out anywhere."""
        latest = max((self._neighbourhood_at, *self._looked.values()))
        return None if latest == float("-inf") else latest

    def forget_neighbourhood(self) -> None:
        """Let our own neighbourhood be looked up next: something has changed."""
        self._neighbourhood_at = float("-inf")

    def due(self, table: RoutingTable, now: float) -> tuple[bytes, ...]:
        """Name the keys to look up now.

        Args:
            table: Whom we know; only buckets as far as our nearest neighbour, and farther, are looked up.
            now: Any clock that never goes back, in seconds; the same for `looked_up`.
        """
        keys: list[bytes] = []
        if now - self._neighbourhood_at >= NEIGHBOURHOOD_SECONDS or not len(table):
            keys.append(self.own)
        lowest = min((bucket.number for bucket in table.buckets()), default=FARTHEST)
        numbers = range(FARTHEST, max(lowest, FARTHEST - BUCKETS_MAX + 1) - 1, -1)
        never = float("-inf")
        stale = [number for number in numbers if now - self._looked.get(number, never) >= BUCKET_SECONDS]
        stale.sort(key=lambda number: self._looked.get(number, never))
        keys += [key_in(self.own, number, int(now)) for number in stale[:BUCKETS_AT_ONCE]]
        return tuple(keys)


def key_in(own: PeerId, number: int, draw: int) -> bytes:
    """Find a key that belongs into a bucket, shaped as a peer id; nobody's, of course.

    Args:
        own: Whose bucket.
        number: Which one, of the `BUCKETS_MAX` farthest.
        draw: Another one gives another key.
    """
    own_position, attempt = position(own), 0
    while True:
        seed = f"{draw}/{number}/{attempt}".encode()
        key = peer_id_of(hashlib.sha256(own + seed).digest())
        if (position(key) ^ own_position).bit_length() == number:
            return key
        attempt += 1
