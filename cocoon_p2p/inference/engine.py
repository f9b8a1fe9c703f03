"""What an engine is: capabilities as data, tokens counted before payment, pieces as they come.

An engine runs one or more models for many requests at once. The worker asks it three
things, in this order: `count` a prompt (before any money moves), `generate` from it, and,
by leaving the `async with`, stop. Everything else about an engine is its own business.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.inference.wishes import Constraint, Grammar, TokenLogprob, Tool, ToolCall, ToolUse
from cocoon_p2p.protocols.ids import Kind


class Finish(StrEnum):
    """Why a generation ended, in OpenAI's words where they have one."""

    STOP = "stop"
    "The model ended its answer, or a stop string was met."

    LENGTH = "length"
    "The completion limit or the context was reached."

    TOOL_CALLS = "tool_calls"
    "The model wants tools called and waits for what they say."


class Feature(StrEnum):
    """What a request may use only where the engine says it can. Refused by name before payment."""

    SEED = "seed"
    STOP = "stop"
    TEMPERATURE = "temperature"
    IGNORE_EOS = "ignore-eos"
    CONTINUE = "continue"
    "Can go on from a given answer prefix (`GenerateRequest.answer_prefix`)."

    JSON_SCHEMA = "json-schema"
    "`Grammar.JSON_SCHEMA` and `Grammar.JSON_OBJECT`."

    REGEX = "regex"
    GRAMMAR = "grammar"
    "`Grammar.GBNF`."

    LOGPROBS = "logprobs"
    TOOLS = "tools"
    LOGIT_BIAS = "logit-bias"
    BANNED_STRINGS = "banned-strings"
    PENALTIES = "penalties"
    IMAGES = "images"


class EngineError(CocoonError):
    """The engine cannot do what was asked, or failed. `code` is `engine-failed` or a refusal's name."""

    code = "engine-failed"


class PromptTooLong(EngineError):
    """The prompt leaves no room for an answer in the model's context."""

    code = "too-large"


class ModelUnknown(EngineError):
    """The engine has no model of that name."""

    code = "unknown-model"


class RequestMalformed(EngineError):
    """The request makes no sense here: no prompt, a chat that the model's template refuses, a number
    out of its range."""

    code = "malformed"


class FeatureMissing(EngineError):
    """The request uses a feature that this engine or model lacks; the text names it."""

    code = "unknown-feature"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model as an engine serves it."""

    name: str
    "The name clients ask for."

    weights_hash: bytes
    "SHA-256 over the canonical manifest of the model's files: 32 bytes."

    tokenizer_hash: bytes
    "SHA-256 over tokenizer and chat template: 32 bytes. Equal hashes split text equally."

    context_tokens: int
    "Prompt and completion together, a request."

    features: frozenset[Feature]
    is_demo: bool = False
    "Said wherever the model answers: good for trying the network, not for knowing things."

    kind: Kind = Kind.CHAT
    "What it is asked for. A chat model completes bare prompts too."


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine offers right now."""

    engine: str
    "Name and version, such as `llama.cpp b6800`: it goes into receipts."

    models: tuple[ModelCard, ...]
    slots: int
    "Requests that are computed at once; more wait in the worker, not in the engine."


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()
    "Tools that the model wanted called with this message (role `assistant`)."

    call_id: str = ""
    "Which of them this message is the answer of (role `tool`)."

    images: tuple[bytes, ...] = ()
    "PNG or JPEG files that belong to the text, shown before it."


@dataclass(frozen=True, slots=True)
class Audio:
    """Speech to be written down."""

    data: bytes
    "A whole file, in any container that the engine's decoder knows (WAV, Ogg Opus, MP3, MP4, WebM)."

    language: str = ""
    "ISO 639-1, such as `en`; empty: the model tells."


PromptKey = tuple[object, ...]

