"""One iterative Kademlia lookup along one path, as a pure machine: whom to ask next, and when it is done.

    known --take--> asked --answered--> answered
                      |  \\--failed----> failed
                      late --answered--> answered

Rule 1: who is closest to the target is asked first, `parallel` of them at a time.
Rule 2: it is done when the `closest` nearest peers that did not fail have all answered.
Rule 3: who takes long is late: it holds nobody up, and what it says yet is welcome.
Rule 4: of one public address range two are asked, others are passed over: keys are cheap, and
        whoever rents one range could else be all the peers that are near to any target.
Rule 5: what answers name is bounded, so liars cost `asked_max` questions at most.

Upstream's lookup ends at the first round without a nearer peer, and asks whoever happens to be
connected, also clients that do not speak the protocol.

Spec: libp2p specs/kad-dht, "Peer routing"; Maymounkov and Mazieres, section 2.3.
"""

import hashlib
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from cocoon_p2p.identity import PeerId

NAMED_MAX = 20
"Peers taken from one answer: k of the specification, which is what honest peers name."

KNOWN_MAX = 256
"Peers that one lookup considers; the farthest that were not asked are forgotten."

PER_RANGE_MAX = 2
"Peers of one public address range that are asked in one lookup, and that a bucket of the table holds."


class _Phase(Enum):
    KNOWN = "known"
    ASKED = "asked"
    LATE = "late"
    ANSWERED = "answered"
    FAILED = "failed"


def position(name: bytes) -> int:
    """Place a key or a peer id in the space of distances."""
    return int.from_bytes(hashlib.sha256(name).digest(), "big")


def nowhere(_: PeerId) -> str:
    """Say of every peer that no public address range of its is known."""
    return ""


@dataclass(slots=True)
class Lookup:
    """A lookup under way."""

    key: bytes
    "What is looked for."

    closest: int
    "How many of the nearest peers must have answered."

    parallel: int = 3
    "alpha of the paper."

    asked_max: int = 48
    "Questions in all."

    range_of: Callable[[PeerId], str] = nowhere
    "Names the public address range that a peer would be dialled in; empty if it has none."

    voices: Counter[str] = field(default_factory=Counter[str])
    "How many of each public range were asked and did not fail; the paths of one search share it."

    _phases: dict[PeerId, _Phase] = field(default_factory=dict[PeerId, _Phase])
    _ranges: dict[PeerId, str] = field(default_factory=dict[PeerId, str])
    _by_distance: list[tuple[int, PeerId]] = field(default_factory=list[tuple[int, PeerId]])
    _target: int = field(init=False)

    def __post_init__(self) -> None:
        self._target = position(self.key)

    @property
    def is_empty(self) -> bool:
        """Whether it has nobody."""
        return not self._phases

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for an answer."""
        return _Phase.ASKED in self._phases.values()

    @property
    def is_answered(self) -> bool:
        """Whether somebody has answered."""
        return _Phase.ANSWERED in self._phases.values()

    @property
    def has_late(self) -> bool:
        """Whether somebody who took long may answer yet."""
        return _Phase.LATE in self._phases.values()

    def learn(self, peers: Iterable[PeerId]) -> None:
        """Take note of peers that might be near."""
        for peer in peers:
            if peer not in self._phases:
                self._phases[peer] = _Phase.KNOWN
                self._ranges[peer] = self.range_of(peer)
                insort(self._by_distance, (self._distance(peer), peer))
        excess = len(self._phases) - KNOWN_MAX
        if excess > 0:
            idle = [peer for _, peer in self._by_distance if self._phases[peer] is _Phase.KNOWN]
            for peer in idle[-excess:]:
                self.forget(peer)

    def forget(self, peer: PeerId) -> None:
        """Leave a peer out that was not asked yet: another path asks it."""
        if self._phases.get(peer) is _Phase.KNOWN:
            del self._phases[peer], self._ranges[peer]
            del self._by_distance[bisect_left(self._by_distance, (self._distance(peer), peer))]

    def take(self) -> tuple[PeerId, ...]:
        """Choose whom to ask now. None are chosen and none are waited for: the lookup is done."""
        asked = [phase for phase in self._phases.values() if phase is not _Phase.KNOWN]
        room = min(self.parallel - asked.count(_Phase.ASKED), self.asked_max - len(asked))
        chosen: list[PeerId] = []
        while len(chosen) < room and (peer := self._next()) is not None:
            self._phases[peer] = _Phase.ASKED
            if where := self._ranges[peer]:
                self.voices[where] += 1
            chosen.append(peer)
        return tuple(chosen)

    def answered(self, peer: PeerId, closer: Iterable[PeerId]) -> None:
        """Note that `peer` answered, and whom it named."""
        self._phases[peer] = _Phase.ANSWERED
        self.learn(closer)

    def late(self, peer: PeerId) -> None:
        """Note that `peer` takes long."""
        if self._phases[peer] is _Phase.ASKED:
            self._phases[peer] = _Phase.LATE

    def failed(self, peer: PeerId) -> None:
        """Note that `peer` did not answer, or answered nonsense."""
        self._phases[peer] = _Phase.FAILED
        if where := self._ranges[peer]:
            self.voices[where] -= 1

    def found(self) -> tuple[PeerId, ...]:
        """List who answered among the nearest, nearest first."""
        return tuple(peer for peer in self._nearest() if self._phases[peer] is _Phase.ANSWERED)

    def _next(self) -> PeerId | None:
        return next((peer for peer in self._nearest() if self._phases[peer] is _Phase.KNOWN), None)

    def _nearest(self) -> Iterator[PeerId]:
        return islice(filter(self._counts, (peer for _, peer in self._by_distance)), self.closest)

    def _counts(self, peer: PeerId) -> bool:
        match self._phases[peer]:
            case _Phase.KNOWN:
                return self.voices[self._ranges[peer]] < PER_RANGE_MAX
            case _Phase.ASKED | _Phase.ANSWERED:
                return True
            case _Phase.LATE | _Phase.FAILED:
                return False

    def _distance(self, peer: PeerId) -> int:
        return position(peer) ^ self._target
