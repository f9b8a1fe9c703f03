"""What a server says in one step of an answer, as far as we use it. Pure.

    completions       choices[].text, .logprobs
    chat completions  choices[].delta {content, reasoning, tool_calls}, .logprobs
    both              .finish_reason, usage, error; llama.cpp: timings, prompt_progress

Spec: OpenAI API reference, the two completion chunk objects. vLLM and SGLang count in each step where
asked to (`continuous_usage_stats`), llama.cpp in `timings`.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec

from cocoon_p2p.inference.engine import EngineError
from cocoon_p2p.inference.wishes import Likelihood, TokenLogprob

Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class FunctionDelta(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class CallDelta(msgspec.Struct, frozen=True):
    index: int = 0
    id: str | None = None
    function: FunctionDelta | None = None


class Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    "What the model thinks, where a server takes it out of the text; vLLM calls it so since 0.12."

    tool_calls: list[CallDelta] | None = None


class TopEntry(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[Byte] | None = None


class TokenEntry(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[Byte] | None = None
    top_logprobs: list[TopEntry] | None = None


class Logprobs(msgspec.Struct, frozen=True):
    """As chats have them (`content`), and llama.cpp's completions; or as OpenAI's old completions do."""

    content: list[TokenEntry] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class Choice(msgspec.Struct, frozen=True):
    text: str | None = None
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None

    @property
    def cached_tokens(self) -> int:
        details = self.prompt_tokens_details
        return 0 if details is None else details.cached_tokens or 0


class Timings(msgspec.Struct, frozen=True):
    predicted_n: int = 0
    "llama.cpp: tokens sampled so far."


class Progress(msgspec.Struct, frozen=True):
    processed: int
    "llama.cpp: prompt tokens computed or found in the cache so far."


class Step(msgspec.Struct, frozen=True):
    """One step of an answer. The last one, or one after it, has `usage`; some servers' all have."""

    choices: list[Choice] = []
    usage: Usage | None = None
    timings: Timings | None = None
    prompt_progress: Progress | None = None
    error: msgspec.Raw | None = None

    @property
    def text(self) -> str:
        return "".join(
            choice.text or (choice.delta.content if choice.delta else None) or "" for choice in self.choices
        )

    @property
    def calls(self) -> list[CallDelta]:
        return [call for choice in self.choices if choice.delta for call in choice.delta.tool_calls or ()]

    @property
    def thinks(self) -> bool:
        """Whether it is of a thought, which servers keep out of the text of a chat's answer."""
        deltas = [choice.delta for choice in self.choices if choice.delta]
        return any(delta.reasoning or delta.reasoning_content for delta in deltas)

    @property
    def likelihoods(self) -> list[TokenLogprob]:
        return [
            likelihood
            for choice in self.choices
            if choice.logprobs
            for likelihood in _likelihoods(choice.logprobs)
        ]


_STEPS = msgspec.json.Decoder(Step)


def decode_step(data: str) -> Step:
    """Read one step.

    Raises:
        EngineError: The server says that it failed.
        msgspec.MsgspecError: It is none.
    """
    step = _STEPS.decode(data)
    if step.error is not None and bytes(step.error) != b"null":
        # Its words may quote the prompt, which nobody else may read.
        raise EngineError("the server failed in the middle of an answer")
    return step


def _likelihoods(said: Logprobs) -> list[TokenLogprob]:
    if said.content is not None:
        return [
            TokenLogprob(
                _likelihood(entry.token, entry.logprob, entry.bytes),
                tuple(_likelihood(top.token, top.logprob, top.bytes) for top in entry.top_logprobs or ()),
            )
            for entry in said.content
        ]
    tokens, chosen = said.tokens or [], said.token_logprobs or []
    tops = said.top_logprobs or [None] * len(tokens)
    if not len(tokens) == len(chosen) == len(tops):
        raise EngineError("the server says how likely other tokens are than it gives")
    return [
        TokenLogprob(_likelihood(token, logprob or 0.0), _likeliest(top))
        for token, logprob, top in zip(tokens, chosen, tops, strict=True)
    ]


def _likeliest(top: dict[str, float] | None) -> tuple[Likelihood, ...]:
    ordered = sorted((top or {}).items(), key=lambda entry: -entry[1])
    return tuple(_likelihood(token, logprob) for token, logprob in ordered)


def _likelihood(token: str, logprob: float, data: Sequence[int] | None = None) -> Likelihood:
    # A probability above one is none; rounding may say so of a token that is certain.
    if not math.isfinite(logprob) or logprob > 0.01:
        raise EngineError("the server says of a token that it is more than certain")
    return Likelihood(
        bytes(data) if data is not None else token.encode("utf-8", "replace"), min(logprob, 0.0)
    )
