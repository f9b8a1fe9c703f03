"""What a proxy spends on a token that it relays, beside a bare trio TCP forwarder of the same frames.

    python benchmarks/relay.py [--quick]

Client (this process), proxy and workers are processes of their own that speak libp2p over real
sockets; every token is sealed, covered by vouchers and paid. The workers' engine is scripted, so
that the network is what is measured. Two ways:

    one token a frame   32 answers of 95 tokens/s each: a frame a token
    coalesced           32 answers of 760 tokens/s each: eight tokens a frame, as the worker joins them

Each round measures the proxy and then the forwarder, which carries frames of the same size, as
often, on as many streams. All processes share the machine, so the rate is what all of them achieve
together; what the proxy alone could carry is told by its processor time a token.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import trio
from _bare_relay import HEAD_SIZE_BYTES, READ_SIZE_BYTES
from _measure import print_machine, processor_seconds, read_arguments, spread
from _network import scripted_worker, wait_offered

from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.node import open_client
from cocoon_p2p.protocols.framing import frame
from cocoon_p2p.protocols.ids import CHUNK_TOKENS, SEAL_SIZE_BYTES
from cocoon_p2p.protocols.messages import Chunk, ExchangeId, Usage
from cocoon_p2p.testing.processes import open_local_network

STREAMS = 32
PAUSE_SECONDS = 0.0105
"Just above the worker's 10 ms, within which it would put two tokens into one frame."

BARE_RELAY = Path(__file__).with_name("_bare_relay.py")


@dataclass(frozen=True, slots=True)
class Way:
    """How the worker's engine speaks."""

    name: str
    model: str
    frame_tokens: int
    goal_per_second: int


WAYS = (
    Way("one token a frame", "slow", 1, 2_000),
    Way("coalesced", "fast", CHUNK_TOKENS, 20_000),
)


@dataclass(frozen=True, slots=True)
class Window:
    """What passed in a span of time, and what it cost the process in the middle."""

    tokens: int
    frames: int
    seconds: float
    processor_seconds: float

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    @property
    def microseconds_per_token(self) -> float:
        return 1e6 * self.processor_seconds / max(self.tokens, 1)

    @property
    def microseconds_per_frame(self) -> float:
        return 1e6 * self.processor_seconds / max(self.frames, 1)


@dataclass(slots=True)
class Tally:
    tokens: int = 0
    frames: int = 0
    begun: int = 0


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    rounds, seconds = (1, 1.0) if arguments.quick else (5, 2.5)
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), rounds, seconds)


async def measure(place: Path, rounds: int, seconds: float) -> None:
    slow, fast = (
        partial(
            scripted_worker,
            model=way.model,
            delay_seconds=PAUSE_SECONDS,
            step_tokens=way.frame_tokens,
            slots=STREAMS,
        )
        for way in WAYS
    )
    async with (
        open_local_network(place, workers=0) as network,
        slow(network),
        fast(network),
        open_client(load(ClientFile, network.client_file, {})) as client,
    ):
        await wait_offered(client, *(way.model for way in WAYS))
        proxy = network.nodes["proxy"].pid
        for way in WAYS:
            # The sealing session with the worker is made before 32 answers would each make one.
            async with client.complete(way.model, "go", completion_tokens_max=1, ignore_eos=True):
                pass
            ours: list[Window] = []
            bare: list[Window] = []
            for _ in range(rounds):
                ours.append(await _through_proxy(client, way, proxy, seconds))
                bare.append(await _through_bare(way, seconds))
            _report(way, ours, bare)


# ---------------------------------------------------------------- the proxy


async def _through_proxy(client: Client, way: Way, proxy: int, seconds: float) -> Window:
    """Stream answers, and count for a while once all of them run."""
    tally = Tally()
    async with trio.open_nursery() as nursery:
        for _ in range(STREAMS):
            nursery.start_soon(_answer, client, way, tally)
        while tally.begun < STREAMS:  # noqa: ASYNC110
            await trio.sleep(0.05)
        window = await _window(tally, proxy, seconds)
        nursery.cancel_scope.cancel()
    return window


