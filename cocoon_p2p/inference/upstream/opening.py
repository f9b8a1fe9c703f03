"""Opening an engine on a server elsewhere: everything that can be wrong with it is found here.

address --> list of models --> each is tried (`trying`), and what it can is probed (`probing`)
"""

import logging
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from itertools import chain, count
from typing import Final

import httpx
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Engine, EngineError
from cocoon_p2p.inference.upstream.address import is_in_clear, root_of
from cocoon_p2p.inference.upstream.dialects import ServedModel, ServedModels
from cocoon_p2p.inference.upstream.engine import UpstreamEngine, UpstreamModel
from cocoon_p2p.inference.upstream.pace import STEP_SECONDS
from cocoon_p2p.inference.upstream.tabby import TabbyDialect
from cocoon_p2p.inference.upstream.trying import Wanted, open_model
from cocoon_p2p.inference.upstream.wire import KeyRefused, look
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.protocols.ids import MODELS_MAX, NAME_MAX_BYTES

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 5.0

IDLE_SECONDS: Final = 2.0
"Of a connection without use. uvicorn, which runs most servers, closes it after five, maybe under a request."

ALL_MODELS: Final = "*"


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server, and the models that are wanted of it."""

    url: str
    "Its base, with or without `/v1`."

    model: str = ""
    """What it calls the model; empty if it has only one. Several by their names with commas between, or `*`
    for all that it has."""

    api_key: str | None = field(default=None, repr=False)


@asynccontextmanager
async def open_upstream(
    upstream: Upstream,
    *,
    name: str | None = None,
    slots: int = 4,
    context_tokens: int | None = None,
    weights_hash: bytes | None = None,
) -> AsyncIterator[Engine]:
    """Serve what a server elsewhere runs, and look after that server.

    What a model can is probed: some hundred tokens are computed, for minutes at most, and the log says
    what was found.

    Args:
        upstream: The server.
        name: What clients ask for; by default what the server calls the model. Of one model only.
        slots: Requests at once, of all its models. What is beyond the server's own capacity waits there,
            paid for.
        context_tokens: Prompt and completion together; by default what the server says, and never more.
        weights_hash: Of the files that the server runs (`inference.manifest`), which nobody here can see.
            Without it the model has a hash of its own, which is nobody else's. Of one model only.

    Raises:
        ConfigurationError: The server is not reached, does not split text, has no such model, or computes
            other prompts than it counts; the text says what to do.
    """
    if slots < 1:
        raise ConfigurationError(f"an engine needs slots (slots={slots})")
    root = root_of(upstream.url)
    if is_in_clear(root):
        log.warning("upstream is reached in the clear: prompts can be read on the way", extra={"url": root})
    async with httpx.AsyncClient(
        base_url=root,
        headers=_headers(upstream.api_key),
        timeout=httpx.Timeout(STEP_SECONDS, connect=CONNECT_SECONDS, pool=None),
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=slots, keepalive_expiry=IDLE_SECONDS
        ),
        # What this machine's environment says of proxies is not meant for prompts.
        trust_env=False,
    ) as http:
        # A cookie would bind all requests to one of the machines behind an address; and many fill memory.
        http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        try:
            wanted = _Wanting(name, root, context_tokens, weights_hash)
            models = await _open_models(http, upstream.model, wanted, trio.Semaphore(slots))
        except KeyRefused as exc:
            raise ConfigurationError(
                f"{exc} (url={root})", hint="name the file that holds its key in upstream.api_key_file"
            ) from exc
        except EngineError as exc:
            raise ConfigurationError(
                f"the server cannot be used: {exc} (url={root})",
                hint="see that it runs and answers there, and that it is one of those that engines.md names",
            ) from exc
        if any(model.dialect == TabbyDialect.name for model in models):
            log.warning(
                "upstream's prompt cache is shared: how soon an answer begins can tell what others asked",
                extra={"url": root, "dialect": TabbyDialect.name},
            )
        engine = UpstreamEngine(http, f"upstream ({models[0].dialect})", models, slots=slots)
        try:
            async with open_service_nursery() as nursery:
                for model in models:
                    nursery.start_soon(model.health.watch)
                yield engine
        finally:
            with trio.CancelScope(shield=True):
                await engine.aclose()


@dataclass(frozen=True, slots=True)
class _Wanting:
    """What the operator said, of all models."""

    name: str | None
    root: str
    context_tokens: int | None
    weights_hash: bytes | None

    def of(self, name: str) -> Wanted:
        return Wanted(name, self.root, self.context_tokens, self.weights_hash)


async def _open_models(
    http: httpx.AsyncClient, said: str, wanting: _Wanting, slots: trio.Semaphore
) -> list[UpstreamModel]:
    chosen = _choose((await look(http, "/v1/models", ServedModels)).data, said, wanting.root)
    if len(chosen) == 1:
        name = wanting.name or _short(chosen[0].id)
        return [await open_model(http, chosen[0], wanting.of(name), slots)]
    if wanting.name or wanting.weights_hash:
        raise ConfigurationError(
            f"one name, or one hash of weights, for several models (models={len(chosen)})",
            hint="leave out worker.name and upstream.weights, or choose one in upstream.model",
        )
    models = dict[str, UpstreamModel]()
    for listed in chosen:
        name = _unused(listed.id, models)
        try:
            models[name] = await open_model(http, listed, wanting.of(name), slots)
        except (EngineError, ConfigurationError) as exc:
            if said != ALL_MODELS:
                raise
            log.warning("upstream model is left out", extra={"model": listed.id, "reason": str(exc)})
    if not models:
        raise ConfigurationError(
            f"none of the server's models can be served (url={wanting.root} models={len(chosen)})",
            hint="the log says why of each",
        )
    return list(models.values())


def _headers(api_key: str | None) -> dict[str, str]:
    plain = {"Accept-Encoding": "identity"}
    return plain if api_key is None else {"Authorization": f"Bearer {api_key}", **plain}


def _choose(there: list[ServedModel], said: str, root: str) -> list[ServedModel]:
    if said == ALL_MODELS and there:
        return there[:MODELS_MAX]
    by_id = {model.id: model for model in there}
    wanted = [said] if said in by_id else [name.strip() for name in said.split(",") if name.strip()]
    if wanted and by_id.keys() >= set(wanted):
        return [by_id[name] for name in dict.fromkeys(wanted)]
    if not wanted and len(there) == 1:
        return there
    missing = ", ".join(repr(name) for name in wanted if name not in by_id)
    problem = f"has no model {missing}" if wanted else f"has {len(there)} models"
    listed = ", ".join(_cut(name) for name in list(by_id)[:8]) or "none"
    raise ConfigurationError(
        f"the server {problem} (url={root} models={listed})",
        hint="name those that are wanted in upstream.model, with commas between, or * for all",
    )


def _short(model: str) -> str:
    """Name a model by the last part of its path: servers give the whole one."""
    return _cut(model.rstrip("/").rpartition("/")[2].removesuffix(".gguf").lower()) or "model"


def _unused(model: str, taken: Container[str]) -> str:
    """Name a model as no other is named: `org/one` and `one` are both one in short."""
    numbered = (_cut(f"{at}-{_short(model)}") for at in count(2))
    return next(name for name in chain((_short(model), _cut(model)), numbered) if name not in taken)


def _cut(name: str) -> str:
    return name.encode()[:NAME_MAX_BYTES].decode(errors="ignore")
