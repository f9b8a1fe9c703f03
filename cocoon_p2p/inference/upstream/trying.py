"""One model of a server's, tried: how its text is split, what kind of model it is, and what it can.

a prompt is computed, as long as it was counted --> it writes
it is not, but a text is embedded               --> it embeds
"""

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import httpx
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import EngineError, Feature, GenerateRequest, ModelCard
from cocoon_p2p.inference.upstream.dialects import (
    Dialect,
    LlamaCppDialect,
    ServedModel,
    SglangDialect,
    VllmDialect,
    require_split,
)
from cocoon_p2p.inference.upstream.embedding import EmbeddingModel, embed
from cocoon_p2p.inference.upstream.engine import UpstreamModel
from cocoon_p2p.inference.upstream.generating import GeneratingModel, Served
from cocoon_p2p.inference.upstream.health import Health
from cocoon_p2p.inference.upstream.pace import Pace
from cocoon_p2p.inference.upstream.probing import probe
from cocoon_p2p.inference.upstream.proofs import PROMPT, answer
from cocoon_p2p.inference.upstream.tabby import TabbyDialect
from cocoon_p2p.inference.upstream.wire import KeyRefused, RequestRefused, Unanswered
from cocoon_p2p.protocols.ids import Kind

log = logging.getLogger(__name__)

TRIAL_TOKENS: Final = 4

TRIAL_SECONDS: Final = 120.0
"For the first prompt of all: a server that has just begun may still warm up."

ONE_TOKEN_SECONDS: Final = 60.0
"For a whole trial of one token, which may wait behind others' prompts."

