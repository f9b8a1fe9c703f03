"""Opening an engine on a server elsewhere: everything that can be wrong with it is found here.

Nothing is believed that can be tried: the server must split text, and compute a few tokens of a prompt
whose length it counts as it did before.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Capabilities, Engine, EngineError, Feature, ModelCard
from cocoon_p2p.inference.upstream.dialects import Dialect, find_dialect, look
from cocoon_p2p.inference.upstream.engine import UpstreamEngine
from cocoon_p2p.inference.upstream.health import Health
from cocoon_p2p.inference.upstream.wire import Usage, completion_body, stream_completion
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.protocols.ids import NAME_MAX_BYTES

CONNECT_SECONDS: Final = 5.0
STEP_SECONDS: Final = 30.0
"Without a step for this long an engine has failed."

ONE_TOKEN_SECONDS: Final = 60.0
"For a whole trial of one token, which may wait behind others' prompts."

FEATURES: Final = frozenset(
    {Feature.SEED, Feature.STOP, Feature.TEMPERATURE, Feature.IGNORE_EOS, Feature.CONTINUE}
)

TRIAL_TOKENS: Final = 4


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server, and the model that is wanted of it."""

    url: str
    "Its base, with or without `/v1`."

    model: str = ""
    "What it calls the model; empty if it has only one."

    api_key: str | None = field(default=None, repr=False)


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: list[_Model]


@asynccontextmanager
async def open_upstream(
    upstream: Upstream,
    *,
    name: str | None = None,
    slots: int = 4,
    context_tokens: int | None = None,
    weights_hash: bytes | None = None,
) -> AsyncIterator[Engine]:
    """Serve a model that a server elsewhere runs, and look after that server.

    Args:
        upstream: The server.
        name: What clients ask for; by default what the server calls the model.
        slots: Requests at once. What is beyond the server's own capacity waits there, paid for.
        context_tokens: Prompt and completion together; by default what the server says, and never more.
        weights_hash: Of the files that the server runs (`inference.manifest`), which nobody here can see.
            Without it the model has a hash of its own, which is nobody else's.

    Raises:
        ConfigurationError: The server is not reached, does not split text, has no such model, or computes
            other prompts than it counts; the text says what to do.
    """
    if slots < 1:
        raise ConfigurationError(f"an engine needs slots (slots={slots})")
    root = _root(upstream.url)
    async with httpx.AsyncClient(
        base_url=root,
        headers=_headers(upstream.api_key),
        timeout=httpx.Timeout(STEP_SECONDS, connect=CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=slots),
        # What this machine's environment says of proxies is not meant for prompts.
        trust_env=False,
    ) as http:
        try:
            model = await _model(http, upstream.model, root)
            dialect = await find_dialect(http, model)
            if dialect is None:
                raise _no_dialect(root)
            context = _context(await dialect.context_tokens(), context_tokens, root)
            await _try(http, model, dialect)
        except EngineError as exc:
            raise ConfigurationError(
                f"the server cannot be used: {exc} (url={root})",
                hint="see that it runs and answers there, and that the key is right",
            ) from exc
        health = Health(_one_token(http, model, dialect))
        card = _card(name or _short(model), root, model, context, weights_hash)
        capabilities = Capabilities(f"upstream ({dialect.name})", (card,), slots)
        engine = UpstreamEngine(http, model, dialect, capabilities, health)
        try:
            async with open_service_nursery() as nursery:
                nursery.start_soon(health.watch)
                yield engine
        finally:
            with trio.CancelScope(shield=True):
                await engine.aclose()


