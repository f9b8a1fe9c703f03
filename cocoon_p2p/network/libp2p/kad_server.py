"""What a server of the DHT keeps and answers. Pure: whoever runs it brings the time and the bytes.

Rule 1: a value is kept if the network's validator accepts it under its key, and handed on only
        while it still does.
Rule 2: a node may announce itself, under the one key that its peer id belongs to. It is named until
        the record that it announced with expires, by the date that it signed; without one for an hour.
Rule 3: everything is bounded. Full, it lets go of a value that has expired, else of the one farthest
        from itself, and of the oldest announcement from the address range that most come from: keys
        are cheap, and neither who was first nor who is loudest may keep the others out.

Spec: libp2p specs/kad-dht, "RPC messages" and "Entry validation"; protocols/records.md.
"""

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libp2p.kad_dht.pb.kademlia_pb2 import Message, Record

from cocoon_p2p.errors import MalformedMessage, RecordRejected, RemoteProtocolError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_wire import PROVIDERS_MAX, named, take_named
from cocoon_p2p.network.libp2p.lookup import position
from cocoon_p2p.network.libp2p.routing_table import BUCKET_SIZE, Entry, RoutingTable
from cocoon_p2p.protocols.ids import RECORD_LIFETIME_MAX_SECONDS

VALUES_MAX = 4096
"Records of a kilobyte each: some 5 MB."

KEY_MAX_BYTES = 128
"What go-libp2p allows. Ours have 96 at most."

Validate = Callable[[PeerId, bytes], float]
"""Judges a value under the key of a peer; raises a `RemoteProtocolError` if it may not stand there. Gives
the date until which it may, in seconds since the Unix epoch."""

Select = Callable[[Sequence[bytes]], int]
"Chooses among validated values of one key; returns the index of the best."


@dataclass(frozen=True, slots=True)
class _Value:
    value: bytes
    distance: int
    expires: float


@dataclass(frozen=True, slots=True)
class _Announcement:
    entry: Entry
    where: str
    expires: float


