"""Which dialect a server speaks: by what it calls itself, and by whether it splits text that way."""

from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from cocoon_p2p.inference.upstream.dialects import (
    Dialect,
    LlamaCppDialect,
    ServedModel,
    SglangDialect,
    VllmDialect,
    require_split,
)
from cocoon_p2p.inference.upstream.tabby import TabbyDialect
from cocoon_p2p.inference.upstream.wire import RequestRefused, Unanswered

_Make = Callable[[httpx.AsyncClient, ServedModel], Awaitable[Dialect]]


async def find_dialect(http: httpx.AsyncClient, model: ServedModel) -> Dialect | None:
    """Find out how a server splits text; None if it does not, or in a way that is not known here.

    Raises:
        EngineError: It is not reached, or fails.
    """
    owner = (model.owned_by or "").lower()
    for make in [_DIALECTS[owner]] if owner in _DIALECTS else _DIALECTS.values():
        try:
            dialect = await make(http, model)
            await require_split(dialect)
            return dialect
        except (Unanswered, RequestRefused):
            continue
    return None


async def _vllm(http: httpx.AsyncClient, model: ServedModel) -> Dialect:
    return VllmDialect(http, model.id)


async def _sglang(http: httpx.AsyncClient, model: ServedModel) -> Dialect:
    return SglangDialect(http, model)


async def _llamacpp(http: httpx.AsyncClient, model: ServedModel) -> Dialect:
    return LlamaCppDialect(http, model.id)


async def _tabbyapi(http: httpx.AsyncClient, model: ServedModel) -> Dialect:
    return await TabbyDialect.open(http)


_DIALECTS: Final[dict[str, _Make]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "llamacpp": _llamacpp,
    "tabbyapi": _tabbyapi,
}
"By the owner that each names in its list of models."
