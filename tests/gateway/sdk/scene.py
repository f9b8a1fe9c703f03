"""A gateway on a real socket in a thread of its own, so that OpenAI's SDK can be what its users have.

Behind it is the network in memory; its engines are llama.cpp's on the demo model and on small ones with
random weights, or scripted ones.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any
from urllib.request import urlopen

import openai
import trio
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from cocoon_p2p import sync
from cocoon_p2p.gateway import Settings, serve
from cocoon_p2p.gateway.keys import Keys
from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.inference.llamacpp import open_llamacpp
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.overlay import Overlay, open_overlay

DEMO = "cocoon-demo"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
GREETING = "Hello! How can I help you?"

GENEROUS_SECONDS = 60.0
"A bound for what hangs; none waits for it."

PATIENT = Settings(port=0)


class GatedEngine(ScriptedEngine):
    """A scripted engine that says nothing until its gate is opened."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.gate = trio.Event()

    async def _wait(self, seconds: float) -> None:
        await self.gate.wait()
        await super()._wait(seconds)


@dataclass
class Served:
    """One gateway, and what is behind it."""

    url: str
    overlay: Overlay
    token: trio.lowlevel.TrioToken = field(default_factory=trio.lowlevel.current_trio_token)
    clients: ExitStack = field(default_factory=ExitStack)
    "The SDK's, which hold sockets."

    @property
    def engine(self) -> ScriptedEngine:
        """The first worker's engine, which is scripted."""
        engine = self.overlay.engines[0]
        assert isinstance(engine, ScriptedEngine)
        return engine

    @property
    def charged(self) -> int:
        """What the client was charged for everything so far, in nanoTON."""
        return self.overlay.paid()[0]

    def do(self, deed: Callable[[], Awaitable[Any]]) -> Any:
        """Have something done in the gateway's thread."""
        return trio.from_thread.run(deed, trio_token=self.token)

    def open_gate(self) -> None:
        """Let a gated engine speak."""
        assert isinstance(self.engine, GatedEngine)
        trio.from_thread.run_sync(self.engine.gate.set, trio_token=self.token)

    def open_gate_when(self, is_so: Callable[[], bool]) -> None:
        """Let it speak once something is so; that is not waited for."""

        def watch() -> None:
            until(is_so)
            self.open_gate()

        Thread(target=watch, daemon=True).start()

    @contextmanager
    def asking(self, sdk: openai.OpenAI) -> Iterator[Future[ChatCompletion]]:
        """Have a gated engine asked by another thread while the block runs, and answer after it."""
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(sdk.chat.completions.create, model="scripted", messages=HELLO, stream=False)
            try:
                until(lambda: self.engine.running == 1 or asked.done())
                yield asked
            finally:
                self.open_gate()

    def sdk(self, **options: Any) -> openai.OpenAI:
        """Make an SDK's client, which tries once unless told otherwise; it is closed with the gateway."""
        client = openai.OpenAI(**self._once(options))
        return self.clients.enter_context(client)

    def async_sdk(self, **options: Any) -> openai.AsyncOpenAI:
        """Make one for asyncio."""
        return openai.AsyncOpenAI(**self._once(options))

    def _once(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"base_url": f"{self.url}/v1", "api_key": "none", "max_retries": 0, **options}

    def until_idle(self) -> None:
        """Wait until no answer is under way and all are settled."""
        until(lambda: not self._running() and not self.engine.running and not self.overlay.disagreements())

    def _running(self) -> int:
        with urlopen(f"{self.url}/healthz", timeout=GENEROUS_SECONDS) as response:
            return int(json.load(response)["running"])


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what happens in the gateway's thread."""
    end = monotonic() + GENEROUS_SECONDS
    while not is_so():
        assert monotonic() < end, "it did not happen"
        sleep(0.002)


@contextmanager
def served(*engines: Engine, settings: Settings = PATIENT, keys: Keys | None = None) -> Iterator[Served]:
    """Run a gateway before workers with these engines, one each."""
    with _in_a_thread(partial(_open, engines, settings, keys)) as gateway:
        yield gateway


@contextmanager
def served_by_llama(models: Sequence[Path], *more: Engine) -> Iterator[Served]:
    """Run one before llama.cpp with the demo model and others, and further engines."""

    @asynccontextmanager
    async def opens() -> AsyncIterator[Served]:
        async with AsyncExitStack() as stack:
            opened = [
                await stack.enter_async_context(open_llamacpp(model, slots=2, threads=1))
                for model in (demo_model(), *models)
            ]
            yield await stack.enter_async_context(_open((*opened, *more), PATIENT, None))

    with _in_a_thread(opens) as gateway:
        yield gateway


@asynccontextmanager
async def _open(engines: Sequence[Engine], settings: Settings, keys: Keys | None) -> AsyncIterator[Served]:
    async with open_overlay(engines=engines) as overlay, trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve, overlay.client, settings, keys=keys))
        yield Served(url, overlay)
        nursery.cancel_scope.cancel()


@contextmanager
def _in_a_thread(opens: Callable[[], AbstractAsyncContextManager[Served]]) -> Iterator[Served]:
    opened: list[Served] = []

    @asynccontextmanager
    async def noted() -> AsyncIterator[Served]:
        async with opens() as gateway:
            opened.append(gateway)
            yield gateway

    with sync.open_portal(noted), opened[0].clients:
        yield opened[0]
