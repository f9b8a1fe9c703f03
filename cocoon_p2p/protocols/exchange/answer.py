"""An answer in the making: what the engine has said, what has been sent, and what it costs.

Pieces come in as the engine makes them, chunks go out as credit and the reader allow:

    grow ---> waiting pieces ---> bids: what the next chunk may cost ---> take: what is covered

A chunk leaves at once if it is the first, the last, or holds CHUNK_TOKENS; else
CHUNK_SECONDS after the one before it. So a token waits 10 ms at most, and a fast engine
does not drown the hop in frames of one token each. Where credit is scarce a chunk holds as
many pieces as it covers, and waits for no more than the next one. Of a piece that stands for more
tokens than a payer covers ahead (a long tool call) the tokens go before it, some in each chunk.

Spec: protocols/exchange.md (Amounts, Credit); protocols/README.md (Chunks).
"""

from dataclasses import dataclass

from cocoon_p2p.frozen import replace
from cocoon_p2p.payments.pricing import owed_usage, worker_amount
from cocoon_p2p.protocols.contents import AnswerContent, FinishReason
from cocoon_p2p.protocols.exchange.cutting import join, size_of, split
from cocoon_p2p.protocols.ids import (
    ANSWER_TEXT_MAX_BYTES,
    CHUNK_SECONDS,
    CHUNK_TOKENS,
    METER_SECONDS,
    METER_TOKENS,
    Outcome,
)
from cocoon_p2p.protocols.messages import Price, Usage
from cocoon_p2p.units import Nano

_NOTHING = AnswerContent("")


@dataclass(frozen=True, slots=True)
class Draft:
    """The next chunk, before its seal."""

    number: int
    content: AnswerContent
    "Its `finish` is set in the last chunk only."

    usage: Usage
    "As it stands once this chunk is delivered."

    is_signed: bool
    "Whether the Meter's signature goes with it."


