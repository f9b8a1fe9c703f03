"""What is known of other nodes: libp2p's peer store, within bounds, and without forgetting ourselves.

Upstream drops entries without addresses first when it knows more than a thousand peers. Our
own entry, which holds our key, has none: whoever names a thousand peers to a node makes it
forget its key, and identify and the DHT fail from then on.
"""

from libp2p.crypto.keys import KeyPair
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore

PEERS_MAX = 1000
"Some 2 KB each. What the routing table needs is in the table; the rest can be asked again."


class BoundedPeerStore(PeerStore):
    """A peer store that always knows its owner and forgets who was heard of longest ago."""

    def __init__(self, key_pair: KeyPair, *, peers_max: int = PEERS_MAX) -> None:
        super().__init__(max_peers=peers_max)
        self._own_id = ID.from_pubkey(key_pair.public_key)
        self.add_key_pair(self._own_id, key_pair)

    def _enforce_peer_limit(self) -> None:
        if len(self.peer_data_map) <= self.max_peers:
            return
        # A tenth at once, so that a stream of new names does not cost a pass for each.
        eldest = [peer for peer in self.peer_data_map if peer != self._own_id]
        for peer in eldest[: len(eldest) - self.max_peers * 9 // 10]:
            self.clear_peerdata(peer)
