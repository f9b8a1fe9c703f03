"""What a node remembers of others, and of itself."""

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore, PeerStoreError, create_signed_peer_record
from multiaddr import Multiaddr

from cocoon_p2p.identity import peer_id_of
from cocoon_p2p.network.libp2p.peers import (
    ADDRESSES_MAX,
    PROTOCOL_MAX_CHARACTERS,
    PROTOCOLS_MAX,
    BoundedPeerStore,
)

KEY_PAIR = create_new_key_pair(bytes([7]) * 32)
OWN = ID.from_pubkey(KEY_PAIR.public_key)
ADDRESS = Multiaddr("/ip4/203.0.113.7/tcp/4001")


def name_peers(store: PeerStore, count: int) -> None:
    for number in range(count):
        store.add_addrs(ID(peer_id_of(number.to_bytes(32, "big"))), [ADDRESS], 3600)


def test_upstream_forgets_its_own_key_when_somebody_names_many_peers() -> None:
    store = PeerStore(max_peers=50)
    store.add_key_pair(OWN, KEY_PAIR)

    name_peers(store, 60)

    with pytest.raises(PeerStoreError):
        store.privkey(OWN)


def test_a_node_keeps_its_own_key_however_many_peers_are_named() -> None:
    store = BoundedPeerStore(KEY_PAIR, peers_max=50)

    name_peers(store, 500)

    assert store.privkey(OWN) == KEY_PAIR.private_key
    assert len(store.peer_ids()) <= 50


def test_who_was_heard_of_longest_ago_is_forgotten_first() -> None:
    store = BoundedPeerStore(KEY_PAIR, peers_max=50)

    name_peers(store, 60)

    assert store.has_peer(ID(peer_id_of((59).to_bytes(32, "big"))))
    assert not store.has_peer(ID(peer_id_of((0).to_bytes(32, "big"))))


def test_who_says_only_what_it_speaks_counts_too() -> None:
    store = BoundedPeerStore(KEY_PAIR, peers_max=50)

    for number in range(500):
        store.add_protocols(ID(peer_id_of(number.to_bytes(32, "big"))), ["/x"])

    assert len(store.peer_ids()) <= 50


def test_who_is_connected_is_not_forgotten_however_many_others_come() -> None:
    store = BoundedPeerStore(KEY_PAIR, peers_max=50)
    worker = ID(peer_id_of(b"w" * 32))
    store.add_protocols(worker, ["/cocoon/exchange/1"])
    store.is_kept = worker.__eq__

    name_peers(store, 500)

    assert store.get_protocols(worker) == ["/cocoon/exchange/1"]
    assert len(store.peer_ids()) <= 50


def test_where_a_peer_says_it_is_stands_until_it_says_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    store, peer = BoundedPeerStore(KEY_PAIR), ID(peer_id_of(b"p" * 32))
    store.add_addrs(peer, [ADDRESS], 7200)
    monkeypatch.setattr("libp2p.peer.peerdata.time.time", lambda: 4e9)

    assert store.addrs(peer) == [ADDRESS]


def test_no_peer_makes_us_remember_more_of_it_than_anybody_needs() -> None:
    store = BoundedPeerStore(KEY_PAIR)
    other = create_new_key_pair(bytes([8]) * 32)
    its_id = ID.from_pubkey(other.public_key)
    many = [Multiaddr(f"/ip4/203.0.113.7/tcp/{port}") for port in range(1, 1000)]

    store.add_addrs(its_id, many[:3], 3600)
    store.add_addrs(its_id, many[3:], 3600)
    store.add_protocols(its_id, ["x" * (PROTOCOL_MAX_CHARACTERS + 1), *(f"/{n}" for n in range(1000))])
    was_taken = store.consume_peer_record(create_signed_peer_record(its_id, many, other.private_key), 3600)

    assert store.addrs(its_id) == many[:ADDRESSES_MAX]
    assert len(store.get_protocols(its_id)) < PROTOCOLS_MAX
    assert not was_taken
