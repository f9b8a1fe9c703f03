"""The server's side of ADNL over TCP, without the TCP: bytes in, payloads out, and the other way.

The client's first 256 bytes are the handshake: whose server it wants, a key of its own, and,
sealed to the two, the keys for both directions. From then on each direction is one AES-CTR
stream of packets: a length, a nonce, the payload, a checksum of both. The server's first
packet is empty and tells that it has understood.

    handshake = key id [32] + client's key [32] + sha256 of parameters [32] + parameters [160, sealed]
    packet    = length [4, little-endian] + nonce [32] + payload + sha256 [32]

Spec: https://docs.ton.org, ADNL TCP; adnl/adnl-ext-connection.cpp.
"""

from hashlib import sha256

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from nacl import bindings
from nacl.exceptions import CryptoError

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import Identity

HANDSHAKE_BYTES = 256

PACKET_MAX_BYTES = 1 << 17
"The longest packet that is taken in: twice the longest message that a network takes from outside."

_PUBLIC_KEY_TAG = bytes.fromhex("c6b41348")
_LENGTH_BYTES = 4
_NONCE_BYTES = 32
_CHECKSUM_BYTES = 32
_FRAME_BYTES = _NONCE_BYTES + _CHECKSUM_BYTES


def key_id(public_key: bytes) -> bytes:
    """Compute ADNL's short name for an Ed25519 key (`pub.ed25519`)."""
    return sha256(_PUBLIC_KEY_TAG + public_key).digest()


class AdnlConnection:
    """One client's connection: first the handshake, then packets both ways."""

    def __init__(self, key: Identity) -> None:
        """Begin. `key` is the server's own, which clients know from its configuration."""
        self._key = key
        self._buffer = bytearray()
        self._incoming: CipherContext | None = None
        self._outgoing: CipherContext | None = None
        self._expected: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done. Only then may anything be sent."""
        return self._outgoing is not None

    def receive(self, data: bytes) -> list[bytes]:
        """Take in what came, and give the payloads of all packets that are complete by now.

        Raises:
            MalformedMessage: The handshake is for another server or does not open, or a packet has an
                impossible length or a wrong checksum. Nothing after it can be read.
        """
        self._buffer += data
        if self._incoming is None:
            if len(self._buffer) < HANDSHAKE_BYTES:
                return []
            self._shake_hands(self._taken(HANDSHAKE_BYTES))
        payloads: list[bytes] = []
        while (payload := self._next_payload()) is not None:
            payloads.append(payload)
        return payloads

    def send(self, payload: bytes, nonce: bytes) -> bytes:
        """Pack a payload. The nonce is 32 bytes that the caller drew at random."""
        assert self._outgoing is not None
        assert len(nonce) == _NONCE_BYTES
        body = nonce + payload
        length = (len(body) + _CHECKSUM_BYTES).to_bytes(_LENGTH_BYTES, "little")
        return self._outgoing.update(length + body + sha256(body).digest())

    def _shake_hands(self, handshake: bytes) -> None:
        wanted, client, checksum = handshake[:32], handshake[32:64], handshake[64:96]
        if wanted != key_id(self._key.public_key):
            raise MalformedMessage("a handshake for another server")
        shared = _shared_secret(self._key, client)
        seal = _stream(shared[:16] + checksum[16:], checksum[:4] + shared[20:])
        parameters = seal.update(handshake[96:])
        if sha256(parameters).digest() != checksum:
            raise MalformedMessage("a handshake that does not open")
        # The client spells both from its own side: what it reads comes first.
        self._outgoing = _stream(parameters[:32], parameters[64:80])
        self._incoming = _stream(parameters[32:64], parameters[80:96])

    def _next_payload(self) -> bytes | None:
        """Take the next whole packet off the buffer, if there is one."""
        assert self._incoming is not None
        if self._expected is None:
            if len(self._buffer) < _LENGTH_BYTES:
                return None
            length = int.from_bytes(self._incoming.update(self._taken(_LENGTH_BYTES)), "little")
            if not _FRAME_BYTES <= length <= PACKET_MAX_BYTES:
                raise MalformedMessage(f"a packet of an impossible length (length={length} bytes)")
            self._expected = length
        if len(self._buffer) < self._expected:
            return None
        packet = self._incoming.update(self._taken(self._expected))
        self._expected = None
        if sha256(packet[:-_CHECKSUM_BYTES]).digest() != packet[-_CHECKSUM_BYTES:]:
            raise MalformedMessage("a packet with a wrong checksum")
        return packet[_NONCE_BYTES:-_CHECKSUM_BYTES]

    def _taken(self, size: int) -> bytes:
        part = bytes(self._buffer[:size])
        del self._buffer[:size]
        return part


def _shared_secret(key: Identity, client: bytes) -> bytes:
    """Agree on a secret by X25519, both keys turned from Ed25519's curve."""
    own = bindings.crypto_sign_ed25519_sk_to_curve25519(key.secret_key)
    try:
        theirs = bindings.crypto_sign_ed25519_pk_to_curve25519(client)
        return bindings.crypto_scalarmult(own, theirs)
    except (CryptoError, RuntimeError) as exc:
        raise MalformedMessage("a handshake with a key that is none") from exc


def _stream(key: bytes, start: bytes) -> CipherContext:
    return Cipher(AES256(key), CTR(start)).encryptor()
