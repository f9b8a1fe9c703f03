"""Who a node is: one Ed25519 key, the libp2p peer id that is its name, and what it signs.

Every signature covers `"cocoon/<what>/1\\0" || network id || body`: a paper of one kind
can never pass for another's, and a demo network's papers are worthless on the main one.

Spec: protocols/README.md (Signatures); libp2p peer ids: specs/peer-ids/peer-ids.md.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import NewType

import base58
from nacl import bindings
from nacl.exceptions import BadSignatureError

from cocoon_p2p.errors import ConfigurationError, RecordRejected

PeerId = NewType("PeerId", bytes)
"A libp2p peer id as bytes: the identity multihash of an Ed25519 public key, 38 bytes."

NetworkId = NewType("NetworkId", bytes)
"32 bytes that keep networks apart: the hash of the network's name."

# An identity multihash (0x00, 36 bytes) of the protobuf {type: Ed25519, data: 32 bytes}.
_PEER_ID_PREFIX = bytes.fromhex("002408011220")
PEER_ID_SIZE_BYTES = len(_PEER_ID_PREFIX) + 32
SIGNATURE_SIZE_BYTES = 64

_NETWORK_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def network_id(name: str) -> NetworkId:
    """Derive a network's id from its name (1 to 32 of a-z, 0-9 and dash).

    Raises:
        ConfigurationError: The name has other characters or another length.
    """
    if not _NETWORK_NAME.fullmatch(name):
        raise ConfigurationError(
            f"not a network name: {name!r}", hint="use 1 to 32 of a-z, 0-9 and dash, such as `mainnet`"
        )
    return NetworkId(hashlib.sha256(b"cocoon/network/1\0" + name.encode()).digest())


def peer_id_of(public_key: bytes) -> PeerId:
    """Name the peer that holds this 32-byte Ed25519 public key."""
    assert len(public_key) == 32
    return PeerId(_PEER_ID_PREFIX + public_key)


def public_key_of(peer: PeerId) -> bytes:
    """Take the 32-byte Ed25519 public key out of a peer id.

    Raises:
        RecordRejected: It is not the peer id of an Ed25519 key.
    """
    if len(peer) != PEER_ID_SIZE_BYTES or not peer.startswith(_PEER_ID_PREFIX):
        raise RecordRejected(f"not the peer id of an Ed25519 key (peer={peer[:48].hex()})")
    return peer[len(_PEER_ID_PREFIX) :]


def peer_id_text(peer: PeerId) -> str:
    """Spell a peer id the way libp2p prints it: `12D3KooW...`."""
    return base58.b58encode(peer).decode()


def parse_peer_id(text: str) -> PeerId:
    """Read a peer id that a person or a config file spelled.

    Raises:
        RecordRejected: It is not base58, or not the peer id of an Ed25519 key.
    """
    try:
        # 52 characters spell a peer id; decoding takes time with the square of the length.
        peer = PeerId(base58.b58decode(text[:64]))
    except ValueError:
        raise RecordRejected(f"not a peer id: {text[:64]!r}") from None
    public_key_of(peer)
    return peer


def signed_bytes(what: str, network: NetworkId, body: bytes) -> bytes:
    """Build the bytes that a signature of this kind covers."""
    return b"cocoon/" + what.encode() + b"/1\0" + network + body


def verify(peer: PeerId, what: str, network: NetworkId, body: bytes, signature: bytes) -> None:
    """Check a peer's signature over `body`.

    Raises:
        RecordRejected: The signature is not this peer's, over this body, of this kind, on this network.
    """
    verify_with_key(public_key_of(peer), what, network, body, signature)


def verify_with_key(public_key: bytes, what: str, network: NetworkId, body: bytes, signature: bytes) -> None:
    """Check a signature by a bare 32-byte Ed25519 key (a channel key, say). Raises as `verify`."""
    if len(signature) != SIGNATURE_SIZE_BYTES:
        raise RecordRejected(f"{what}: a signature has 64 bytes (got={len(signature)})")
    try:
        bindings.crypto_sign_open(signature + signed_bytes(what, network, body), public_key)
    except BadSignatureError:
        raise RecordRejected(f"{what}: the signature does not fit the body and key") from None


@dataclass(frozen=True, slots=True)
class Identity:
    """An Ed25519 key pair. The seed never shows in `repr`."""

    seed: bytes = field(repr=False)
    "The 32-byte private seed."

    public_key: bytes
    secret_key: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> "Identity":
        """Build the pair from 32 bytes that the caller drew at random, or read from its key file."""
        public_key, secret_key = bindings.crypto_sign_seed_keypair(seed)
        return cls(seed, public_key, secret_key)

    @property
    def peer_id(self) -> PeerId:
        return peer_id_of(self.public_key)

    def sign(self, what: str, network: NetworkId, body: bytes) -> bytes:
        """Sign `body` as a paper of kind `what` on `network`; 64 bytes."""
        return bindings.crypto_sign(signed_bytes(what, network, body), self.secret_key)[:SIGNATURE_SIZE_BYTES]