@dataclass(frozen=True, slots=True)
class Waiting:
    """A piece that is in no chunk yet."""

    content: AnswerContent
    tokens: int
    "Completion tokens, all told, once it is delivered."


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. Counts are cumulative."""

    metered: Usage
    "The prompt as PromptMetered told it. What the engine finds in its cache later changes nothing."

    price: Price
    amount_max: Nano
    steps: int = 0
    "Steps of the engine, those of the prefill included."

    prefilled: int = 0
    "Prompt tokens computed, or found in the cache."

    made: int = 0
    "Completion tokens that the engine has made."

    waiting: tuple[Waiting, ...] = ()
    finish: FinishReason | None = None
    "Set once the engine has nothing more to say, or must not say more."

    chunks: int = 0
    sent_tokens: int = 0
    "Completion tokens in the chunks that were sent."

    sent_at: float | None = None
    signed_tokens: int = 0
    signed_at: float | None = None

    @property
    def is_held(self) -> bool:
        """Whether the engine must wait for the reader, or has done its part."""
        return (
            self.finish is not None
            or self.made - self.sent_tokens >= CHUNK_TOKENS
            or len(self.waiting) >= CHUNK_TOKENS
        )

    @property
    def due(self) -> float | None:
        """When the next chunk may leave; minus infinity for at once, None if there is nothing to send."""
        if not self.waiting and self.finish is None:
            return None
        if self.sent_at is None or self.is_held:
            return float("-inf")
        return self.sent_at + CHUNK_SECONDS


def grow(answer: Answer, content: AnswerContent, *, made: int, prefilled: int) -> Answer:
    """Take one step of the engine.

    Args:
        answer: What it had said before.
        content: What it says now. Its `finish` says that it has nothing more to say.
        made: Completion tokens that it has made, all told.
        prefilled: Prompt tokens that it has computed or found, all told.

    Counts that fall are taken for a slip of the engine: what was counted stays. A piece that
    would cost more than `amount_max` is dropped and ends the answer with `length`.
    """
    if answer.finish is not None:
        return answer
    made = max(answer.made, made)
    prompt = answer.metered.prompt + answer.metered.cached
    is_prefilled = made > 0 or content.finish is not None
    prefilled = prompt if is_prefilled else min(prompt, max(answer.prefilled, prefilled))
    waiting, finish = answer.waiting, content.finish
    if amount(_usage(answer, made), answer) > answer.amount_max:
        made, finish = answer.made, FinishReason.LENGTH
    else:
        said = content if finish is None else replace(content, finish=None)
        if said != _NOTHING or made > answer.made:
            waiting = (*waiting, Waiting(said, made))
    return replace(
        answer, steps=answer.steps + 1, prefilled=prefilled, made=made, waiting=waiting, finish=finish
    )


def bids(answer: Answer) -> tuple[Nano, ...]:
    """Say what will have been earned after one piece more, after two, ...; ascending, never empty.

    Before a piece of many tokens stands what some of them come to: no payer covers more than a window ahead.
    """
    counts = [piece.tokens for piece in answer.waiting] or [answer.sent_tokens]
    return tuple(amount(_usage(answer, tokens), answer) for tokens in (*_before(answer, counts[0]), *counts))


def take(answer: Answer, covered: Nano, now: float) -> tuple[Answer, Draft]:
    """Make a chunk of as many pieces as are covered and fit; from now on it counts as sent.

    A piece that alone fits no chunk is cut. Its tokens are counted with the end of it. One of which not all
    tokens are covered waits; some of them are counted.

    Args:
        answer: With something to send.
        covered: At least the lowest of `bids`.
        now: When it is sent.
    """
    content, tokens, rest = _cut(answer, covered)
    is_signed = (
        answer.signed_at is None
        or tokens - answer.signed_tokens >= METER_TOKENS
        or now - answer.signed_at >= METER_SECONDS
    )
    draft = Draft(
        number=answer.chunks,
        content=content if rest else replace(content, finish=answer.finish),
        usage=_usage(answer, tokens),
        is_signed=is_signed,
    )
    sent = replace(
        answer,
        waiting=rest,
        chunks=answer.chunks + 1,
        sent_tokens=tokens,
        sent_at=now,
        signed_tokens=tokens if is_signed else answer.signed_tokens,
        signed_at=now if is_signed else answer.signed_at,
    )
    return sent, draft


def amount(usage: Usage, answer: Answer) -> Nano:
    """Say what the worker has earned by this usage."""
    return worker_amount(usage, answer.price)


def counted(answer: Answer, outcome: Outcome) -> Usage:
    """Say which usage counts if the exchange ends now, and so.

    The prompt counts as far as it was prefilled, completion tokens as far as they were sent.
    """
    cached = min(answer.metered.cached, answer.prefilled)
    prompt = min(answer.metered.prompt, answer.prefilled - cached)
    usage = Usage(prompt=prompt, cached=cached, completion=answer.sent_tokens, reasoning=0)
    return owed_usage(usage, outcome)


def _usage(answer: Answer, tokens: int) -> Usage:
    return replace(answer.metered, completion=tokens)


def _before(answer: Answer, tokens: int) -> tuple[int, ...]:
    """Say which counts a chunk without text can come to before a piece that comes to this one."""
    return tuple(count for more in (1, CHUNK_TOKENS) if (count := answer.sent_tokens + more) < tokens)


def _cut(answer: Answer, covered: Nano) -> tuple[AnswerContent, int, tuple[Waiting, ...]]:
    """Take off what goes into the next chunk, with its count of tokens, and what is left."""
    contents: list[AnswerContent] = []
    room, tokens = ANSWER_TEXT_MAX_BYTES, answer.sent_tokens

    def is_covered(count: int) -> bool:
        return amount(_usage(answer, count), answer) <= covered

    for position, piece in enumerate(answer.waiting):
        size = size_of(piece.content)
        if not contents and not is_covered(piece.tokens):
            return AnswerContent(""), max(filter(is_covered, _before(answer, piece.tokens))), answer.waiting
        if not is_covered(piece.tokens) or (contents and size > room):
            return join(contents), tokens, answer.waiting[position:]
        if size > room:
            head, rest = split(piece.content, room)
            return head, tokens, (replace(piece, content=rest), *answer.waiting[position + 1 :])
        contents.append(piece.content)
        room, tokens = room - size, piece.tokens
    return join(contents), tokens, ()
