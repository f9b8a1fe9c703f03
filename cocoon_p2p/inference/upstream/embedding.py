"""A model of a server's that embeds: texts in, vectors out, some texts at a time.

    count     each text is split by the server       /tokenize
    generate  the tokens themselves --> the vectors  /v1/embeddings

Spec: OpenAI API reference, Embeddings: an input may be a list of lists of tokens.
"""

import math
import sys
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import httpx
import msgspec
import trio

from cocoon_p2p.inference.counted import Counted
from cocoon_p2p.inference.engine import (
    EngineError,
    Finish,
    GenerateRequest,
    ModelCard,
    Piece,
    PromptCount,
    PromptTooLong,
)
from cocoon_p2p.inference.refusing import TOKEN_SIZE_MAX, refuse_senseless
from cocoon_p2p.inference.upstream.dialects import Dialect
from cocoon_p2p.inference.upstream.health import Health
from cocoon_p2p.inference.upstream.telling import blame
from cocoon_p2p.inference.upstream.wire import ask
from cocoon_p2p.protocols.ids import VECTOR_MAX_BYTES

EMBEDDINGS: Final = "/v1/embeddings"

TEXTS_AT_ONCE: Final = 16
"Of one question: a step of the engine, which others' texts wait for."

TOKENS_AT_ONCE: Final = 8192
"Of one question: an engine that says nothing for `ENGINE_STALL_SECONDS` has failed, and processors are slow."

NUMBER_SIZE_MAX_BYTES: Final = 32
"Of one number of a vector in JSON, with what stands around it."

ALIKE: Final = 0.99
"Cosine of the angle between vectors of one text; other texts' have less, half precision's error is less."

_FLOAT_MAX: Final = 3.4028234e38
"What four bytes hold."


class _Vector(msgspec.Struct, frozen=True):
    embedding: list[float]
    index: int = 0


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int


class _Vectors(msgspec.Struct, frozen=True):
    data: list[_Vector]
    usage: _Usage | None = None


async def embed(
    http: httpx.AsyncClient, model: str, texts: Sequence[Sequence[int]], *, size: int | None = None
) -> list[bytes]:
    """Have some texts embedded.

    Args:
        http: The server's.
        model: What it calls the model.
        texts: Their tokens.
        size: How many numbers a vector has; None if that is not known yet.

    Returns:
        One vector each, in order: float32, little-endian.

    Raises:
        EngineError: It refuses or fails, gives other vectors than were asked for, such as are too long or
            not finite, or counts other tokens than were sent.
    """
    body = {"model": model, "input": texts, "encoding_format": "float"}
    most = (size or VECTOR_MAX_BYTES // 4) * NUMBER_SIZE_MAX_BYTES * len(texts) + (64 << 10)
    said = await ask(http, EMBEDDINGS, body, _Vectors, size_max_bytes=most)
    ordered = sorted(said.data, key=lambda vector: vector.index)
    if [vector.index for vector in ordered] != list(range(len(texts))):
        raise EngineError(f"the server gives other vectors than were asked for (asked={len(texts)})")
    sent = sum(map(len, texts))
    if said.usage is not None and said.usage.prompt_tokens != sent:
        raise EngineError(f"the server counts {said.usage.prompt_tokens} tokens where {sent} were sent")
    return [_packed(vector.embedding, size) for vector in ordered]


def _packed(numbers: list[float], size: int | None) -> bytes:
    if not numbers or len(numbers) != (size or len(numbers)) or 4 * len(numbers) > VECTOR_MAX_BYTES:
        raise EngineError(f"a vector of the server's has another size (numbers={len(numbers)} known={size})")
    if not all(abs(number) <= _FLOAT_MAX for number in numbers):
        raise EngineError("a vector of the server's is not finite")
    packed = array("f", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def are_alike(one: bytes, other: bytes) -> bool:
    """Whether two vectors say the same, but for the last digits, which what else is in a batch moves."""
    first, second = array("f", one), array("f", other)
    across = sum(a * b for a, b in zip(first, second, strict=True))
    return across >= ALIKE * math.hypot(*first) * math.hypot(*second)


def _batches(texts: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Texts that are embedded at once: as many as fit, one at least."""
    some, tokens = list[list[int]](), 0
    for text in texts:
        if some and (len(some) == TEXTS_AT_ONCE or tokens + len(text) > TOKENS_AT_ONCE):
            yield some
            some, tokens = [], 0
        some.append(text)
        tokens += len(text)
    yield some


class EmbeddingModel:
    """A model that embeds.

    Args:
        http: The server's.
        model: What the server calls it.
        dialect: How it splits text.
        card: What is promised of it.
        slots: Of all models of the server.
        health: Whether the server is well.
        size: How many numbers its vectors have, as one of them had.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        model: str,
        dialect: Dialect,
        card: ModelCard,
        slots: trio.Semaphore,
        health: Health,
        *,
        size: int,
    ) -> None:
        self.card = card
        self.health = health
        self.dialect = dialect.name
        self._http = http
        self._model = model
        self._splitter = dialect
        self._slots = slots
        self._size = size
        self._counted = Counted[list[list[int]]]()

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Let the server tokenise the texts (`Engine.count`). A cancel leaves nothing behind."""
        self.health.require()
        return PromptCount(sum(map(len, self._counted.keep(request, await self._split(request)))))

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Embed (`Engine.generate`). Waits for a slot if all are taken."""
        texts = await self._split(request)
        self._counted.drop(request)
        async with self._slots, aclosing(self._pieces(texts)) as pieces:
            yield pieces

    async def _pieces(self, texts: list[list[int]]) -> AsyncGenerator[Piece, None]:
        tokens = done = 0
        for some in _batches(texts):
            vectors = await self._embed(some)
            # A piece travels in one chunk.
            fit = max(1, VECTOR_MAX_BYTES // (4 * self._size))
            for at in range(0, len(some), fit):
                tokens += sum(map(len, some[at : at + fit]))
                done += len(some[at : at + fit])
                finish = Finish.STOP if done == len(texts) else None
                yield Piece("", 0, tokens, finish=finish, vectors=tuple(vectors[at : at + fit]))

    async def _embed(self, texts: list[list[int]]) -> list[bytes]:
        try:
            vectors = await embed(self._http, self._model, texts, size=self._size)
        except EngineError as exc:
            blame(self.health, exc)
            raise
        self.health.succeeded()
        return vectors

    async def _split(self, request: GenerateRequest) -> list[list[int]]:
        refuse_senseless(request, self.card)
        kept = self._counted.find(request)
        if kept is not None:
            return kept
        texts = list[list[int]]()
        if any(len(text) > self.card.context_tokens * TOKEN_SIZE_MAX for text in request.inputs):
            raise PromptTooLong(f"a text to embed is too long (context={self.card.context_tokens} tokens)")
        for text in request.inputs:
            tokens = await self._splitter.split_text(text, is_prompt=True)
            if not 0 < len(tokens) <= self.card.context_tokens:
                raise PromptTooLong(
                    f"a text to embed is empty or too long (tokens={len(tokens)} "
                    f"context={self.card.context_tokens})"
                )
            texts.append(tokens)
        return texts
