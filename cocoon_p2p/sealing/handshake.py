"""How a sealing session is made: one Hello, one Accept, past a proxy that may try anything.

    client                                            worker
      start(statement) -- Hello ------------------------> accept(...)
      finish(accept, signature) <------ Accept, signature -- Session
      Session

The client knows the worker's signed key statement. Its Hello names that statement by hash;
the worker signs over Hello and Accept with its identity key. Keys come from two exchanges:
client ephemeral with worker ephemeral (forward secrecy: drop the handshake and the past
cannot be read), and client ephemeral with the worker's static sealing key (whose place
inside the attested machine the statement proves).

Spec: protocols/sealing.md (Handshake). Vectors: protocols/vectors/sealing.json.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Annotated

from nacl import bindings
from nacl.exceptions import CryptoError

from cocoon_p2p.errors import MalformedMessage, RecordRejected, SealBroken
from cocoon_p2p.identity import Identity, NetworkId, verify_with_key
from cocoon_p2p.protocols.ids import CLOCK_SKEW_SECONDS, SEALING_SESSION_SECONDS, SESSION_ID_SIZE_BYTES
from cocoon_p2p.protocols.messages import AHash, AKey, KeyStatement
from cocoon_p2p.protocols.schema import Key, Size, decode_paper, encode_paper
from cocoon_p2p.sealing.session import Session, derive

_SIGNED_AS = "accept"


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What `Hello.hello` spells."""

    nonce: Annotated[bytes, Key(1), Size(32)]
    "Random: a worker's Accept answers this Hello and no other."

    ephemeral_key: Annotated[AKey, Key(2)]
    "X25519, drawn for this handshake."

    statement_hash: Annotated[AHash, Key(3)]
    "Of the worker's key statement that the client verified."


@dataclass(frozen=True, slots=True)
class WorkerAccept:
    """What `Accept.accept` spells."""

    ephemeral_key: Annotated[AKey, Key(1)]
    "X25519, drawn for this handshake."

    session: Annotated[bytes, Key(2), Size(SESSION_ID_SIZE_BYTES)]
    expires: Annotated[int, Key(3)]
    "Seconds since the Unix epoch, by the worker's clock."


@dataclass(frozen=True, slots=True)
class Accepted:
    """The worker's side of a finished handshake: what to send, and the session that stands."""

    accept: bytes
    signature: bytes
    session: Session


@dataclass(frozen=True, slots=True)
class Handshake:
    """The client's side of a handshake under way. Drop it once it is finished."""

    hello: bytes
    "For the Hello message."

    _statement: KeyStatement
    _network: NetworkId
    _ephemeral_secret: bytes = field(repr=False)

    def finish(self, accept: bytes, signature: bytes, *, now: float) -> Session:
        """Judge the worker's answer and derive the session.

        Args:
            accept: From the Accept message.
            signature: From the Accept message.
            now: Seconds since the Unix epoch.

        Raises:
            SealBroken: The worker that made the statement did not sign this answer to this very
                Hello on this network, or its key or dates are not allowed.
        """
        transcript = _transcript(self.hello, accept)
        try:
            verify_with_key(self._statement.identity_key, _SIGNED_AS, self._network, transcript, signature)
            body = decode_paper(WorkerAccept, accept)
        except (RecordRejected, MalformedMessage) as exc:
            raise SealBroken(f"accept: {exc}") from exc
        if not now < body.expires <= now + SEALING_SESSION_SECONDS + CLOCK_SKEW_SECONDS:
            raise SealBroken(f"accept: dates out of range (expires in {body.expires - now:.0f} seconds)")
        shared = _exchange(self._ephemeral_secret, body.ephemeral_key) + _exchange(
            self._ephemeral_secret, self._statement.sealing_key
        )
        # The hardware vouches for the sealing key until the statement expires, and no longer.
        expires = min(body.expires, self._statement.expires)
        return _session(body.session, expires, shared, transcript, self._network)


def start(
    statement: KeyStatement,
    *,
    network: NetworkId,
    ephemeral_secret: bytes,
    nonce: bytes,
    statement_hash: bytes,
) -> Handshake:
    """Begin a session with the worker that made `statement`.

    Args:
        statement: The worker's, verified (`records.check_pair`), and its evidence appraised.
        network: The network that both are on.
        ephemeral_secret: 32 bytes drawn for this handshake alone.
        nonce: 32 bytes drawn for this handshake alone.
        statement_hash: `papers.paper_hash` of the signed statement: over what was signed, which may
            hold more than this version reads.
    """
    ephemeral_key = bindings.crypto_scalarmult_base(ephemeral_secret)
    hello = encode_paper(ClientHello(nonce, ephemeral_key, statement_hash))
    return Handshake(hello, statement, network, ephemeral_secret)


def accept(
    hello: bytes,
    *,
    identity: Identity,
    network: NetworkId,
    sealing_secret: bytes,
    statement_hash: bytes,
    ephemeral_secret: bytes,
    session_id: bytes,
    now: float,
) -> Accepted:
    """Answer a client's Hello.

    Args:
        hello: From the Hello message; a proxy brought it.
        identity: The worker's, as in its statement.
        network: The network that both are on.
        sealing_secret: The secret of the statement's sealing key.
        statement_hash: `papers.paper_hash` of the worker's own signed statement.
        ephemeral_secret: 32 bytes drawn for this handshake alone.
        session_id: 16 bytes drawn for this session alone.
        now: Seconds since the Unix epoch.

    Raises:
        SealBroken: It is no Hello, it is meant for another statement, or its key is not allowed.
    """
    try:
        body = decode_paper(ClientHello, hello)
    except MalformedMessage as exc:
        raise SealBroken(f"hello: {exc}") from exc
    if body.statement_hash != statement_hash:
        raise SealBroken("hello: for another key statement")
    expires = int(now) + SEALING_SESSION_SECONDS
    ephemeral_key = bindings.crypto_scalarmult_base(ephemeral_secret)
    answer = encode_paper(WorkerAccept(ephemeral_key, session_id, expires))
    shared = _exchange(ephemeral_secret, body.ephemeral_key) + _exchange(sealing_secret, body.ephemeral_key)
    transcript = _transcript(hello, answer)
    session = _session(session_id, expires, shared, transcript, network)
    return Accepted(answer, identity.sign(_SIGNED_AS, network, transcript), session)


def _exchange(secret: bytes, public: bytes) -> bytes:
    """X25519. A public key of small order, with which every secret is all zeros, is refused."""
    try:
        return bindings.crypto_scalarmult(secret, public)
    except CryptoError:
        raise SealBroken("handshake: a key of small order") from None


def _transcript(hello: bytes, accept: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(hello).digest() + hashlib.sha256(accept).digest()).digest()


def _session(
    session_id: bytes, expires: float, shared: bytes, transcript: bytes, network: NetworkId
) -> Session:
    # The transcript is the extractor's salt: no two handshakes share a root, whatever their keys.
    return Session(
        session_id, expires=expires, root=derive(transcript, "root", network, shared), network=network
    )
