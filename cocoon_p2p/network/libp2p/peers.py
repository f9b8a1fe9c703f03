"""What is known of other nodes: libp2p's peer store, within bounds, and without forgetting ourselves.

Upstream takes a thousand addresses of each peer and a megabyte of protocols. And it drops entries
without addresses first when it knows more than a thousand peers. Our own entry, which holds our
key, has none: whoever names a thousand peers to a node makes it forget its key, and identify and
the DHT fail from then on. Nor does it know who is connected: after a thousand visitors it had forgotten
what a worker speaks that had been there all the time. And its two hours of an address count from when
the peer was identified, which is not repeated while the connection stands.
"""

from collections.abc import Callable, Sequence
from typing import Any

from libp2p.crypto.keys import KeyPair
from libp2p.peer.envelope import Envelope
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore

PEERS_MAX = 2048
"""Some 2 KB each; more than can be connected, who are not forgotten. What the routing table needs is in the
table; the rest can be asked again."""

ADDRESSES_MAX = 16
PROTOCOLS_MAX = 128
PROTOCOL_MAX_CHARACTERS = 128
"Of one peer. What it claims beyond that is not taken note of."


class BoundedPeerStore(PeerStore):
    """A peer store that always knows its owner and forgets who was heard of longest ago."""

    def __init__(self, key_pair: KeyPair, *, peers_max: int = PEERS_MAX) -> None:
        super().__init__(max_peers=peers_max)
        self._own_id = ID.from_pubkey(key_pair.public_key)
        self.is_kept: Callable[[ID], bool] = _nobody
        "Says whose data is not forgotten: who is connected. Fewer than may be known."

        self.add_key_pair(self._own_id, key_pair)

    # Any: the multiaddr library ships no types.
    def add_addrs(self, peer_id: ID, addrs: Sequence[Any], ttl: int = 0) -> None:
        """Take note of where a peer claims to be, until it claims something else, whatever `ttl` says."""
        known = self.peer_data_map[peer_id].get_addrs() if peer_id in self.peer_data_map else []
        super().add_addrs(peer_id, addrs[: max(0, ADDRESSES_MAX - len(known))], 0)

    def add_protocols(self, peer_id: ID, protocols: Sequence[str]) -> None:
        """Take note of what a peer claims to speak."""
        short = [
            protocol for protocol in protocols[:PROTOCOLS_MAX] if len(protocol) <= PROTOCOL_MAX_CHARACTERS
        ]
        super().add_protocols(peer_id, short)
        self._enforce_peer_limit()

    def consume_peer_record(self, envelope: Envelope, ttl: int) -> bool:
        """Take a peer's signed record of its addresses, unless it is longer than any honest one."""
        return len(envelope.record().addrs) <= ADDRESSES_MAX and super().consume_peer_record(envelope, ttl)

    def _enforce_peer_limit(self) -> None:
        if len(self.peer_data_map) <= self.max_peers:
            return
        # A tenth at once, so that a stream of new names does not cost a pass for each.
        eldest = [peer for peer in self.peer_data_map if peer != self._own_id and not self.is_kept(peer)]
        for peer in eldest[: len(self.peer_data_map) - self.max_peers * 9 // 10]:
            self.clear_peerdata(peer)


def _nobody(_: ID) -> bool:
    return False
