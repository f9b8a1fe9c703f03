"""One end of a pair that `transport.py` measures: a process that does what lines of JSON tell it.

    python benchmarks/_transport_peer.py ours|stock|bare noise|tls

    > {"address": "..."}                                 where it listens
    < {"do": "round_trip", "times": 500}                 > {"seconds": [0.0002, ...]}

tests/interop/peer/bench.mjs is the same for js-libp2p.
"""

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import trio
from _transport_nodes import ECHO, NODES, SINK, Node, Stream

BLOCK_BYTES = 64 * 1024
SETTLE_SECONDS = 0.03
"Between measured connections: what the ends have to tell each other on a new one is told by then."

Answer = dict[str, Any]
Command = Callable[..., Awaitable[Answer]]


class Peer:
    """What may be told to do."""

    def __init__(self, node: Node, security: str, kind: str) -> None:
        self._node = node
        self._kind = kind
        self._security = security
        self._is_connected = False
        self._crowd: list[Node] = []
        self._stack = AsyncExitStack()

    async def connect(self, address: str, times: int) -> Answer:
        """Connect, some times over, and stay connected in the end."""
        seconds = list[float]()
        for _ in range(times):
            if self._is_connected:
                await self._node.hang_up()
                await trio.sleep(SETTLE_SECONDS)
            self._is_connected = True
            started = time.perf_counter()
            await self._node.dial(address)
            seconds.append(time.perf_counter() - started)
            await trio.sleep(SETTLE_SECONDS)
        return {"seconds": seconds}

    async def open(self, times: int) -> Answer:
        """Open streams and let each carry one echo; also give how long the opening alone took."""
        opened, echoed = list[float](), list[float]()
        for _ in range(times):
            started = time.perf_counter()
            stream = await self._node.open(ECHO)
            opened.append(time.perf_counter() - started)
            await stream.write(bytes(64))
            await read_exactly(stream, 64)
            echoed.append(time.perf_counter() - started)
            await end(stream)
        return {"seconds": echoed, "opened": opened}

    async def open_negotiated(self, times: int) -> Answer:
        """Open streams whose protocol the other side must agree to first."""
        seconds = list[float]()
        for _ in range(times):
            started = time.perf_counter()
            stream = await self._node.open_negotiated(ECHO)
            seconds.append(time.perf_counter() - started)
            await end(stream)
        return {"seconds": seconds}

    async def round_trip(self, times: int) -> Answer:
        """Send 64 bytes on one stream, wait for them, and again."""
        stream, message = await self._node.open(ECHO), bytes(64)
        await stream.write(message)
        await read_exactly(stream, 64)
        seconds = list[float]()
        for _ in range(times):
            started = time.perf_counter()
            await stream.write(message)
            await read_exactly(stream, 64)
            seconds.append(time.perf_counter() - started)
        await end(stream)
        return {"seconds": seconds}

    async def send(self, streams: int, size: int, block: int = BLOCK_BYTES) -> Answer:
        """Send `size` bytes over some streams at once, in writes of `block`, until the last has been read."""
        data = bytes(block)
        opened = [await self._node.open(SINK) for _ in range(streams)]
        started = time.perf_counter()

        async def pour(stream: Stream) -> None:
            count = size // block // streams
            for _ in range(count):
                await stream.write(data)
            received = int(await end(stream))
            if received != count * block:
                raise SystemExit(f"bytes were lost (sent={count * block} received={received})")

        async with trio.open_nursery() as nursery:
            for stream in opened:
                nursery.start_soon(pour, stream)
        return {"seconds": [time.perf_counter() - started]}

    async def prepare(self, count: int) -> Answer:
        """Start more nodes here, each with a key of its own."""
        for _ in range(count):
            node = await self._stack.enter_async_context(NODES[self._kind](self._security))
            self._crowd.append(node)
        return {}

    async def crowd(self, address: str) -> Answer:
        """Connect all of those, a few at a time."""
        places = trio.CapacityLimiter(8)

        async def dial(node: Node) -> None:
            async with places:
                await node.dial(address)

        async with trio.open_nursery() as nursery:
            for node in self._crowd:
                nursery.start_soon(dial, node)
        await trio.sleep(2)
        return {}


async def read_exactly(stream: Stream, size_bytes: int) -> None:
    """Read what an echo brings back."""
    while size_bytes:
        size_bytes -= len(await stream.read())


async def end(stream: Stream) -> bytes:
    """Close our side, and give what the other says until it closes its own."""
    said = b""
    await stream.close_write()
    while data := await stream.read():
        said += data
    return said


async def lines() -> AsyncIterator[bytes]:
    """Read the commands."""
    rest = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
        async for data in stdin:
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield line


async def main(kind: str, security: str) -> None:
    """Listen, and do what comes in."""
    async with NODES[kind](security) as node:
        print(json.dumps({"address": node.address}), flush=True)
        peer = Peer(node, security, kind)
        async for line in lines():
            command = json.loads(line)
            do: Command = getattr(peer, command.pop("do"))
            print(json.dumps(await do(**command)), flush=True)
        os._exit(0)  # Five hundred nodes need not say goodbye.


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
