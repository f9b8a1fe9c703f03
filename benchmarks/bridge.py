"""What the asyncio face costs over the client on trio: a call, a streamed token, the host loop's lag.

The same pieces come from the same source in each pair: read on trio itself, and through the bridge by
asyncio and by uvloop. Nothing is bought, so that nothing hides what the bridge costs.

    python benchmarks/bridge.py [--quick]

Goals: 60 us a call and 20 us a token over trio's own, 5 ms more lag at p99.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import trio
import uvloop
from _measure import print_machine, read_arguments, spread

from cocoon_p2p import client as on_trio
from cocoon_p2p.aio.client import Client
from cocoon_p2p.aio.opening import open_portal
from cocoon_p2p.client import Piece
from cocoon_p2p.client.answer import Report

CALLS = 2_000
TOKENS = 20_000
STREAMS = 50
TOKENS_A_SECOND = 100
LAG_SECONDS = 5.0
LAG_STEP_SECONDS = 0.005


class Source:
    """Pieces without end, a token each, as fast as they are taken or at a rate."""

    def __init__(self, tokens: int, rate: float | None = None) -> None:
        self._left = tokens
        self._rate = rate
        self._count = 0

    async def take(self) -> Piece | None:
        if self._rate is None:
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(1 / self._rate)
        if not self._left:
            return None
        self._left -= 1
        self._count += 1
        return Piece("token ", self._count)


class Stand:
    """What stands for a client: a call that does nothing, and answers from a source."""

    async def models(self) -> tuple[()]:
        await trio.lowlevel.checkpoint()
        return ()

    @asynccontextmanager
    async def chat(self, model: str, messages: object, **wishes: Any) -> AsyncIterator[on_trio.Answer]:
        yield on_trio.Answer(Source(int(model), cast("float | None", messages)), Report())


@asynccontextmanager
async def open_stand() -> AsyncIterator[on_trio.Client]:
    yield cast("on_trio.Client", Stand())


async def on_trio_itself() -> tuple[float, float]:
    """Seconds a call and a token."""
    stand = Stand()
    start = time.perf_counter()
    for _ in range(CALLS):
        await stand.models()
    called = time.perf_counter()
    async with stand.chat(str(TOKENS), None) as answer:
        async for _ in answer:
            pass
    return (called - start) / CALLS, (time.perf_counter() - called) / TOKENS


async def on_the_bridge() -> tuple[float, float]:
    """Seconds a call and a token."""
    async with open_portal(open_stand) as portal:
        client = Client(portal)
        start = time.perf_counter()
        for _ in range(CALLS):
            await client.models()
        called = time.perf_counter()
        async with client.chat(str(TOKENS), cast("Any", None)) as answer:
            async for _ in answer:
                pass
        return (called - start) / CALLS, (time.perf_counter() - called) / TOKENS


async def bare_turn() -> float:
    """Seconds that two threads take to wake each other, and nothing else."""
    async with open_portal(open_stand) as portal:
        loop = asyncio.get_running_loop()
        start = time.perf_counter()
        for _ in range(CALLS):
            back = loop.create_future()
            portal.post(partial(loop.call_soon_threadsafe, back.set_result, None))
            await back
        return (time.perf_counter() - start) / CALLS


async def lag(streams: int) -> float:
    """The 99th percentile of how late the host loop wakes, in seconds, beside so many streams."""

    async def read(client: Client) -> None:
        async with client.chat(
            str(int(LAG_SECONDS * TOKENS_A_SECOND)), cast("Any", TOKENS_A_SECOND)
        ) as answer:
            async for _ in answer:
                pass

    late: list[float] = []
    async with open_portal(open_stand) as portal, asyncio.TaskGroup() as tasks:
        for _ in range(streams):
            tasks.create_task(read(Client(portal)))
        end = time.perf_counter() + LAG_SECONDS
        while (now := time.perf_counter()) < end:
            await asyncio.sleep(LAG_STEP_SECONDS)
            late.append(time.perf_counter() - now - LAG_STEP_SECONDS)
    return sorted(late)[int(len(late) * 0.99)]


def main() -> None:
    rounds = 1 if read_arguments(__doc__).quick else 10
    print_machine()
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {
        "asyncio": None,
        "uvloop": uvloop.new_event_loop,
    }
    calls: dict[str, list[float]] = {name: [] for name in loops}
    tokens: dict[str, list[float]] = {name: [] for name in loops}
    turns: dict[str, list[float]] = {name: [] for name in loops}
    quiet: list[float] = []
    beside: list[float] = []
    for _ in range(rounds):
        call, token = trio.run(on_trio_itself)
        for name, factory in loops.items():
            with asyncio.Runner(loop_factory=factory) as runner:
                found = runner.run(on_the_bridge())
                turns[name].append(runner.run(bare_turn()) * 1e6)
            calls[name].append((found[0] - call) * 1e6)
            tokens[name].append((found[1] - token) * 1e6)
        quiet.append(asyncio.run(lag(0)) * 1e3)
        beside.append(asyncio.run(lag(STREAMS)) * 1e3)
    for name in loops:
        print(f"{name}: a call, over trio's own: {spread(calls[name], 'us', 1)}, goal 60")
        print(f"{name}: two threads that wake each other, bare: {spread(turns[name], 'us', 1)}")
        print(f"{name}: a token, over trio's own: {spread(tokens[name], 'us', 1)}, goal 20")
    added = [after - before for before, after in zip(quiet, beside, strict=True)]
    print(f"the host loop's lag at p99: {spread(quiet, 'ms')} quiet, {spread(beside, 'ms')} beside")
    print(f"{STREAMS} streams of {TOKENS_A_SECOND} tokens/s; added: {spread(added, 'ms')}, goal 5")


if __name__ == "__main__":
    main()
