"""An answer in the making: what the engine has said, what has been sent, and what it costs.

Pieces come in as the engine makes them, chunks go out as the reader takes them:

    grow ---> waiting text ---> cut: one chunk at a time, then covered, then sent

A chunk leaves at once if it is the first, the last, or holds CHUNK_TOKENS; else
CHUNK_SECONDS after the one before it. So a token waits 10 ms at most, and a fast engine
does not drown the hop in frames of one token each.

Spec: protocols/exchange.md (Amounts); protocols/README.md (Chunks).
"""

from dataclasses import dataclass, replace

from cocoon_p2p.payments.pricing import owed_usage, worker_amount
from cocoon_p2p.protocols.contents import FinishReason
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


@dataclass(frozen=True, slots=True)
class Draft:
    """The next chunk, before its seal."""

    number: int
    text: str
    usage: Usage
    "As it stands once this chunk is delivered."

    finish: FinishReason | None
    "Set in the last chunk only."

    is_signed: bool
    "Whether the Meter's signature goes with it."


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

    waiting: str = ""
    "Text that is in no chunk yet."

    finish: FinishReason | None = None
    "Set once the engine has nothing more to say, or must not say more."

    cut_tokens: int = 0
    "Completion tokens in the chunks cut so far, one that waits for credit included."

    chunks: int = 0
    sent_tokens: int = 0
    "Completion tokens in the chunks that were sent."

    sent_at: float | None = None
    signed_tokens: int = 0
    signed_at: float | None = None

    @property
    def is_held(self) -> bool:
        """Whether the engine must wait for the reader, or has done its part."""
        return self.made - self.cut_tokens >= CHUNK_TOKENS or self.finish is not None

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to cut a chunk from."""
        return not self.waiting and self.made == self.cut_tokens and self.finish is None

    @property
    def due(self) -> float | None:
        """When the next chunk may leave; minus infinity for at once, None if there is nothing to send."""
        if self.is_silent:
            return None
        if self.sent_at is None or self.is_held:
            return float("-inf")
        return self.sent_at + CHUNK_SECONDS


def grow(answer: Answer, *, text: str, made: int, prefilled: int, finish: FinishReason | None) -> Answer:
    """Take one step of the engine.

    Counts that fall are taken for a slip of the engine: what was counted stays. A piece that
    would cost more than `amount_max` is dropped and ends the answer with `length`.
    """
    if answer.finish is not None:
        return answer
    made = max(answer.made, made)
    is_prefilled = made > 0 or finish is not None
    answer = replace(
        answer,
        steps=answer.steps + 1,
        prefilled=_prompt_of(answer)
        if is_prefilled
        else min(_prompt_of(answer), max(answer.prefilled, prefilled)),
    )
    if worker_amount(replace(answer.metered, completion=made), answer.price) > answer.amount_max:
        return replace(answer, finish=FinishReason.LENGTH)
    return replace(answer, made=made, waiting=answer.waiting + text, finish=finish)


def cut(answer: Answer, now: float) -> tuple[Answer, Draft]:
    """Make a chunk of what waits; the rest of a text that fits no chunk waits for the next one.

    Tokens are counted with the end of their text, so a chunk that holds only the beginning of
    a long piece counts none of its tokens.
    """
    text, rest = _split(answer.waiting)
    tokens = answer.cut_tokens if rest else answer.made
    is_signed = (
        answer.signed_at is None
        or tokens - answer.signed_tokens >= METER_TOKENS
        or now - answer.signed_at >= METER_SECONDS
    )
    draft = Draft(
        number=answer.chunks,
        text=text,
        usage=replace(answer.metered, completion=tokens),
        finish=None if rest else answer.finish,
        is_signed=is_signed,
    )
    return replace(answer, waiting=rest, cut_tokens=tokens), draft


def send(answer: Answer, draft: Draft, now: float) -> Answer:
    """Note that the chunk went out: from now on it counts."""
    answer = replace(answer, chunks=answer.chunks + 1, sent_tokens=draft.usage.completion, sent_at=now)
    if not draft.is_signed:
        return answer
    return replace(answer, signed_tokens=draft.usage.completion, signed_at=now)


def amount(usage: Usage, answer: Answer) -> Nano:
    """Say what the worker has earned by this usage."""
    return worker_amount(usage, answer.price)


def counted(answer: Answer, outcome: Outcome) -> Usage:
    """Say which usage counts if the exchange ends now, and so.

    The prompt counts as far as it was prefilled, completion tokens as far as they were sent.
    """
    cached = min(answer.metered.cached, answer.prefilled)
    prefilled = Usage(
        prompt=min(answer.metered.prompt, answer.prefilled - cached),
        cached=cached,
        completion=answer.sent_tokens,
        reasoning=0,
    )
    return owed_usage(prefilled, outcome)


def _prompt_of(answer: Answer) -> int:
    return answer.metered.prompt + answer.metered.cached


def _split(text: str) -> tuple[str, str]:
    """Cut off as much as fits a chunk, between two characters."""
    encoded = text.encode()
    if len(encoded) <= ANSWER_TEXT_MAX_BYTES:
        return text, ""
    head = encoded[:ANSWER_TEXT_MAX_BYTES].decode(errors="ignore")
    return head, text[len(head) :]
