"""An engine that says what a test wrote down, when the test said (`inference.engine.Engine`).

Words are its tokens, so a test can count by eye. It keeps the promises of a real engine
(counting before money, pieces as they come, a slot that is free again one step after the
reader left) and breaks them on request: it can fail or stall at any token. Under trio's
`autojump_clock` equal scripts give equal runs.

    engine = ScriptedEngine(("The ", "answer ", "is ", "42."), delay_seconds=0.05)

A tool call in the script is one token too. Logprobs, vectors and the length of speech follow
from what is asked, so that a test can reckon them.
"""

import hashlib
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.inference.engine import (
    Audio,
    Capabilities,
    EngineError,
    Feature,
    FeatureMissing,
    Finish,
    GenerateRequest,
    ModelCard,
    Piece,
    PromptCount,
    PromptTooLong,
)
from cocoon_p2p.inference.wishes import Likelihood, TokenLogprob, ToolCall
from cocoon_p2p.protocols.ids import Kind

Script = Sequence[str | ToolCall] | Callable[[GenerateRequest], Sequence[str | ToolCall]]
"The tokens of the answer, or what makes them of a request."

ANSWER = ("Hello", ", ", "world", ".")
FEATURES = frozenset({Feature.SEED, Feature.TEMPERATURE, Feature.IGNORE_EOS, Feature.CONTINUE})


def echo(request: GenerateRequest) -> tuple[str, ...]:
    """Answer with the words of the last message (or of the prompt)."""
    words = _text_of(request)[-1].split()
    return tuple(word if number == 0 else f" {word}" for number, word in enumerate(words))


def scripted_model(
    name: str = "scripted",
    *,
    context_tokens: int = 4096,
    features: Iterable[Feature] = FEATURES,
    kind: Kind = Kind.CHAT,
) -> ModelCard:
    """Describe a model; its hashes follow from its name, so equal names have equal weights."""
    return ModelCard(
        name=name,
        weights_hash=hashlib.sha256(b"weights of " + name.encode()).digest(),
        tokenizer_hash=hashlib.sha256(b"tokenizer of words").digest(),
        context_tokens=context_tokens,
        features=frozenset(features),
        is_demo=True,
        kind=kind,
    )


def scripted_vector(text: str) -> bytes:
    """Embed a text: four numbers from its hash, so equal texts have equal vectors."""
    return struct.pack("<4f", *(byte / 128 - 1 for byte in hashlib.sha256(text.encode()).digest()[:4]))


