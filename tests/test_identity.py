import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey, VerifyKey

from cocoon_p2p.errors import ConfigurationError, RecordRejected
from cocoon_p2p.identity import (
    Identity,
    PeerId,
    network_id,
    parse_peer_id,
    peer_id_of,
    peer_id_text,
    public_key_of,
    signed_bytes,
    verify,
    verify_with_key,
)

MAIN, DEMO = network_id("mainnet"), network_id("demo")
ALICE, BOB = Identity.from_seed(b"a" * 32), Identity.from_seed(b"b" * 32)
BODY = b"the body"
SIGNATURE = ALICE.sign("record", MAIN, BODY)


@pytest.mark.slow
def test_the_peer_id_is_the_one_that_libp2p_gives_the_key() -> None:
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.id import ID

    theirs = create_new_key_pair(ALICE.seed)

    assert theirs.public_key.to_bytes() == ALICE.public_key
    assert ID.from_pubkey(theirs.public_key).to_bytes() == ALICE.peer_id
    assert str(ID.from_pubkey(theirs.public_key)) == peer_id_text(ALICE.peer_id)


@given(key=st.binary(min_size=32, max_size=32))
def test_a_peer_id_holds_its_key_and_reads_back_from_its_text(key: bytes) -> None:
    peer = peer_id_of(key)

    assert public_key_of(peer) == key
    assert parse_peer_id(peer_id_text(peer)) == peer


@given(text=st.text(max_size=80))
def test_text_that_is_no_peer_id_is_refused(text: str) -> None:
    try:
        peer = parse_peer_id(text)
    except RecordRejected:
        return
    assert len(peer) == 38


def test_a_long_text_is_no_peer_id_and_costs_no_time() -> None:
    for text in (peer_id_text(ALICE.peer_id) + "1" * 100, "z" * 1_000_000):
        with pytest.raises(RecordRejected):
            parse_peer_id(text)


@pytest.mark.parametrize(
    "peer",
    [
        b"",
        ALICE.peer_id[:-1],
        ALICE.peer_id + b"\0",
        b"\x12\x20" + bytes(32),
        b"\x00\x24\x08\x02\x12\x20" + bytes(32),
    ],
    ids=["empty", "short", "long", "hashed", "secp256k1"],
)
def test_only_ed25519_keys_name_peers(peer: bytes) -> None:
    with pytest.raises(RecordRejected, match="not the peer id of an Ed25519 key"):
        public_key_of(PeerId(peer))
    with pytest.raises(RecordRejected):
        parse_peer_id(base58.b58encode(peer).decode())


def test_a_signature_is_plain_ed25519_over_what_the_protocol_says() -> None:
    VerifyKey(ALICE.public_key).verify(b"cocoon/record/1\0" + MAIN + BODY, SIGNATURE)

    assert SigningKey(ALICE.seed).sign(signed_bytes("record", MAIN, BODY)).signature == SIGNATURE


def test_a_signature_holds_for_its_peer_kind_network_and_body_alone() -> None:
    verify(ALICE.peer_id, "record", MAIN, BODY, SIGNATURE)

    for peer, what, network, body, signature in (
        (BOB.peer_id, "record", MAIN, BODY, SIGNATURE),
        (ALICE.peer_id, "receipt", MAIN, BODY, SIGNATURE),
        (ALICE.peer_id, "record", DEMO, BODY, SIGNATURE),
        (ALICE.peer_id, "record", MAIN, BODY + b"!", SIGNATURE),
        (ALICE.peer_id, "record", MAIN, BODY, SIGNATURE[:-1] + bytes([SIGNATURE[-1] ^ 1])),
        (ALICE.peer_id, "record", MAIN, BODY, bytes(64)),
    ):
        with pytest.raises(RecordRejected, match="the signature does not fit"):
            verify(peer, what, network, body, signature)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(RecordRejected, match=rf"a signature has 64 bytes \(got={size}\)"):
        verify(ALICE.peer_id, "record", MAIN, BODY, bytes(size))


@pytest.mark.slow
@given(key=st.binary(min_size=32, max_size=32), signature=st.binary(min_size=64, max_size=64))
def test_random_keys_and_signatures_are_refused(key: bytes, signature: bytes) -> None:
    with pytest.raises(RecordRejected):
        verify_with_key(key, "record", MAIN, BODY, signature)


def test_a_key_of_small_order_signs_nothing() -> None:
    """With the neutral element as key, R = identity and S = 0 fit every message where nobody looks."""
    neutral = b"\x01" + bytes(31)

    with pytest.raises(RecordRejected):
        verify_with_key(neutral, "record", MAIN, BODY, neutral + bytes(32))


def test_the_seed_never_shows() -> None:
    assert ALICE.seed.hex() not in repr(ALICE)
    assert str(ALICE.seed) not in repr(ALICE)
    assert str(ALICE.secret_key) not in repr(ALICE)


@pytest.mark.parametrize("name", ["", "Main", "main net", "-main", "a" * 33, "mäin", "main/net", "main\n"])
def test_what_is_no_network_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not a network name"):
        network_id(name)


def test_networks_of_other_names_have_other_ids() -> None:
    assert len({network_id(name) for name in ("mainnet", "testnet", "demo", "demo-1", "a" * 32)}) == 5