_CONSTRAINING = {
    Grammar.JSON_OBJECT: Feature.JSON_SCHEMA,
    Grammar.JSON_SCHEMA: Feature.JSON_SCHEMA,
    Grammar.REGEX: Feature.REGEX,
    Grammar.GBNF: Feature.GRAMMAR,
}


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """What the client sealed, opened. Times and money are not the engine's business."""

    model: str
    messages: tuple[ChatMessage, ...] = ()
    "A chat, rendered by the model's own template. Empty if `prompt` is given."

    prompt: str | None = None
    "A bare completion prompt, no template."

    answer_prefix: str = ""
    "What was delivered before a failover: the answer goes on right after it and never repeats it."

    completion_tokens_max: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    cache_scope: bytes = b""
    "Requests share cached prefixes only within the same scope (the sealing session's id)."

    constraint: Constraint | None = None
    tools: tuple[Tool, ...] = ()
    tool_use: ToolUse = ToolUse.AUTO
    logit_bias: tuple[tuple[int, float], ...] = ()
    "Token ids of the model, and what is added to their logits: -100 forbids, 100 forces."

    banned: tuple[str, ...] = ()
    "Strings that the answer never holds: the engine steps back and goes another way."

    logprobs: int | None = None
    "How many of the likeliest tokens are told at each place (0: the chosen one only); None: nothing is."

    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    "As OpenAI defines them: -2 to 2."

    inputs: tuple[str, ...] = ()
    "Texts to embed (`Kind.EMBEDDING`): one vector each, in this order."

    audio: Audio | None = None
    "What to write down (`Kind.TRANSCRIPTION`); `prompt` may then give names and words that occur in it."

    @property
    def features(self) -> frozenset[Feature]:
        """What the engine must be able to do for it."""
        constrained = None if self.constraint is None else _CONSTRAINING[self.constraint.grammar]
        wanted = {
            Feature.SEED: self.seed is not None,
            Feature.STOP: bool(self.stop),
            Feature.TEMPERATURE: self.temperature != 0 or self.top_p != 1,
            Feature.IGNORE_EOS: self.ignore_eos,
            Feature.CONTINUE: bool(self.answer_prefix),
            Feature.LOGPROBS: self.logprobs is not None,
            Feature.TOOLS: bool(self.tools) or any(message.calls for message in self.messages),
            Feature.LOGIT_BIAS: bool(self.logit_bias),
            Feature.BANNED_STRINGS: bool(self.banned),
            Feature.PENALTIES: self.frequency_penalty != 0 or self.presence_penalty != 0,
            Feature.IMAGES: any(message.images for message in self.messages),
        }
        used = {feature for feature, is_wanted in wanted.items() if is_wanted}
        return frozenset(used if constrained is None else {*used, constrained})

    @property
    def prompt_key(self) -> PromptKey:
        """What decides a prompt's tokens. With its scope: a count that comes soon tells that it was kept."""
        return (
            self.cache_scope,
            self.messages,
            self.prompt,
            self.answer_prefix,
            self.tools,
            self.tool_use,
            self.inputs,
            self.audio,
        )


@dataclass(frozen=True, slots=True)
class PromptCount:
    prompt_tokens: int
    cached_tokens: int = 0
    "Of those, how many the engine need not compute again for this scope, as far as it knows."


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of an answer. Text never ends inside a UTF-8 character.

    What a stop string may still hold back is not in `text` and not in the counts.
    """

    text: str
    completion_tokens: int
    "Cumulative: tokens whose text has been delivered with this piece and before it."

    prompt_tokens: int = 0
    "Cumulative: prompt tokens computed or taken from the cache so far (rises during prefill)."

    cached_tokens: int = 0
    finish: Finish | None = None
    "Set on the last piece only."

    calls: tuple[ToolCall, ...] = ()
    "Tool calls that are complete with this piece. Their tokens count; their text is not in `text`."

    logprobs: tuple[TokenLogprob, ...] = ()
    "Of the tokens delivered with this piece, if they were asked for."

    vectors: tuple[bytes, ...] = ()
    "Embeddings that are complete with this piece, in the order of `inputs`: float32, little-endian."


class Engine(Protocol):
    """Runs models. All methods may be called from many trio tasks at once."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Tokenise the prompt, computing nothing that costs: called before any payment.

        Raises:
            PromptTooLong: It leaves no room for one completion token in the context.
            RequestMalformed: It makes no prompt, or a number in it is out of range.
            ModelUnknown: The engine has no such model.
            FeatureMissing: The request uses what this engine or model lacks, named.
        """
        ...

    def generate(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Generate; leaving the `async with` (also by a cancel) frees the slot within one decoding step.

        The iterator ends after the piece that has `finish`. A slow reader delays only itself.

        Raises:
            EngineError: The engine failed; what was delivered stands, the rest will not come.
        """
        ...

    async def aclose(self) -> None:
        """Stop everything and give memory back. Generations that still run fail with EngineError."""
        ...


@runtime_checkable
class ChangingEngine(Protocol):
    """An `Engine` whose capabilities change while it runs: fewer slots, other models, or none."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def wait_for_change(self, known: Capabilities) -> Capabilities:
        """Return the capabilities once they are others than those known. A cancel leaves nothing behind."""
        ...
