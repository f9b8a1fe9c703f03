"""Several engines behind the face of one: each request goes to the one that has its model.

Slots are shared, not summed: who asks sees one number, and all who ask may ask for the same model. So each
engine has the memory of as many contexts as are advertised, and any mix of so many requests is computed.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import (
    Capabilities,
    ChangingEngine,
    Engine,
    GenerateRequest,
    ModelUnknown,
    Piece,
    PromptCount,
)


class SeveralEngines:
    """An `Engine` of engines. It closes them.

    Args:
        engines: One at least. Their models have names of their own.

    Raises:
        ConfigurationError: Two models have one name.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = tuple(engines)
        self._by_name: dict[str, Engine] = {}
        for engine in engines:
            for card in engine.capabilities.models:
                if card.name in self._by_name:
                    raise ConfigurationError(
                        f"two models have one name (name={card.name})", hint="give one of them another `name`"
                    )
                self._by_name[card.name] = engine

    @property
    def capabilities(self) -> Capabilities:
        """What they offer together: an engine without slots takes its models with it, unless none has any."""
        each = [engine.capabilities for engine in self.engines]
        serving = [one for one in each if one.slots]
        return Capabilities(
            " + ".join(dict.fromkeys(one.engine for one in each)),
            tuple(card for one in serving or each for card in one.models),
            min((one.slots for one in serving), default=0),
        )

    async def wait_for_change(self, known: Capabilities) -> Capabilities:
        """Return what they offer once that is something else (`ChangingEngine`)."""
        while (offered := self.capabilities) == known:
            async with trio.open_nursery() as nursery:
                for engine in self.engines:
                    if isinstance(engine, ChangingEngine):
                        nursery.start_soon(_wait, engine, engine.capabilities, nursery.cancel_scope)
                nursery.start_soon(trio.sleep_forever)
        return offered

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Let the engine that has the model count (`Engine.count`)."""
        return await self._engine(request).count(request)

    def generate(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Let the engine that has the model generate (`Engine.generate`)."""
        return self._engine(request).generate(request)

    async def aclose(self) -> None:
        """Close all of them. A cancel waits for that."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for engine in self.engines:
                    nursery.start_soon(engine.aclose)

    def _engine(self, request: GenerateRequest) -> Engine:
        try:
            return self._by_name[request.model]
        except KeyError:
            here = ", ".join(self._by_name)
            raise ModelUnknown(f"unknown model (asked={request.model!r} here={here!r})") from None


async def _wait(engine: ChangingEngine, known: Capabilities, scope: trio.CancelScope) -> None:
    await engine.wait_for_change(known)
    scope.cancel()
