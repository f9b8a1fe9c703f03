"""A gateway on a real socket, before a client on the memory network; nothing here waits for the clock."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import trio

from cocoon_p2p.gateway import Settings, serve
from cocoon_p2p.gateway.keys import Keys
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.overlay import Overlay, open_overlay

GENEROUS_SECONDS = 60.0
QUESTION = [{"role": "user", "content": "What is it?"}]
SDK = {"x-stainless-retry-count": "0", "x-stainless-read-timeout": "600"}
"What OpenAI's SDK says of itself."


@dataclass
class Scene:
    """One gateway, who asks it, and what is behind it."""

    url: str
    http: httpx.AsyncClient
    overlay: Overlay
    stop: trio.Event
    nursery: trio.Nursery

    @property
    def engine(self) -> ScriptedEngine:
        """The only worker's engine."""
        engine = self.overlay.engines[0]
        assert isinstance(engine, ScriptedEngine)
        return engine

    @property
    def charged(self) -> int:
        """What the client was charged for everything so far."""
        return self.overlay.paid()[0]

    async def chat(self, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        """Ask, and read the whole response."""
        body = {"model": "scripted", "messages": QUESTION, **fields}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    async def stalled(self, tokens: int) -> None:
        """Wait until the engine stands still after so many tokens."""
        await until(lambda: bool(self.engine.tokens_made) and self.engine.tokens_made[-1] == tokens)


@asynccontextmanager
async def open_gateway(
    engine: Engine | None = None,
    *,
    settings: Settings | None = None,
    keys: Keys | None = None,
    **overlay_wishes: Any,
) -> AsyncIterator[Scene]:
    """Bring a network, a gateway and an HTTP client up."""
    engines = (ScriptedEngine(delay_seconds=0) if engine is None else engine,)
    async with open_overlay(engines=engines, **overlay_wishes) as overlay, trio.open_nursery() as nursery:
        stop = trio.Event()
        serving = partial(
            serve,
            overlay.client,
            settings or Settings(port=0),
            keys=keys,
            stop=stop,
            clock=lambda: 1_800_000_000,
        )
        url = await nursery.start(serving)
        async with httpx.AsyncClient(base_url=url, timeout=GENEROUS_SECONDS) as http:
            yield Scene(url, http, overlay, stop, nursery)
        nursery.cancel_scope.cancel()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    with trio.fail_after(GENEROUS_SECONDS):
        while not is_so():  # noqa: ASYNC110 (see the first line)
            await trio.sleep(0.005)


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    """Read a stream's chunks; its end is checked."""
    lines = [line for line in response.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1] if not line.startswith(":")]


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Read an error in OpenAI's shape."""
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    return error
