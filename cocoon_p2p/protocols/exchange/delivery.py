"""What a client has been given so far: metered, counted, hashed.

The seals are open by now, so the worker said all this; whether it may say it is judged here.

Spec: protocols/exchange.md (Who checks what: PromptMetered, Chunk).
"""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from cocoon_p2p.errors import Miscounted, RemoteProtocolError
from cocoon_p2p.frozen import replace
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.protocols.contents import AnswerContent
from cocoon_p2p.protocols.exchange.carried import Carried, Wanted, carry
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.messages import Chunk, Meter, Signed, Usage
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.protocols.schema import encode_paper

NOTHING = Usage(prompt=0, cached=0, completion=0, reasoning=0)
NOTHING_CARRIED = Carried()

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
    carried: Carried = NOTHING_CARRIED
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


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """How many tokens a prompt has, as far as the client knows by itself."""

    least: int
    most: int
    "The same, where the client has the tokenizer."


def meter_prompt(delivery: Delivery, usage: Usage, known: PromptTokens) -> Delivery:
    """Take what PromptMetered says.

    Raises:
        Miscounted: It counts another number of tokens than the prompt can have, or tokens of an
            answer that cannot have begun. It is not sealed: the proxy may have altered it.
    """
    if usage.completion or usage.reasoning:
        raise Miscounted("prompt metered: counts tokens of an answer", is_by_worker=False)
    tokens = usage.prompt + usage.cached
    if tokens > known.most:
        raise Miscounted(
            f"prompt metered: more tokens than it can have (limit={known.most} got={tokens})",
            is_by_worker=False,
        )
    if tokens < known.least:
        raise Miscounted(
            f"prompt metered: fewer tokens than it has (counted={known.least} got={tokens})",
            is_by_worker=False,
        )
    return replace(delivery, metered=usage, usage=usage)


def take_chunk(
    delivery: Delivery,
    chunk: Chunk,
    content: AnswerContent,
    *,
    terms: Terms,
    completion_tokens_max: int,
    wanted: Wanted,
    network: NetworkId,
) -> Delivery:
    """Add the next chunk.

    Args:
        delivery: What came before; its prompt has been metered.
        chunk: The chunk as it came.
        content: What was under its seal.
        terms: What was agreed on.
        completion_tokens_max: The Ask's.
        wanted: What was asked for beyond text.
        network: The network that a Meter must be signed for.

    Raises:
        Miscounted: Its counts cannot be, or it carries what was not asked for. If it was signed for
            them, the paper is in the error.
        RemoteProtocolError: It is not the next chunk, or the Meter's signature is not the worker's.
    """
    text_bytes = delivery.text_bytes + len(content.text.encode())
    text_bytes += sum(len(call.arguments.encode()) for call in content.calls)
    meter = _meter(chunk, terms, network)
    papers = () if meter is None else (meter,)
    _judge_counts(delivery, chunk.usage, completion_tokens_max, papers)
    carried = carry(delivery.carried, content, wanted)
    _judge(delivery, chunk, content, completion_tokens_max, text_bytes)
    digest = delivery.digest.copy()
    digest.update(chunk.sealed)
    return replace(
        delivery,
        usage=chunk.usage,
        chunks=delivery.chunks + 1,
        text_bytes=text_bytes,
        carried=carried,
        is_complete=chunk.final,
        meter=meter or delivery.meter,
        digest=digest,
    )


def _judge(delivery: Delivery, chunk: Chunk, content: AnswerContent, limit: int, text_bytes: int) -> None:
    if chunk.number != delivery.chunks:
        raise RemoteProtocolError(f"chunk: out of order (expected={delivery.chunks} got={chunk.number})")
    if chunk.final is not (content.finish is not None):
        raise RemoteProtocolError("chunk: its final flag and its finish reason disagree")
    if text_bytes > TOKEN_TEXT_MAX_BYTES * limit:
        raise RemoteProtocolError("chunk: more text than the tokens that were asked for can hold")


def _judge_counts(delivery: Delivery, usage: Usage, limit: int, papers: tuple[Signed, ...]) -> None:
    before = delivery.usage
    if (usage.prompt, usage.cached) != (before.prompt, before.cached):
        # Two chunks are sealed by the worker; before the first it is a message that anybody can alter.
        is_by_worker = delivery.chunks > 0
        raise Miscounted("chunk: another prompt than was metered", is_by_worker=is_by_worker, papers=papers)
    if usage.completion < before.completion or usage.reasoning < before.reasoning:
        raise Miscounted("chunk: its usage falls", is_by_worker=True, papers=papers)
    if (tokens := usage.completion + usage.reasoning) > limit:
        raise Miscounted(
            f"chunk: more tokens than were asked for (limit={limit} got={tokens})",
            is_by_worker=True,
            papers=papers,
        )


def _meter(chunk: Chunk, terms: Terms, network: NetworkId) -> Signed | None:
    """Read the Meter that a chunk's signature stands under, if it has one."""
    if chunk.meter_signature is None:
        return None
    body = encode_paper(Meter(chunk.exchange, terms.quote_hash, chunk.usage))
    signed = Signed(body, chunk.meter_signature)
    check(Meter, signed, signer=terms.worker, network=network)
    return signed
