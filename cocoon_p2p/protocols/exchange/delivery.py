"""What a client has been given so far: metered, counted, hashed.

The seals are open by now, so the worker said all this; whether it may say it is judged here.

Spec: protocols/exchange.md (Who checks what: PromptMetered, Chunk).
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Protocol

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.protocols.contents import AnswerContent
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.messages import Chunk, Meter, Signed, Usage
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.protocols.schema import encode_paper

NOTHING = Usage(prompt=0, cached=0, completion=0, reasoning=0)

TOKEN_TEXT_MAX_BYTES = 512
"The longest tokens of today's vocabularies have 128 bytes (spaces, in code)."


class _Digest(Protocol):
    def copy(self) -> "_Digest": ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One answer as far as it came."""

    metered: Usage | None = None
    "What PromptMetered said."

    usage: Usage = NOTHING
    "The last Chunk's; PromptMetered's before the first."

    chunks: int = 0
    text_bytes: int = 0
    is_complete: bool = False
    "Whether the final chunk has come."

    meter: Signed | None = None
    "The newest Meter that the worker signed."

    digest: _Digest = field(default_factory=hashlib.sha256, repr=False, compare=False)
    "Of the sealed chunks so far; replaced, never updated."

    @property
    def answer_hash(self) -> bytes:
        """SHA-256 over the sealed chunks, in order, as a receipt has it."""
        return self.digest.digest()


def meter_prompt(delivery: Delivery, usage: Usage, *, prompt_tokens_max: int) -> Delivery:
    """Take what PromptMetered says.

    Raises:
        RemoteProtocolError: It counts more tokens than the prompt can have, or tokens of an
            answer that cannot have begun.
    """
    if usage.completion or usage.reasoning:
        raise RemoteProtocolError("prompt metered: counts tokens of an answer")
    if (tokens := usage.prompt + usage.cached) > prompt_tokens_max:
        raise RemoteProtocolError(
            f"prompt metered: more tokens than it can have (limit={prompt_tokens_max} got={tokens})"
        )
    return replace(delivery, metered=usage, usage=usage)


def take_chunk(
    delivery: Delivery,
    chunk: Chunk,
    content: AnswerContent,
    *,
    terms: Terms,
    completion_tokens_max: int,
    network: NetworkId,
) -> Delivery:
    """Add the next chunk.

    Args:
        delivery: What came before; its prompt has been metered.
        chunk: The chunk as it came.
        content: What was under its seal.
        terms: What was agreed on.
        completion_tokens_max: The Ask's.
        network: The network that a Meter must be signed for.

    Raises:
        RemoteProtocolError: It is not the next chunk, its counts cannot be, or the Meter's
            signature is not the worker's.
    """
    text_bytes = delivery.text_bytes + len(content.text.encode())
    _judge(delivery, chunk, content, completion_tokens_max, text_bytes)
    digest = delivery.digest.copy()
    digest.update(chunk.sealed)
    return replace(
        delivery,
        usage=chunk.usage,
        chunks=delivery.chunks + 1,
        text_bytes=text_bytes,
        is_complete=chunk.final,
        meter=_meter(chunk, terms, network) or delivery.meter,
        digest=digest,
    )


def _judge(delivery: Delivery, chunk: Chunk, content: AnswerContent, limit: int, text_bytes: int) -> None:
    before, usage = delivery.usage, chunk.usage
    if chunk.number != delivery.chunks:
        raise RemoteProtocolError(f"chunk: out of order (expected={delivery.chunks} got={chunk.number})")
    if (usage.prompt, usage.cached) != (before.prompt, before.cached):
        raise RemoteProtocolError("chunk: another prompt than was metered")
    if usage.completion < before.completion or usage.reasoning < before.reasoning:
        raise RemoteProtocolError("chunk: its usage falls")
    if (tokens := usage.completion + usage.reasoning) > limit:
        raise RemoteProtocolError(f"chunk: more tokens than were asked for (limit={limit} got={tokens})")
    if chunk.final is not (content.finish is not None):
        raise RemoteProtocolError("chunk: its final flag and its finish reason disagree")
    if text_bytes > TOKEN_TEXT_MAX_BYTES * limit:
        raise RemoteProtocolError("chunk: more text than the tokens that were asked for can hold")


def _meter(chunk: Chunk, terms: Terms, network: NetworkId) -> Signed | None:
    """Read the Meter that a chunk's signature stands under, if it has one."""
    if chunk.meter_signature is None:
        return None
    body = encode_paper(Meter(chunk.exchange, terms.quote_hash, chunk.usage))
    signed = Signed(body, chunk.meter_signature)
    check(Meter, signed, signer=terms.worker, network=network)
    return signed