async def _answer(client: Client, way: Way, tally: Tally) -> None:
    async with client.complete(
        way.model, "go", completion_tokens_max=50_000, ignore_eos=True, timeout_seconds=300
    ) as answer:
        tally.begun += 1
        before = 0
        async for piece in answer:
            tally.tokens += piece.completion_tokens - before
            tally.frames += 1
            before = piece.completion_tokens


async def _window(tally: Tally, pid: int, seconds: float) -> Window:
    tokens, frames = tally.tokens, tally.frames
    started, processor = time.perf_counter(), processor_seconds(pid)
    await trio.sleep(seconds)
    spent = processor_seconds(pid) - processor
    return Window(tally.tokens - tokens, tally.frames - frames, time.perf_counter() - started, spent)


# ---------------------------------------------------------------- the bare forwarder


async def _through_bare(way: Way, seconds: float) -> Window:
    """Let frames of the same size pass a forwarder, and count for a while."""
    size_bytes = _frame_size_bytes(way)
    tally = Tally()
    async with _process("forward") as forwarder:
        assert forwarder.stdout is not None
        port = int(await forwarder.stdout.receive_some(16))
        async with trio.open_nursery() as nursery:
            for number in range(STREAMS):
                nursery.start_soon(_sink, port, number, tally, size_bytes, way.frame_tokens)
            async with _process("send", str(port), str(STREAMS), str(size_bytes), str(PAUSE_SECONDS)):
                while tally.begun < STREAMS:  # noqa: ASYNC110
                    await trio.sleep(0.05)
                window = await _window(tally, forwarder.pid, seconds)
                nursery.cancel_scope.cancel()
    return window


async def _sink(port: int, number: int, tally: Tally, size_bytes: int, frame_tokens: int) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(b"r" + number.to_bytes(HEAD_SIZE_BYTES, "big"))
    unread = 0
    is_first = True
    while data := await stream.receive_some(READ_SIZE_BYTES):
        tally.begun += is_first
        is_first = False
        frames, unread = divmod(unread + len(data), size_bytes)
        tally.frames += frames
        tally.tokens += frames * frame_tokens


@asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [sys.executable, str(BARE_RELAY), *arguments], stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def _frame_size_bytes(way: Way) -> int:
    """Say how long a chunk of so many tokens is, on the hop from worker to proxy."""
    tokens = 10_000
    sealed = bytes(len(" token") * way.frame_tokens + 8 + SEAL_SIZE_BYTES)
    return len(frame(Chunk(ExchangeId(bytes(16)), tokens, False, Usage(3, 0, tokens, 0), sealed)))


# ---------------------------------------------------------------- the report


def _report(way: Way, ours: list[Window], bare: list[Window]) -> None:
    per_frame = sum(each.tokens for each in ours) / max(sum(each.frames for each in ours), 1)
    rates = [each.rate for each in ours]
    shares = [100 * each.processor_seconds / each.seconds for each in ours]
    costs = [each.microseconds_per_token for each in ours]
    ratios = [
        mine.microseconds_per_frame / theirs.microseconds_per_frame
        for mine, theirs in zip(ours, bare, strict=True)
        if theirs.processor_seconds
    ]
    size_bytes = _frame_size_bytes(way)
    a_core = 1e6 / median(costs)
    print(f"{way.name}: {STREAMS} answers, {per_frame:.2f} tokens a frame, frames of {size_bytes} bytes")
    print(f"  achieved together  {spread(rates, 'tokens/s', 0)}, goal {way.goal_per_second}")
    print(f"  bare forwarder     {spread([each.rate for each in bare], 'tokens/s', 0)}")
    print(f"  proxy's processor  {spread(costs, 'us a token', 1)}: {a_core:.0f} tokens/s a core")
    print(f"  bare's processor   {spread([each.microseconds_per_token for each in bare], 'us a token', 1)}")
    print(f"  proxy's share      {spread(shares, '% of a core', 0)}")
    print(f"  processor time per frame, proxy to bare: {spread(ratios, '', 1)}", flush=True)


if __name__ == "__main__":
    main()