def _root(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = httpx.URL(url), parts.port
    except (ValueError, httpx.InvalidURL):
        parts = urlsplit("")
    if parts.username is not None or parts.query:
        raise ConfigurationError(
            "the server's address holds a secret, or a query",
            hint="write the key into a file and name it in api_key_file",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        # Not quoted: what is misspelt may hold a key all the same.
        raise ConfigurationError(
            "worker.model is not the address of a server", hint="write it as http://127.0.0.1:8000"
        )
    return url.rstrip("/").removesuffix("/v1")


def _headers(api_key: str | None) -> dict[str, str]:
    plain = {"Accept-Encoding": "identity"}
    return plain if api_key is None else {"Authorization": f"Bearer {api_key}", **plain}


async def _model(http: httpx.AsyncClient, wanted: str, root: str) -> str:
    models = [model.id for model in (await look(http, "/v1/models", _Models)).data]
    if wanted in models:
        return wanted
    if not wanted and len(models) == 1:
        return models[0]
    problem = f"has no model {wanted!r}" if wanted else f"has {len(models)} models"
    listed = ", ".join(models[:8]) or "none"
    raise ConfigurationError(
        f"the server {problem} (url={root} models={listed})", hint="name one of them in upstream_model"
    )


def _no_dialect(root: str) -> ConfigurationError:
    return ConfigurationError(
        f"the server does not split text, so nothing can be counted before it is paid (url={root})",
        hint="use vLLM or llama.cpp's server, and do not switch off their /tokenize",
    )


def _context(said: int, wanted: int | None, root: str) -> int:
    if said and wanted and wanted > said:
        raise ConfigurationError(
            f"the server's context is shorter (wanted={wanted} there={said} url={root})",
            hint="lower context_tokens, or start the server with a longer context",
        )
    if not (context := wanted or said):
        raise ConfigurationError(
            f"the server does not say how long its context is (url={root})", hint="set context_tokens"
        )
    return context


async def _try(http: httpx.AsyncClient, model: str, dialect: Dialect) -> None:
    """Have some tokens computed, and compare how long the prompt was to the server both times."""
    prompt = await dialect.split_text("The quick brown fox", is_prompt=True)
    usage = await _compute(http, model, dialect, prompt, TRIAL_TOKENS)
    if usage is None:
        raise EngineError("it does not say how many tokens an answer had")
    if usage.prompt_tokens != len(prompt):
        raise EngineError(
            f"it counts a prompt of {len(prompt)} tokens as {usage.prompt_tokens} when it computes it"
        )


def _one_token(http: httpx.AsyncClient, model: str, dialect: Dialect) -> Callable[[], Awaitable[None]]:
    async def compute() -> None:
        try:
            # A server that trickles is never silent, and never done.
            with trio.fail_after(ONE_TOKEN_SECONDS):
                prompt = await dialect.split_text("Hello", is_prompt=True)
                await _compute(http, model, dialect, prompt, 1)
        except trio.TooSlowError:
            raise EngineError(f"it computed no token (waited={ONE_TOKEN_SECONDS:g} s)") from None

    return compute


async def _compute(
    http: httpx.AsyncClient, model: str, dialect: Dialect, prompt: list[int], tokens: int
) -> Usage | None:
    body = completion_body(model, prompt, dialect.wishes(b""), tokens_max=tokens)
    usage, is_over = None, False
    async with stream_completion(http, body) as events:
        async for event in events:
            usage = event.usage or usage
            is_over |= any(choice.finish_reason is not None for choice in event.choices)
    if not is_over:
        raise EngineError("it broke a trial off")
    return usage


def _card(name: str, root: str, model: str, context: int, weights: bytes | None) -> ModelCard:
    own = hashlib.sha256(f"{root}\0{model}".encode()).digest()
    return ModelCard(
        name=name,
        weights_hash=weights or hashlib.sha256(b"cocoon/weights/unseen/1\0" + own).digest(),
        tokenizer_hash=hashlib.sha256(b"cocoon/tokenizer/unseen/1\0" + own).digest(),
        context_tokens=context,
        features=FEATURES,
    )


def _short(model: str) -> str:
    """Name a model by the last part of its path: servers give the whole one."""
    name = model.rstrip("/").rpartition("/")[2].removesuffix(".gguf").lower()
    return name.encode()[:NAME_MAX_BYTES].decode(errors="ignore") or "model"
