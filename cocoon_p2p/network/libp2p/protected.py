"""Peers whose connections are never let go to make room for others, and for what reason. Pure.

The word is go-libp2p's (`connmgr.Protect`). A node protects whom it has a reason to keep: a proxy those who
paid it and its workers, a client and a worker their proxies. Each reason has a bound of its own, so that
who pays little for many keys pushes out others that pay, and never a worker.
"""

from collections import OrderedDict

from cocoon_p2p.identity import PeerId


class Protected:
    """The peers of one node.

    Args:
        per_tag_max: How many for one reason; the one confirmed longest ago goes for one more.
    """

    def __init__(self, per_tag_max: int) -> None:
        self._per_tag_max = per_tag_max
        self._by_tag: dict[str, OrderedDict[PeerId, None]] = {}

    def __contains__(self, peer: PeerId) -> bool:
        return any(peer in peers for peers in self._by_tag.values())

    def add(self, peer: PeerId, tag: str) -> None:
        """Protect a peer for this reason, or confirm it."""
        peers = self._by_tag.setdefault(tag, OrderedDict())
        peers[peer] = None
        peers.move_to_end(peer)
        if len(peers) > self._per_tag_max:
            peers.popitem(last=False)

    def remove(self, peer: PeerId, tag: str) -> None:
        """Let this reason no longer count; others still do."""
        self._by_tag.get(tag, OrderedDict[PeerId, None]()).pop(peer, None)
