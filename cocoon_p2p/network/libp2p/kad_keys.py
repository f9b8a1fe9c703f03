"""Under which keys the DHT of one network holds what.

    /cocoon/<network>/kad/1             the protocol that its servers speak
    /cocoon/<network>/<peer id>         a proxy's record
    sha256(/cocoon/<network>/proxies/7) who announced itself in shard 7, as a multihash

The network's name is in the protocol id too, so nodes of a demo network never enter the
routing tables of the main one, and no lookup there costs anything here.

Spec: protocols/records.md; multiformats/multihash.
"""

import hashlib
from dataclasses import dataclass

from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import PeerId, parse_peer_id
from cocoon_p2p.records import dht_key, shard_key_of, shard_keys

_SHA2_256 = b"\x12\x20"


@dataclass(frozen=True, slots=True)
class KadKeys:
    """The keys of one network."""

    network_name: str

    @property
    def protocol(self) -> str:
        """The libp2p protocol id of this network's DHT."""
        return f"/cocoon/{self.network_name}/kad/1"

    @property
    def shards(self) -> tuple[bytes, ...]:
        """Every key that proxies announce themselves under."""
        return tuple(map(_multihash, shard_keys(self.network_name)))

    def shard_of(self, peer: PeerId) -> bytes:
        """Name the one key that this proxy announces itself under."""
        return _multihash(shard_key_of(self.network_name, peer))

    def record_of(self, peer: PeerId) -> bytes:
        """Name the key of this proxy's record."""
        return dht_key(self.network_name, peer).encode()

    def peer_of(self, key: bytes) -> PeerId:
        """Say whose record belongs under a key.

        Raises:
            RecordRejected: It is no key of a record on this network, or not its one spelling.
        """
        peer = parse_peer_id(key.rpartition(b"/")[2].decode(errors="replace"))
        if self.record_of(peer) != key:
            raise RecordRejected(f"not a record's key on this network: {key[:96]!r}")
        return peer


def _multihash(key: str) -> bytes:
    return _SHA2_256 + hashlib.sha256(key.encode()).digest()