class KadServer:
    """The contents of one server.

    Args:
        own: Our peer id.
        keys: Of our network.
        table: Whom we name to those who ask.
        validate: Judges values.
        select: Ranks them.
    """

    def __init__(
        self, own: PeerId, keys: KadKeys, table: RoutingTable, validate: Validate, select: Select
    ) -> None:
        self._own_position = position(own)
        self._keys = keys
        self._table = table
        self._validate = validate
        self._select = select
        self._values: dict[bytes, _Value] = {}
        # The same keys, farthest from us last, and by date: a full server lets one go at each put.
        self._by_distance: list[tuple[int, bytes]] = []
        self._by_expiry: list[tuple[float, bytes]] = []
        # Under each key in the order of announcing, longest ago first.
        self._announced: dict[bytes, dict[PeerId, _Announcement]] = {}

    def answer(self, question: Message, asker: PeerId, *, where: str, now: float) -> Message:
        """Answer a peer's question.

        Args:
            question: What it asked, as it came.
            asker: Who asked, proved by its key.
            where: The address range it asks from.
            now: Seconds since the Unix epoch.

        Raises:
            RemoteProtocolError: The question cannot be answered, or asks us to keep what we may not.
        """
        if not 0 < len(question.key) <= KEY_MAX_BYTES and question.type != Message.MessageType.PING:
            raise MalformedMessage(f"kad key of the wrong length (got={len(question.key)} bytes)")
        answer = Message(type=question.type, key=question.key)
        match question.type:
            case Message.MessageType.PING:
                return answer
            case Message.MessageType.PUT_VALUE:
                self.keep(question.key, question.record.value, now=now)
                answer.record.CopyFrom(Record(key=question.key, value=question.record.value))
                return answer
            case Message.MessageType.ADD_PROVIDER:
                self._let_announce(question, asker, where, now)
                return answer
            case Message.MessageType.GET_VALUE:
                if (value := self.value(question.key)) is not None:
                    answer.record.CopyFrom(Record(key=question.key, value=value))
            case Message.MessageType.GET_PROVIDERS:
                answer.providerPeers.extend(map(named, self.announced(question.key, now=now)))
            case Message.MessageType.FIND_NODE:
                pass
            case unknown:
                raise MalformedMessage(f"unknown kad question (type={unknown})")
        nearest = self._table.nearest(question.key, BUCKET_SIZE)
        answer.closerPeers.extend(named(entry) for entry in nearest if entry.peer != asker)
        return answer

    @property
    def records(self) -> int:
        """How many records are kept, those that expired since they were last asked for among them."""
        return len(self._values)

    def announcements(self, *, now: float) -> int:
        """Count who announced itself here and is still named."""
        return sum(each.expires > now for there in self._announced.values() for each in there.values())

    def keep(self, key: bytes, value: bytes, *, now: float = -math.inf) -> float:
        """Keep a value, unless a better one is there; give the date until which it is valid.

        Args:
            key: Its key.
            value: The value.
            now: Seconds since the Unix epoch: a full server lets go of what has expired by then.

        Raises:
            RemoteProtocolError: It may not stand under this key, or a better one does.
        """
        expires = self._validate(self._keys.peer_of(key), value)
        kept = self.value(key)
        # The same value again is welcome: whoever publishes anew must hear that it is kept.
        if kept is not None and kept != value and self._select((kept, value)) != 1:
            raise RecordRejected("a better record is known")
        self._forget(key)
        distance = position(key) ^ self._own_position
        self._values[key] = _Value(value, distance, expires)
        insort(self._by_distance, (distance, key))
        insort(self._by_expiry, (expires, key))
        if len(self._values) > VALUES_MAX:
            first_to_expire, farthest = self._by_expiry[0], self._by_distance[-1]
            self._forget(first_to_expire[1] if first_to_expire[0] <= now else farthest[1])
        return expires

    def value(self, key: bytes) -> bytes | None:
        """Give the value that is kept under a key, if it still stands the judgement."""
        kept = self._values.get(key)
        if kept is None:
            return None
        try:
            self._validate(self._keys.peer_of(key), kept.value)
        except RemoteProtocolError:
            self._forget(key)
            return None
        return kept.value

    def _forget(self, key: bytes) -> None:
        kept = self._values.pop(key, None)
        if kept is not None:
            del self._by_distance[bisect_left(self._by_distance, (kept.distance, key))]
            del self._by_expiry[bisect_left(self._by_expiry, (kept.expires, key))]

    def announce(self, entry: Entry, *, where: str, expires: float) -> None:
        """Note that a proxy announced itself under its shard's key, until a date."""
        there = self._announced.setdefault(self._keys.shard_of(entry.peer), {})
        there.pop(entry.peer, None)
        there[entry.peer] = _Announcement(entry, where, expires)
        if len(there) > PROVIDERS_MAX:
            ((crowded, _),) = Counter(each.where for each in there.values()).most_common(1)
            del there[next(peer for peer, each in there.items() if each.where == crowded)]

    def announced(self, key: bytes, *, now: float) -> list[Entry]:
        """List who announced itself under a key and is still named; forget the others."""
        there = self._announced.get(key, {})
        for peer in [peer for peer, each in there.items() if each.expires <= now]:
            del there[peer]
        return [each.entry for each in there.values()]

    def _let_announce(self, question: Message, asker: PeerId, where: str, now: float) -> None:
        if question.key != self._keys.shard_of(asker):
            raise RecordRejected("an announcement under a key that is not the peer's own")
        own = [entry for entry in map(take_named, question.providerPeers[:1]) if entry is not None]
        if not own or own[0].peer != asker:
            raise RecordRejected("an announcement of somebody else")
        expires = now + RECORD_LIFETIME_MAX_SECONDS
        if question.HasField("record"):
            # Nothing that it says by itself, its date least of all, outlives what it signed.
            expires = min(expires, self.keep(self._keys.record_of(asker), question.record.value, now=now))
        self.announce(own[0], where=where, expires=expires)
