"""Papers: bodies that somebody signs, so that they can be kept and shown to others later.

A paper's class says what kind of signature it bears; the kind and the network id are under
the signature (`identity.signed_bytes`), so a receipt can never pass for a settlement, nor a
demo network's quote for the main one's. What is hashed, kept and shown is always the very
bytes that were signed, never a second spelling of them.

Spec: protocols/README.md (Signatures). Vectors: protocols/vectors/papers.json.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeVar, cast

from cocoon_p2p.errors import LocalProtocolError, RecordRejected
from cocoon_p2p.identity import Identity, NetworkId, PeerId, peer_id_of, verify
from cocoon_p2p.protocols.ids import PAPER_SIZE_MAX_BYTES, RECORD_BODY_MAX_BYTES
from cocoon_p2p.protocols.messages import (
    ChannelOffer,
    ChannelState,
    CloseTerms,
    KeyStatement,
    Meter,
    Presence,
    Quote,
    Receipt,
    Record,
    Settlement,
    Signed,
)
from cocoon_p2p.protocols.schema import decode_paper, encode_message, encode_paper

Paper = (
    KeyStatement
    | Record
    | Quote
    | Meter
    | Receipt
    | Settlement
    | ChannelOffer
    | ChannelState
    | CloseTerms
    | Presence
)

P = TypeVar("P", bound=Paper)
S = TypeVar("S", KeyStatement, Record, ChannelOffer)

SIGNED_AS: Mapping[type[object], str] = {
    KeyStatement: "statement",
    Record: "record",
    Quote: "quote",
    Meter: "meter",
    Receipt: "receipt",
    Settlement: "settlement",
    ChannelOffer: "channel-offer",
    ChannelState: "channel-state",
    CloseTerms: "close-terms",
    Presence: "presence",
}
"The `<what>` under each kind's signature. A closed list: a new kind of paper is a new line here."

PAPERS_REMEMBERED_MAX = 256
PAPER_REMEMBERED_SIZE_MAX_BYTES = 2 * RECORD_BODY_MAX_BYTES
"""What was verified lately, by all its bytes, and need not be verified again, with what was read: some twelve
megabytes at most. A quote with its record and statement fits."""


def sign(identity: Identity, network: NetworkId, paper: Paper) -> Signed:
    """Spell a paper and sign it as what it is.

    Raises:
        LocalProtocolError: A field of ours is outside its bound, the paper as a whole is, or it
            names another network.
    """
    what = SIGNED_AS[type(paper)]
    body = encode_paper(paper)
    if len(body) > PAPER_SIZE_MAX_BYTES:
        raise LocalProtocolError(f"{what}: too long (size={len(body)} max={PAPER_SIZE_MAX_BYTES} bytes)")
    if not _names_network(paper, network):
        raise LocalProtocolError(f"{what}: names another network than it is signed for")
    return Signed(body, identity.sign(what, network, body))


def check(cls: type[P], signed: Signed, *, signer: PeerId, network: NetworkId) -> P:
    """Verify who signed a paper, and as what, and read it.

    Dates, amounts and what the paper refers to are not looked at here.

    Args:
        cls: The kind of paper that is expected.
        signed: The paper as it came.
        signer: Who must have signed it.
        network: The network that it must have been signed for.

    Raises:
        RecordRejected: The signature is not this peer's, over this body, of this kind, on this
            network; or the body names another network.
        MalformedMessage: It is signed, but no paper of this kind.
    """
    return cast(P, _reader(cls, signed)(cls, signed, signer, network))


def check_own(cls: type[S], signed: Signed, *, network: NetworkId) -> S:
    """Verify a paper that names its own signer, and read it.

    Args:
        cls: KeyStatement (signed by `identity_key`), Record (by `peer`) or ChannelOffer (by `payer`).
        signed: The paper as it came.
        network: The network that it must have been signed for.

    Raises:
        RecordRejected, MalformedMessage: As `check` does.
    """
    return cast(S, _reader(cls, signed)(cls, signed, None, network))


def _read_verified(cls: type[Paper], signed: Signed, signer: PeerId | None, network: NetworkId) -> Paper:
    """Verify and read a paper; where no signer is expected, it is the one that the paper names."""
    what = SIGNED_AS[cls]
    if signer is not None:
        verify(signer, what, network, signed.body, signed.signature)
    paper = decode_paper(cls, signed.body)
    if signer is None:
        assert isinstance(paper, KeyStatement | Record | ChannelOffer), "asked of papers that name a signer"
        verify(_own_signer(paper), what, network, signed.body, signed.signature)
    _check_network(what, paper, network)
    return paper


# A worker's record and statement come with each of its quotes, and a quote is looked at twice. That the very
# same bytes bear the very same signature need not be reckoned again: a check of a signature takes longer
# than all else that is done with a paper. What was refused is not remembered, nor anything about time.
_read_remembered = lru_cache(maxsize=PAPERS_REMEMBERED_MAX)(_read_verified)
_COME_AGAIN = (KeyStatement, Record, Quote)


def _reader(cls: type[object], signed: Signed) -> Callable[..., Paper]:
    is_remembered = cls in _COME_AGAIN and len(signed.body) <= PAPER_REMEMBERED_SIZE_MAX_BYTES
    return _read_remembered if is_remembered else _read_verified


def _own_signer(paper: KeyStatement | Record | ChannelOffer) -> PeerId:
    match paper:
        case KeyStatement():
            return peer_id_of(paper.identity_key)
        case Record():
            return PeerId(paper.peer)
        case ChannelOffer():
            return PeerId(paper.payer)


def _check_network(what: str, paper: Paper, network: NetworkId) -> None:
    if not _names_network(paper, network):
        raise RecordRejected(f"{what}: names another network than it was signed for")


def _names_network(paper: Paper, network: NetworkId) -> bool:
    """Say whether a paper names this network, where papers of its kind name one at all."""
    return not isinstance(paper, KeyStatement | Record | ChannelOffer) or paper.network == network


def paper_hash(signed: Signed) -> bytes:
    """Name a paper: SHA-256 of the bytes that were signed, whoever signed them."""
    return hashlib.sha256(signed.body).digest()


def message_hash(message: object) -> bytes:
    """SHA-256 of a message's one spelling (`Quote.ask_hash` is an Ask's)."""
    return hashlib.sha256(encode_message(message)).digest()


def encode_signed(signed: Signed) -> bytes:
    """Spell a signed paper for a DHT value or a journal row."""
    return encode_paper(signed)


def decode_signed(data: bytes) -> Signed:
    """Read a signed paper; the signature is not checked. Raises `MalformedMessage`."""
    return decode_paper(Signed, data)
