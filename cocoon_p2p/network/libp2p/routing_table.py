"""The servers of the DHT that a node knows, in buckets by distance. Pure.

Rule 1: who is in stays in as long as it answers. A full bucket takes nobody new: the peers
        that have been there longest are those most likely to stay, and no flood of fresh keys
        drives them out. A few newcomers stand by, and one of them gets the place of who stops
        answering: the caller asks who was heard longest ago (`stalest`).
Rule 2: one address range has few places in a bucket, so that many cheap keys on one rented
        range do not surround a key. What a peer says of its addresses is one thing, where its
        connection comes from another: both count.
Rule 3: the addresses that stand here were dialled, and that peer answered there: the caller has
        seen to it, and does again when `since_dialled` is long ago.

Spec: libp2p specs/kad-dht, "Kademlia routing table"; Maymounkov and Mazieres, sections 2.2 and 2.4.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.addresses import Address, address_range
from cocoon_p2p.network.libp2p.lookup import PER_RANGE_MAX, position

BUCKET_SIZE = 20
"k of the specification."

STANDING_BY_MAX = 5
"Newcomers to a full bucket that wait for a place."

DIALLED_MAX = 4
"Addresses of one server that are kept, the one that worked last first."

FARTHEST = 256
"The bucket of the peers that share not even their first bit with us: half of all."


@dataclass(frozen=True, slots=True)
class Entry:
    """A server and where it is."""

    peer: PeerId
    addresses: tuple[Address, ...]

    seen_from: str = ""
    "The address range that its connection came from, if one stood."

    since: float = 0.0
    "When it was first heard, in seconds since the Unix epoch; so are the next two."

    heard: float = 0.0
    "When it was last heard."

    dialled: float = 0.0
    "When an address of it last was seen to work."


@dataclass(frozen=True, slots=True)
class Bucket:
    """How one bucket stands."""

    number: int
    """Which one: 256 holds the farthest half of all peers, 255 the next quarter, and so on."""

    servers: int
    standing_by: int

    heard: float
    "When one of its servers was last heard, in seconds since the Unix epoch."


class RoutingTable:
    """The servers known to `own`."""

    def __init__(self, own: PeerId) -> None:
        self._own = own
        self._own_position = position(own)
        # Each bucket in the order in which its peers were last heard, longest ago first.
        self._buckets: dict[int, dict[PeerId, Entry]] = {}
        self._standing_by: dict[int, dict[PeerId, Entry]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def __contains__(self, peer: object) -> bool:
        return any(peer in bucket for bucket in self._buckets.values())

    def __iter__(self) -> Iterator[Entry]:
        """Give every server, in no order that means anything."""
        for bucket in self._buckets.values():
            yield from bucket.values()

    def heard(
        self, peer: PeerId, dialled: Sequence[Address] = (), *, seen_from: str = "", now: float = 0.0
    ) -> bool:
        """Note that a server answered; it enters if there is room, and moves to the end of its bucket.

        Args:
            peer: Who.
            dialled: Where it was reached just now; empty for a connection that it made. Who is not in yet
                does not enter without.
            seen_from: The address range that its connection comes from; empty if none stands.
            now: Seconds since the Unix epoch.

        Returns:
            Whether it is in the table now.
        """
        number = self.bucket_of(peer)
        bucket = self._buckets.get(number, {})
        known = bucket.get(peer) or Entry(peer, (), since=now, dialled=now)
        addresses = tuple(dict.fromkeys((*dialled, *known.addresses)))[:DIALLED_MAX]
        if peer == self._own or not addresses:
            return False
        entry = replace(
            known,
            addresses=addresses,
            seen_from=seen_from or known.seen_from,
            heard=now,
            dialled=now if dialled else known.dialled,
        )
        if peer not in bucket and (len(bucket) >= BUCKET_SIZE or _is_crowded(bucket, entry)):
            self._stand_by(number, entry)
            return False
        bucket.pop(peer, None)
        bucket[peer] = entry
        self._buckets[number] = bucket
        self._standing_by.get(number, {}).pop(peer, None)
        return True

    def wants(self, peer: PeerId, *, seen_from: str = "") -> bool:
        """Say whether a newcomer could enter, or stand by, once one of its addresses is seen to work."""
        number = self.bucket_of(peer)
        bucket, waiting = self._buckets.get(number, {}), self._standing_by.get(number, {})
        if peer == self._own or peer in bucket or peer in waiting:
            return False
        is_full = len(bucket) >= BUCKET_SIZE
        if _is_crowded(waiting if is_full else bucket, Entry(peer, (), seen_from)):
            return False
        return not is_full or len(waiting) < STANDING_BY_MAX

    def remove(self, peer: PeerId) -> None:
        """Forget a server that did not answer, or that stopped being one; who stands by takes its place."""
        number = self.bucket_of(peer)
        bucket, waiting = self._buckets.get(number, {}), self._standing_by.get(number, {})
        waiting.pop(peer, None)
        if bucket.pop(peer, None) is None:
            return
        for entry in reversed(tuple(waiting.values())):
            if not _is_crowded(bucket, entry):
                del waiting[entry.peer]
                # In front of all others: nobody was heard longer ago than who only stood by.
                self._buckets[number] = {entry.peer: entry, **bucket}
                return

    def entry(self, peer: PeerId) -> Entry | None:
        """Look a server up."""
        return self._buckets.get(self.bucket_of(peer), {}).get(peer)

    def nearest(self, key: bytes, count: int) -> list[Entry]:
        """List the servers nearest to a key, nearest first."""
        target = position(key)
        entries = sorted(self, key=lambda entry: position(entry.peer) ^ target)
        return entries[:count]

    def stalest(self) -> list[Entry]:
        """List of each bucket the server that was heard longest ago."""
        return [next(iter(bucket.values())) for bucket in self._buckets.values() if bucket]

    def buckets(self) -> list[Bucket]:
        """Say how each bucket that holds servers stands, the farthest first."""
        return [
            Bucket(
                number,
                servers=len(bucket),
                standing_by=len(self._standing_by.get(number, {})),
                heard=max(entry.heard for entry in bucket.values()),
            )
            for number, bucket in sorted(self._buckets.items(), reverse=True)
            if bucket
        ]

    def bucket_of(self, peer: PeerId) -> int:
        """Say which bucket a peer belongs into."""
        return (position(peer) ^ self._own_position).bit_length()

    def _stand_by(self, number: int, entry: Entry) -> None:
        waiting = self._standing_by.setdefault(number, {})
        if entry.peer in waiting or len(waiting) < STANDING_BY_MAX:
            waiting.pop(entry.peer, None)
            waiting[entry.peer] = entry


def _is_crowded(bucket: dict[PeerId, Entry], newcomer: Entry) -> bool:
    ranges = _public_ranges(newcomer)
    neighbours = [entry for entry in bucket.values() if ranges & _public_ranges(entry)]
    return len(neighbours) >= PER_RANGE_MAX


def _public_ranges(entry: Entry) -> set[str]:
    reached = {address_range(address.host) for address in entry.addresses if not address.is_name}
    seen = {entry.seen_from} if entry.seen_from else set[str]()
    return {each for each in reached | seen if ipaddress.ip_network(each).is_global}
