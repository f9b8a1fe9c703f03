"""How often peers miscounted or billed what they should not have, lately: the fewer times, the rather chosen.

Faults fade by half each day, so a peer is never written off for good. What was proven stands as
evidence in the ledger; this is only what the client makes of it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import Note, Store
from cocoon_p2p.protocols.messages import APeer
from cocoon_p2p.protocols.schema import Key, Max, decode_paper, encode_paper

HALF_LIFE_SECONDS = 24 * 3600.0
"After a day a fault counts half."

PROVEN = 1.0
"What the peer itself signed or sealed is wrong."

SUSPECTED = 0.25
"Something on the way through this peer was wrong: it, or who is behind it."

SHUNNED_FROM = 0.5
"A worker with this much is left out: one proven fault, for a day."

PEERS_MAX = 1024
"Peers that are remembered; who faulted longest ago gives way."

FAULTS_MAX = 1000.0
"More changes nothing for the next ten days."

_PREFIX = "standing/"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a note holds of one peer."""

    peer: Annotated[APeer, Key(1)]
    milli: Annotated[int, Key(2), Max(int(FAULTS_MAX * 1000))]
    "Faults, in thousandths."

    at: Annotated[int, Key(3)]
    "When that was so, in seconds since the Unix epoch."


@dataclass(frozen=True, slots=True)
class Faults:
    """What one peer has on its account."""

    count: float
    at: float

    def by(self, now: float) -> float:
        """Say what is left of them. A clock that went back does not make them more."""
        return float(self.count * 0.5 ** (max(0.0, now - self.at) / HALF_LIFE_SECONDS))


class Standings:
    """The faults of all peers that have any. Kept in the ledger's notes, as soon as its next write.

    Args:
        store: The ledger.
        clock: Seconds since the Unix epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._faults: OrderedDict[PeerId, Faults] = OrderedDict()

    async def load(self) -> None:
        """Read what the ledger has kept. What cannot be read is forgotten."""
        read: list[tuple[PeerId, Faults]] = []
        for value in (await self._store.notes(_PREFIX)).values():
            try:
                kept = decode_paper(_Kept, value)
            except MalformedMessage:
                continue
            read.append((PeerId(kept.peer), Faults(kept.milli / 1000, kept.at)))
        self._faults = OrderedDict(sorted(read, key=lambda item: item[1].at)[-PEERS_MAX:])

    def faults(self, peer: PeerId) -> float:
        """Say how many faults count against a peer now; 0 for a stranger."""
        found = self._faults.get(peer)
        return 0.0 if found is None else found.by(self._clock())

    def lower(self, peer: PeerId, by: float) -> None:
        """Hold a fault against a peer. It is on disk soon: a crash may forget the last ones."""
        now = self._clock()
        faults = Faults(min(self.faults(peer) + by, FAULTS_MAX), now)
        self._faults[peer] = faults
        self._faults.move_to_end(peer)
        kept = _Kept(peer, round(faults.count * 1000), max(0, int(now)))
        self._store.submit(Note(_name(peer), encode_paper(kept)))
        if len(self._faults) > PEERS_MAX:
            forgotten, _ = self._faults.popitem(last=False)
            self._store.submit(Note(_name(forgotten), None))

    def shunned(self, but: Iterable[PeerId] = ()) -> tuple[PeerId, ...]:
        """Name the peers that are not to be given work, the worst first.

        Args:
            but: Those whom the application asked for by name.
        """
        wanted = set(but)
        bad = [(self.faults(peer), peer) for peer in self._faults if peer not in wanted]
        return tuple(peer for faults, peer in sorted(bad, reverse=True) if faults >= SHUNNED_FROM)


def _name(peer: PeerId) -> str:
    return f"{_PREFIX}{peer.hex()}"