class ScriptedEngine:
    """Answers every request by the script.

    Args:
        answer: The tokens of each answer. One that is asked to go on from a prefix leaves out the
            tokens that the prefix covers.
        models: What it offers.
        slots: Generations that run at once; one more is an `EngineError`, because the worker
            must not let it come to that.
        delay_seconds: Before each token, the first included.
        count_seconds: How long counting a prompt takes.
        prefill_seconds: How long a prompt's uncached tokens take, spread over `prefill_steps` pieces
            without text.
        prefill_steps: Steps of a prefill; with 0 none is reported.
        fail_at: The number of completion tokens after which it raises `EngineError`.
        stall_at: The number of completion tokens after which it says nothing more, for ever.
        caches: Whether a prompt seen before in the same scope is cached, but for its last token.
        embed: Makes the vector of a text (float32, little-endian).

    Attributes:
        running: Generations that hold a slot now.
        running_max: The most that ever did at once.
        requests: All requests generated from, in order of their start.
        tokens_made: Tokens computed for each of those: tells how soon a cancel was heard.
    """

    def __init__(
        self,
        answer: Script = ANSWER,
        *,
        models: Sequence[ModelCard] = (),
        slots: int = 4,
        delay_seconds: float = 0.02,
        count_seconds: float = 0.0,
        prefill_seconds: float = 0.0,
        prefill_steps: int = 0,
        fail_at: int | None = None,
        stall_at: int | None = None,
        caches: bool = False,
        embed: Callable[[str], bytes] = scripted_vector,
    ) -> None:
        self._answer = answer
        self._models = tuple(models) or (scripted_model(),)
        self._slots = slots
        self._delay_seconds = delay_seconds
        self._count_seconds = count_seconds
        self._prefill_seconds = prefill_seconds
        self._prefill_steps = prefill_steps
        self.fail_at = fail_at
        self.stall_at = stall_at
        self._caches = caches
        self.embed = embed
        self._seen: set[tuple[bytes, tuple[str, ...]]] = set()
        self._closed = trio.Event()
        self.running = 0
        self.running_max = 0
        self.requests: list[GenerateRequest] = []
        self.tokens_made: list[int] = []

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("scripted 1", self._models, self._slots)

    async def count(self, request: GenerateRequest) -> PromptCount:
        await trio.sleep(self._count_seconds)
        model = self._model(request.model)
        for feature in sorted(request.features - model.features):
            raise FeatureMissing(f"unknown feature: {feature.value}")
        tokens = prompt_tokens(request)
        if tokens >= model.context_tokens:
            raise PromptTooLong(f"too large (prompt={tokens} context={model.context_tokens} tokens)")
        return PromptCount(tokens, self._cached(request))

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        if self._closed.is_set():
            raise EngineError("the engine is closed")
        if self.running >= self._slots:
            raise EngineError(f"no free slot (slots={self._slots})")
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        self.requests.append(request)
        self.tokens_made.append(0)
        pieces = self._pieces(request, len(self.requests) - 1)
        try:
            yield pieces
        finally:
            self.running -= 1
            with trio.CancelScope(shield=True):
                await pieces.aclose()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self._closed.set()

    async def _pieces(self, request: GenerateRequest, number: int) -> AsyncGenerator[Piece, None]:
        prompt, cached = prompt_tokens(request), self._cached(request)
        for step in range(1, self._prefill_steps + 1):
            await self._wait(self._prefill_seconds / self._prefill_steps)
            yield Piece("", 0, cached + (prompt - cached) * step // self._prefill_steps, cached)
        if not self._prefill_steps:
            await self._wait(self._prefill_seconds)
        self._seen.add((request.cache_scope, _text_of(request)))
        tokens = self._tokens(request)
        limit = min(request.completion_tokens_max, self._model(request.model).context_tokens - prompt)
        for count, token in enumerate(tokens[:limit], 1):
            await self._break_down_at(count - 1)
            await self._wait(self._delay_seconds)
            self.tokens_made[number] = count
            if isinstance(token, ToolCall):
                yield Piece("", count, prompt, cached, calls=(token,))
            else:
                yield Piece(token, count, prompt, cached, logprobs=_logprobs(token, request.logprobs))
        for vector in map(self.embed, request.inputs):
            await self._wait(self._delay_seconds)
            yield Piece("", 0, prompt, cached, vectors=(vector,))
        done = min(limit, len(tokens))
        await self._break_down_at(done)
        yield Piece("", done, prompt, cached, _finish(tokens, limit))

    def _tokens(self, request: GenerateRequest) -> tuple[str | ToolCall, ...]:
        if request.inputs:
            return ()
        tokens = self._answer(request) if callable(self._answer) else self._answer
        covered, number = 0, 0
        while covered < len(request.answer_prefix) and number < len(tokens):
            token = tokens[number]
            covered += len(token) if isinstance(token, str) else 0
            number += 1
        return tuple(tokens[number:])

    async def _break_down_at(self, count: int) -> None:
        if count == self.fail_at:
            raise EngineError(f"the script says fail (tokens={count})")
        if count == self.stall_at:
            await self._closed.wait()
            raise EngineError("the engine was closed")

    async def _wait(self, seconds: float) -> None:
        if not seconds and not self._closed.is_set():
            # What costs nothing should not look as if it did.
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(seconds):
            await self._closed.wait()
            raise EngineError("the engine was closed")

    def _model(self, name: str) -> ModelCard:
        for model in self._models:
            if model.name == name:
                return model
        raise EngineError(f"unknown model: {name}")

    def _cached(self, request: GenerateRequest) -> int:
        seen = self._caches and (request.cache_scope, _text_of(request)) in self._seen
        return prompt_tokens(request) - 1 if seen else 0


def prompt_tokens(request: GenerateRequest) -> int:
    """Count as the scripted engine does: the words, one for each text and tool, 50 for a second of speech."""
    texts = _text_of(request)
    tokens = len(texts) + sum(len(text.split()) for text in texts) + len(request.tools)
    return tokens if request.audio is None else tokens + 50 * speech_seconds(request.audio)


def speech_seconds(audio: Audio) -> int:
    """Say how long the scripted engine takes speech to be: 16 kHz, two bytes each, no header."""
    return -(-len(audio.data) // 32_000)


def _finish(tokens: Sequence[str | ToolCall], limit: int) -> Finish:
    if limit < len(tokens):
        return Finish.LENGTH
    return Finish.TOOL_CALLS if any(isinstance(token, ToolCall) for token in tokens) else Finish.STOP


def _logprobs(token: str, wanted: int | None) -> tuple[TokenLogprob, ...]:
    """Be 0.75 nats short of certain of each token, and of each other at its place 0.75 more."""
    if wanted is None:
        return ()
    likely = [Likelihood(token.encode() + b"!" * place, -0.75 * (place + 1)) for place in range(wanted)]
    return (TokenLogprob(Likelihood(token.encode(), -0.75), tuple(likely)),)


def _text_of(request: GenerateRequest) -> tuple[str, ...]:
    texts = (*(message.content for message in request.messages), *request.inputs)
    if request.prompt is not None:
        texts += (request.prompt,)
    return (*texts, request.answer_prefix) if request.answer_prefix else texts
