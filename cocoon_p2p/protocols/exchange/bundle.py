"""A receipt that stands alone: the papers of one exchange, and the answer as it was sealed.

A client keeps it to show later, to somebody who was not there, what it was charged for. All that
is in it was signed by the proxy or the worker, or hangs by a hash or a seal on what was; so it
needs no signature of its own.

Spec: protocols/bundle.md. Vectors: protocols/vectors/bundle.json. Verified by: `verification`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from cocoon_p2p.errors import LocalProtocolError, MalformedMessage
from cocoon_p2p.protocols.ids import (
    BUNDLE_CHUNKS_MAX,
    BUNDLE_SIZE_MAX_BYTES,
    CHUNK_SIZE_MAX_BYTES,
    EVIDENCE_SIZE_MAX_BYTES,
    FRAME_SIZE_MAX_NEWCOMER_BYTES,
)
from cocoon_p2p.protocols.messages import AKey, ANetwork, APeer, ASignature, Signed, Usage
from cocoon_p2p.protocols.schema import Key, Max, decode_paper, encode_paper

FORMAT = "cocoon-receipt/1"
"What a bundle says that it is. Another text is another format."


@dataclass(frozen=True, slots=True)
class SealedChunk:
    """A `Chunk` as it came, without what all chunks of an exchange have in common."""

    final: Annotated[bool, Key(1)]
    usage: Annotated[Usage, Key(2)]
    sealed: Annotated[bytes, Key(3), Max(CHUNK_SIZE_MAX_BYTES)]
    meter_signature: Annotated[ASignature | None, Key(4)] = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything that a stranger needs to check one bill."""

    format: Annotated[str, Key(1), Max(32)]
    network: Annotated[ANetwork, Key(2)]
    proxy: Annotated[APeer, Key(3)]
    "Who signed quote and settlement."

    quote: Annotated[Signed, Key(4)]
    settlement: Annotated[Signed, Key(5)]
    chunks: Annotated[tuple[SealedChunk, ...], Key(6), Max(BUNDLE_CHUNKS_MAX)]
    "All of them, in order. None where they were too many to be kept, or some were lost on their way."

    ask: Annotated[bytes | None, Key(7), Max(FRAME_SIZE_MAX_NEWCOMER_BYTES)] = None
    "The Ask as it was sent, whose hash the quote names."

    answer_key: Annotated[AKey | None, Key(8)] = None
    "Opens the chunks, and nothing else of the sealing session."

    evidence: Annotated[bytes | None, Key(9), Max(EVIDENCE_SIZE_MAX_BYTES)] = None
    "What the worker's machine showed, whose hash its record names (protocols/evidence.md)."


def encode_bundle(bundle: Bundle) -> bytes:
    """Spell a bundle.

    Raises:
        LocalProtocolError: It is outside its bounds.
    """
    data = encode_paper(bundle)
    if len(data) > BUNDLE_SIZE_MAX_BYTES:
        raise LocalProtocolError(f"bundle: too long (size={len(data)} max={BUNDLE_SIZE_MAX_BYTES} bytes)")
    return data


def decode_bundle(data: bytes) -> Bundle:
    """Read a bundle. Nothing in it is verified.

    Raises:
        MalformedMessage: It is no bundle, or one of another format.
    """
    if len(data) > BUNDLE_SIZE_MAX_BYTES:
        raise MalformedMessage(f"bundle: too long (size={len(data)} max={BUNDLE_SIZE_MAX_BYTES} bytes)")
    bundle = decode_paper(Bundle, data)
    if bundle.format != FORMAT:
        raise MalformedMessage(f"bundle: another format (got={bundle.format!r} expected={FORMAT!r})")
    return bundle


def redact(bundle: Bundle) -> Bundle:
    """Take out what the bill can be checked without: the answer's key, and the question's terms.

    What is left still shows who was paid how much for how many tokens of which model, and when; and
    the cumulative totals of two channels, which stand under the proxy's signature.
    """
    return replace(bundle, ask=None, answer_key=None)


def joined(chunks: Sequence[SealedChunk]) -> bytes:
    """Give what a receipt's answer hash is over."""
    return b"".join(chunk.sealed for chunk in chunks)
