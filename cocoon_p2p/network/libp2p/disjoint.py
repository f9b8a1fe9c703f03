"""A lookup along several paths at once, of which no two ask the same server. Pure.

    ours ---> path 1 --> ... --> near      }
         ---> path 2 --> ... --> near      }  united
    bootstraps -> path 3 --> ... --> near  }

A server that lies names only its friends, and so whoever listens to it ends among them. It gets to
speak on one path. To hide something, liars must stand on every path.

Rule 1: who is asked on one path is on no other, and one public address range has two voices on all
        of them together.
Rule 2: what an answer names is followed on the path on which it was given, so a lie stays there;
        but a path that has nobody yet is given a share, for who knows only one server.
Rule 3: half of the paths begin at bootstraps and the others at whom we know by ourselves: neither
        a poisoned table nor a lying bootstrap decides alone, and each sees whether the other
        stands in another island.

Spec: Baumgart and Mies, S/Kademlia (2007), section 4.4. rust-libp2p and js-libp2p do the same
without rule 3, and tell other paths of an answer's success.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.lookup import NAMED_MAX, Lookup, nowhere, position

PATHS = 4
"d of S/Kademlia, which tries 1, 2, 4 and 8. Each costs its own questions."

PARALLEL = 2
"alpha on each path."

ASKED_MAX = 24
"Questions on each path."


class DisjointLookup:
    """A lookup under way.

    Args:
        key: What is looked for.
        closest: How many of the nearest must have answered on each path.
        paths: How many there are.
        range_of: As of `Lookup`.
    """

    def __init__(
        self,
        key: bytes,
        closest: int,
        *,
        paths: int = PATHS,
        range_of: Callable[[PeerId], str] = nowhere,
    ) -> None:
        self._target = position(key)
        voices = Counter[str]()
        self._paths = [Lookup(key, closest, PARALLEL, ASKED_MAX, range_of, voices) for _ in range(paths)]
        self._path_of: dict[PeerId, Lookup] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for an answer; for those who are late only while nobody has answered at all."""
        is_answered = any(path.is_answered for path in self._paths)
        return any(path.is_waiting or (path.has_late and not is_answered) for path in self._paths)

    def begin(self, known: Iterable[PeerId], bootstraps: Sequence[PeerId]) -> None:
        """Say where the paths begin."""
        others = [peer for peer in known if peer not in bootstraps]
        half = min(len(bootstraps), len(self._paths) // 2) if others else len(self._paths)
        self._deal(bootstraps, self._paths[:half])
        self._deal(others, self._paths[half:] or self._paths)

    def take(self) -> tuple[PeerId, ...]:
        """Choose whom to ask now. None are chosen and none are waited for: the lookup is done."""
        taken: list[PeerId] = []
        for path in self._paths:
            chosen = path.take()
            for peer in chosen:
                self._path_of[peer] = path
                for other in self._paths:
                    other.forget(peer)
            taken += chosen
        return tuple(taken)

    def answered(self, peer: PeerId, closer: Sequence[PeerId]) -> None:
        """Note that `peer` answered, and whom it named."""
        path = self._path_of[peer]
        path.answered(peer, ())
        fresh = [named for named in closer[:NAMED_MAX] if named not in self._path_of]
        self._deal(fresh, [path, *(other for other in self._paths if other.is_empty)])

    def late(self, peer: PeerId) -> None:
        """Note that `peer` takes long."""
        self._path_of[peer].late(peer)

    def failed(self, peer: PeerId) -> None:
        """Note that `peer` did not answer, or answered nonsense."""
        self._path_of[peer].failed(peer)

    def found(self) -> tuple[PeerId, ...]:
        """List who answered among the nearest of each path, nearest first."""
        peers = [peer for path in self._paths for peer in path.found()]
        return tuple(sorted(peers, key=lambda peer: position(peer) ^ self._target))

    def _deal(self, peers: Iterable[PeerId], paths: Sequence[Lookup]) -> None:
        nearest_first = sorted(peers, key=lambda peer: position(peer) ^ self._target)
        for number, path in enumerate(paths):
            path.learn(nearest_first[number :: len(paths)])
