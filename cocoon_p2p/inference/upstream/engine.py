"""The engine whose models run on a server elsewhere: it finds the model that a request names.

What each does with a request is in `generating` and `embedding`. A reader that is slow makes its own
connection fill up, and nothing else.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import httpx

from cocoon_p2p.inference.engine import (
    Capabilities,
    EngineError,
    GenerateRequest,
    ModelCard,
    ModelUnknown,
    Piece,
    PromptCount,
)
from cocoon_p2p.inference.upstream.health import Health


class UpstreamModel(Protocol):
    """One model of the server's, of any kind."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def health(self) -> Health: ...

    @property
    def dialect(self) -> str: ...

    async def count(self, request: GenerateRequest) -> PromptCount: ...

    def generate(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[Piece]]: ...


class UpstreamEngine:
    """An `Engine` in front of a server. Made by `open_upstream`.

    Args:
        http: A client whose base is the server. The engine closes it.
        name: What the engine is called in receipts.
        models: One at least, each of another name.
        slots: Requests at once, of all models together.
    """

    def __init__(
        self, http: httpx.AsyncClient, name: str, models: Sequence[UpstreamModel], *, slots: int
    ) -> None:
        self.capabilities = Capabilities(name, tuple(model.card for model in models), slots)
        self._http = http
        self._models = {model.card.name: model for model in models}
        self._is_closed = False

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Let the server tokenise the prompt (`Engine.count`). A cancel leaves nothing behind."""
        return await self._model(request).count(request)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Generate (`Engine.generate`). Waits for a slot if all are taken.

        Leaving closes the connection, by which the server learns that nobody reads any more.
        """
        async with self._model(request).generate(request) as pieces:
            yield pieces

    async def aclose(self) -> None:
        """Close all connections. Generations that still run fail with EngineError."""
        self._is_closed = True
        await self._http.aclose()

    def _model(self, request: GenerateRequest) -> UpstreamModel:
        if self._is_closed:
            raise EngineError("the engine is closed")
        model = self._models.get(request.model)
        if model is None:
            here = ", ".join(self._models)
            raise ModelUnknown(f"unknown model (asked={request.model!r} here={here})")
        return model