PACE_TOKENS: Final = 1024
"A prompt long enough to tell how quick prompts are computed, and short enough for a slow processor."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator said of a model; None: what the server says, or what is its own."""

    name: str
    "What clients ask for."

    root: str
    "The server's address."

    context_tokens: int | None = None
    weights_hash: bytes | None = None


async def open_model(
    http: httpx.AsyncClient, listed: ServedModel, wanted: Wanted, slots: trio.Semaphore
) -> UpstreamModel:
    """Try a model, and find out what it can.

    Raises:
        ConfigurationError: It cannot be served; the text says what to do.
        EngineError: The server fails, or computes other prompts than it counts.
    """
    dialect = await _find_dialect(http, listed)
    if dialect is None:
        raise ConfigurationError(
            f"the server does not split text: nothing can be counted before it is paid (url={wanted.root})",
            hint="use vLLM, SGLang, TabbyAPI or llama.cpp's server, and do not switch off their /tokenize",
        )
    context = _context(await dialect.context_tokens(), wanted)
    # A server that embeds was told to: some of those write as well, none of the others embeds.
    if size := await _embeds(http, listed.id, dialect):
        return _embedding(http, listed.id, dialect, wanted, context, slots, size)
    served = Served(http, listed.id, dialect, {})
    try:
        with trio.fail_after(TRIAL_SECONDS):
            await _try_to_write(served)
    except trio.TooSlowError:
        raise EngineError(f"it computed nothing (waited={TRIAL_SECONDS:g} s)") from None
    return await _generating(served, wanted, context, slots)


async def _generating(served: Served, wanted: Wanted, context: int, slots: trio.Semaphore) -> UpstreamModel:
    pace = Pace(await _seconds_per_token(served, context))
    found = await probe(served)
    card = _card(wanted, served.model, context, found.features, Kind.CHAT)
    log.info(
        "upstream probed",
        extra={
            "model": card.name,
            "dialect": served.dialect.name,
            "features": sorted(feature.value for feature in found.features),
            "prefill_per_second": round(1 / pace.seconds_per_token) if pace.seconds_per_token else None,
        },
    )
    one = GenerateRequest(served.model, prompt="Hello", completion_tokens_max=1)
    health = Health(_within(lambda: answer(served, one)))
    return GeneratingModel(found.served, card, slots, health, pace)


def _embedding(
    http: httpx.AsyncClient,
    model: str,
    dialect: Dialect,
    wanted: Wanted,
    context: int,
    slots: trio.Semaphore,
    size: int,
) -> UpstreamModel:
    card = _card(wanted, model, context, frozenset(), Kind.EMBEDDING)
    log.info("upstream probed", extra={"model": card.name, "dialect": dialect.name, "vector_numbers": size})
    health = Health(_within(lambda: _embeds(http, model, dialect)))
    return EmbeddingModel(http, model, dialect, card, slots, health, size=size)


async def _find_dialect(http: httpx.AsyncClient, listed: ServedModel) -> Dialect | None:
    """Find out how a server splits text; None if it does not, or in a way that is not known here."""
    owner = (listed.owned_by or "").lower()
    for name, make in _dialects(http, listed):
        if owner in _DIALECTS and owner != name:
            continue
        try:
            dialect = await make()
            await require_split(dialect)
            return dialect
        except (Unanswered, RequestRefused):
            continue
    return None


_DIALECTS: Final = ("vllm", "sglang", "llamacpp", "tabbyapi")
"As servers name themselves in their lists of models."


def _dialects(
    http: httpx.AsyncClient, listed: ServedModel
) -> list[tuple[str, Callable[[], Awaitable[Dialect]]]]:
    async def vllm() -> Dialect:
        return VllmDialect(http, listed.id)

    async def llamacpp() -> Dialect:
        return LlamaCppDialect(http, listed.id)

    async def sglang() -> Dialect:
        return SglangDialect(http, listed)

    async def tabby() -> Dialect:
        return await TabbyDialect.open(http)

    return list(zip(_DIALECTS, (vllm, sglang, llamacpp, tabby), strict=True))


async def _try_to_write(served: Served) -> None:
    """Have some tokens computed, and compare how long the prompt was to the server both times."""
    request = GenerateRequest(served.model, prompt=PROMPT, completion_tokens_max=TRIAL_TOKENS)
    prompt = await served.split(request)
    computed = (await answer(served, request, prompt)).prompt_tokens
    if not computed:
        raise EngineError("it does not say how many tokens an answer had")
    if computed != prompt.tokens:
        raise EngineError(f"it counts a prompt of {prompt.tokens} tokens as {computed} when it computes it")


async def _embeds(http: httpx.AsyncClient, model: str, dialect: Dialect) -> int:
    """How many numbers a vector has; 0 if none comes."""
    if not dialect.takes_tokens:
        return 0
    try:
        tokens = await dialect.split_text("Hello world", is_prompt=True)
        (vector,) = await embed(http, model, [tokens])
    except EngineError:
        return 0
    return len(vector) // 4


async def _seconds_per_token(served: Served, context: int) -> float:
    """Measure how long a prompt takes, with the first token of its answer."""
    words = PROMPT + " jumps over the lazy dog." * (PACE_TOKENS // 8)
    scope = secrets.token_bytes(16)
    request = GenerateRequest(served.model, prompt=words, completion_tokens_max=1, cache_scope=scope)
    prompt = await served.split(request)
    if prompt.tokens >= context:
        request = replace(request, prompt=PROMPT)
        prompt = await served.split(request)
    began = trio.current_time()
    try:
        with trio.fail_after(TRIAL_SECONDS):
            await answer(served, request, prompt)
    except trio.TooSlowError:
        log.warning("upstream is slow", extra={"prompt_tokens": prompt.tokens, "seconds": TRIAL_SECONDS})
    return (trio.current_time() - began) / prompt.tokens


def _within(compute: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """Have something computed within `ONE_TOKEN_SECONDS`, as a server's health is asked for."""

    async def look() -> None:
        try:
            # A server that trickles is never silent, and never done.
            with trio.fail_after(ONE_TOKEN_SECONDS):
                if not await compute():
                    raise EngineError("it computed nothing")
        except trio.TooSlowError:
            raise EngineError(f"it computed no token (waited={ONE_TOKEN_SECONDS:g} s)") from None

    return look


def _context(said: int, wanted: Wanted) -> int:
    if said and wanted.context_tokens and wanted.context_tokens > said:
        raise ConfigurationError(
            "the server's context is shorter "
            f"(wanted={wanted.context_tokens} there={said} url={wanted.root})",
            hint="lower context_tokens, or start the server with a longer context",
        )
    if not (context := wanted.context_tokens or said):
        raise ConfigurationError(
            f"the server does not say how long its context is (url={wanted.root})", hint="set context_tokens"
        )
    return context


def _card(wanted: Wanted, model: str, context: int, features: frozenset[Feature], kind: Kind) -> ModelCard:
    own = hashlib.sha256(f"{wanted.root}\0{model}".encode()).digest()
    return ModelCard(
        name=wanted.name,
        weights_hash=wanted.weights_hash or hashlib.sha256(b"cocoon/weights/unseen/1\0" + own).digest(),
        tokenizer_hash=hashlib.sha256(b"cocoon/tokenizer/unseen/1\0" + own).digest(),
        context_tokens=context,
        features=features,
        kind=kind,
    )
