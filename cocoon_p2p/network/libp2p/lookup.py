"""One iterative Kademlia lookup, as a pure machine: whom to ask next, and when it is done.

    known --take--> asked --answered--> answered
                          --failed----> failed

Rule 1: who is closest to the target is asked first, `parallel` of them at a time.
Rule 2: it is done when the `closest` nearest peers that did not fail have all answered.
Rule 3: what answers name is bounded, so liars cost `asked_max` questions at most.

Upstream's lookup ends at the first round without a nearer peer, and asks whoever happens to be
connected, also clients that do not speak the protocol.

Spec: libp2p specs/kad-dht, "Peer routing"; Maymounkov and Mazieres, section 2.3.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from cocoon_p2p.identity import PeerId

NAMED_MAX = 20
"Peers taken from one answer: k of the specification, which is what honest peers name."

KNOWN_MAX = 256
"Peers that one lookup considers; the farthest that were not asked are forgotten."


class _Phase(Enum):
    KNOWN = "known"
    ASKED = "asked"
    ANSWERED = "answered"
    FAILED = "failed"


def position(name: bytes) -> int:
    """Place a key or a peer id in the space of distances."""
    return int.from_bytes(hashlib.sha256(name).digest(), "big")


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

    _phases: dict[PeerId, _Phase] = field(default_factory=dict[PeerId, _Phase])
    _distances: dict[PeerId, int] = field(default_factory=dict[PeerId, int])

    def learn(self, peers: Iterable[PeerId]) -> None:
        """Take note of peers that might be near."""
        target = position(self.key)
        for peer in peers:
            if peer not in self._phases:
                self._phases[peer] = _Phase.KNOWN
                self._distances[peer] = position(peer) ^ target
        excess = len(self._phases) - KNOWN_MAX
        if excess > 0:
            idle = [peer for peer in self._by_distance() if self._phases[peer] is _Phase.KNOWN]
            for peer in idle[-excess:]:
                del self._phases[peer], self._distances[peer]

    def take(self) -> tuple[PeerId, ...]:
        """Choose whom to ask now. None are chosen and none are under way: the lookup is done."""
        asked = [peer for peer, phase in self._phases.items() if phase is not _Phase.KNOWN]
        under_way = sum(self._phases[peer] is _Phase.ASKED for peer in asked)
        room = min(self.parallel - under_way, self.asked_max - len(asked))
        chosen = [peer for peer in self._nearest() if self._phases[peer] is _Phase.KNOWN][: max(0, room)]
        for peer in chosen:
            self._phases[peer] = _Phase.ASKED
        return tuple(chosen)

    def answered(self, peer: PeerId, closer: Sequence[PeerId]) -> None:
        """Note that `peer` answered, and whom it named."""
        self._phases[peer] = _Phase.ANSWERED
        self.learn(closer[:NAMED_MAX])

    def failed(self, peer: PeerId) -> None:
        """Note that `peer` did not answer, or answered nonsense."""
        self._phases[peer] = _Phase.FAILED

    def found(self) -> tuple[PeerId, ...]:
        """List who answered among the nearest, nearest first."""
        return tuple(peer for peer in self._nearest() if self._phases[peer] is _Phase.ANSWERED)

    def _nearest(self) -> list[PeerId]:
        alive = [peer for peer in self._by_distance() if self._phases[peer] is not _Phase.FAILED]
        return alive[: self.closest]

    def _by_distance(self) -> list[PeerId]:
        return sorted(self._phases, key=self._distances.__getitem__)
