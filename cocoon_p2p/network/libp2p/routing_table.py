"""The servers of the DHT that a node knows, in buckets by distance. Pure.

Rule 1: who is in stays in as long as it answers. A full bucket takes nobody new: the peers
        that have been there longest are those most likely to stay, and no flood of fresh keys
        drives them out.
Rule 2: one address range has few places in a bucket, so that many cheap keys on one rented
        range do not surround a key. What a peer says of its addresses is one thing, where its
        connection comes from another: both count.

Spec: libp2p specs/kad-dht, "Kademlia routing table"; Maymounkov and Mazieres, section 2.2.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.addresses import Address, address_range
from cocoon_p2p.network.libp2p.lookup import position

BUCKET_SIZE = 20
"k of the specification."

PER_RANGE_MAX = 2
"Peers of one public address range in one bucket. Private ranges are not counted: they are one site."


@dataclass(frozen=True, slots=True)
class Entry:
    """A server and where it is."""

    peer: PeerId
    addresses: tuple[Address, ...]

    seen_from: str = ""
    "The address range that its connection came from, if one stood."


class RoutingTable:
    """The servers known to `own`."""

    def __init__(self, own: PeerId) -> None:
        self._own = own
        self._own_position = position(own)
        # Each bucket in the order in which its peers were last heard, longest ago first.
        self._buckets: dict[int, dict[PeerId, Entry]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def __contains__(self, peer: object) -> bool:
        return any(peer in bucket for bucket in self._buckets.values())

    def heard(self, peer: PeerId, addresses: Sequence[Address], *, seen_from: str = "") -> bool:
        """Note that a server answered; it enters if there is room, and moves to the end of its bucket.

        Args:
            peer: Who.
            addresses: Where it says that it is.
            seen_from: The address range that its connection comes from; empty if none stands.

        Returns:
            Whether it is in the table now.
        """
        if peer == self._own or not addresses:
            return False
        bucket = self._buckets.setdefault(self._bucket_of(peer), {})
        was_in = bucket.pop(peer, None) is not None
        entry = Entry(peer, tuple(addresses), seen_from)
        if not was_in and (len(bucket) >= BUCKET_SIZE or _is_crowded(bucket, entry)):
            return False
        bucket[peer] = entry
        return True

    def remove(self, peer: PeerId) -> None:
        """Forget a server that did not answer, or that stopped being one."""
        bucket = self._buckets.get(self._bucket_of(peer), {})
        bucket.pop(peer, None)

    def entry(self, peer: PeerId) -> Entry | None:
        """Look a server up."""
        return self._buckets.get(self._bucket_of(peer), {}).get(peer)

    def nearest(self, key: bytes, count: int) -> list[Entry]:
        """List the servers nearest to a key, nearest first."""
        target = position(key)
        entries = [entry for bucket in self._buckets.values() for entry in bucket.values()]
        entries.sort(key=lambda entry: position(entry.peer) ^ target)
        return entries[:count]

    def stalest(self) -> list[Entry]:
        """List of each bucket the server that was heard longest ago."""
        return [next(iter(bucket.values())) for bucket in self._buckets.values() if bucket]

    def _bucket_of(self, peer: PeerId) -> int:
        return (position(peer) ^ self._own_position).bit_length()


def _is_crowded(bucket: dict[PeerId, Entry], newcomer: Entry) -> bool:
    ranges = _public_ranges(newcomer)
    neighbours = [entry for entry in bucket.values() if ranges & _public_ranges(entry)]
    return len(neighbours) >= PER_RANGE_MAX


def _public_ranges(entry: Entry) -> set[str]:
    claimed = {address_range(address.host) for address in entry.addresses if not address.is_name}
    seen = {entry.seen_from} if entry.seen_from else set[str]()
    return {each for each in claimed | seen if ipaddress.ip_network(each).is_global}
