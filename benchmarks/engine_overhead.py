"""What our llama.cpp engine costs on top of bare xllamacpp: in the same process, and in one of its own.

    python benchmarks/engine_overhead.py [--model FILE.gguf] [--rounds N] [--tokens N]

Each round streams the same answers in turn, in changing order: through the library to a callback that does
nothing (bare), through `open_llamacpp`'s engine on the same loaded model to a trio task (here), and through
an engine that a child process has loaded (isolated, as a worker runs it). The ratio of two rates is taken
within a round, so that a busy machine disturbs both; the ratio of processor time, which a busy machine
disturbs less, stands beside it.

Before: what one token costs on its way from an engine's thread to the task that reads it, with nothing
computed. After: how soon a slot is free when its reader left, how long other tasks had to wait, and what a
reader that takes nothing costs the others.
"""

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import trio
from _flood_child import FloodEngine, FloodOpening
from _random_model import PARAMETERS, write_random_model

from cocoon_p2p.inference.engine import Engine, GenerateRequest
from cocoon_p2p.inference.isolated import open_isolated
from cocoon_p2p.inference.llama_engine import LlamaCppEngine
from cocoon_p2p.inference.openings import LlamaCppOpening

SLOTS = 4
PROMPT = "Once upon a time"
CANCELS = 20
TICK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Run:
    """One way of streaming, once."""

    rate: float
    "Tokens a second, of all streams together."

    processor_seconds: float
    "Of this process and the engine's, a token."


Way = Callable[[int, int], Awaitable[None]]
"Streams so many answers at once, of so many tokens each."

Round = dict[str, Run]
"By the name of the way."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="by default a random one of 114 million parameters")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=128, help="of each answer")
    arguments = parser.parse_args()
    # For `_flood_child`, which a child of ours runs.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if model is None:
            model = Path(folder, "random.gguf")
            write_random_model(model)
            print(f"random model, {PARAMETERS / 1e6:.0f} million parameters")
        trio.run(measure, model, arguments.rounds, arguments.tokens)


async def measure(model: Path, rounds: int, tokens: int) -> None:
    await _report_way(tokens=200_000)
    settings = LlamaCppOpening(model=model, slots=SLOTS, context_tokens=512)
    started = time.perf_counter()
    async with settings.open(None, None) as here, open_isolated(settings) as isolated:
        print(f"{here.capabilities.engine}, both open after {time.perf_counter() - started:.2f} s")
        ways: dict[str, Way] = {
            "bare": lambda streams, tokens: trio.to_thread.run_sync(_bare, here, streams, tokens),
            "here": lambda streams, tokens: _ours(here, streams, tokens),
            "isolated": lambda streams, tokens: _ours(isolated, streams, tokens),
        }
        for streams in (1, SLOTS):
            await _round(ways, streams, tokens, 0)  # Warm up: caches, threads, allocator.
            _report(streams, [await _round(ways, streams, tokens, number) for number in range(rounds)])
        for name, engine in (("here", here), ("isolated", isolated)):
            print(f"{name}:")
            await _report_cancels(engine)
            await _report_lag(engine, tokens)
            await _report_slow_reader(engine, tokens, rounds)


async def _round(ways: dict[str, Way], streams: int, tokens: int, number: int) -> Round:
    names = list(ways)
    first = number % len(names)
    return {name: await _timed(ways[name], streams, tokens) for name in names[first:] + names[:first]}


async def _timed(way: Way, streams: int, tokens: int) -> Run:
    started, processor = time.perf_counter(), _processor_seconds()
    await way(streams, tokens)
    total = streams * tokens
    return Run(total / (time.perf_counter() - started), (_processor_seconds() - processor) / total)


def _processor_seconds() -> float:
    """Of this process, and of the children that it has."""
    total = time.process_time()
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        # After the name, which may hold anything: the 12th and 13th field are its ticks.
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _bare(engine: Engine, streams: int, tokens: int) -> None:
    """Stream to a callback that does nothing, a thread for each stream, as the engine has."""
    assert isinstance(engine, LlamaCppEngine)
    server = engine._server._server
    assert server is not None
    prompt = engine._server.tokenize(PROMPT)
    request = {
        "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True,
        "cache_prompt": False, "samplers": ["temperature", "top_p"], "top_p": 1.0,
    }  # fmt: skip
    body = json.dumps(request).encode()

    def go_on(_event: bytes) -> bool:
        return False

    threads = [threading.Thread(target=server.handle_completions, args=(body, go_on)) for _ in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _ours(engine: Engine, streams: int, tokens: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(_stream, engine, tokens)


def _request(engine: Engine, tokens: int) -> GenerateRequest:
    name = engine.capabilities.models[0].name
    return GenerateRequest(name, prompt=PROMPT, completion_tokens_max=tokens, ignore_eos=True)


async def _stream(engine: Engine, tokens: int) -> None:
    async with engine.generate(_request(engine, tokens)) as pieces:
        async for _ in pieces:
            pass


async def _report_way(tokens: int) -> None:
    """What a token costs from an engine's thread to the task that reads it."""
    request = GenerateRequest("scripted", prompt=PROMPT, completion_tokens_max=tokens)
    async with open_isolated(FloodOpening(), module="_flood_child") as isolated:
        engines: dict[str, Engine] = {"here": FloodEngine(), "isolated": isolated}
        for name, engine in engines.items():
            costs: list[Run] = []
            for _ in range(5):
                started, processor = time.perf_counter(), _processor_seconds()
                async with engine.generate(request) as pieces:
                    async for _piece in pieces:
                        pass
                seconds = time.perf_counter() - started
                costs.append(Run(tokens / seconds, (_processor_seconds() - processor) / tokens))
            clock = 1e6 / median(cost.rate for cost in costs)
            processor = 1e6 * median(cost.processor_seconds for cost in costs)
            print(f"thread to reader, {name}: {clock:.1f} us a token, {processor:.1f} us of processor time")


def _report(streams: int, results: Sequence[Round]) -> None:
    print(f"{streams} stream(s), {len(results)} rounds")
    for name in results[0]:
        rates = [result[name].rate / result["bare"].rate for result in results]
        costs = [result[name].processor_seconds / result["bare"].processor_seconds for result in results]
        extra = median(
            result[name].processor_seconds - result["bare"].processor_seconds for result in results
        )
        print(
            f"  {name:8} {median(result[name].rate for result in results):7.1f} tokens/s, to bare: "
            f"{_spread(rates)}; processor time to bare: {_spread(costs)}, {1e6 * extra:+.0f} us a token"
        )


async def _report_slow_reader(engine: Engine, tokens: int, rounds: int) -> None:
    """How quick others are beside a reader that takes nothing, to how quick beside one that reads."""
    ratios: list[float] = []
    for _ in range(rounds):
        seconds: dict[bool, float] = {}
        for reads in (True, False):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_read_or_not, engine, tokens, reads)
                started = time.perf_counter()
                await _ours(engine, SLOTS - 1, tokens)
                seconds[reads] = time.perf_counter() - started
                nursery.cancel_scope.cancel()
        ratios.append(seconds[True] / seconds[False])
    print(f"  rate of three beside a reader that takes nothing, to beside one that reads: {_spread(ratios)}")


async def _read_or_not(engine: Engine, tokens: int, reads: bool) -> None:
    async with engine.generate(_request(engine, tokens)) as pieces:
        if not reads:
            await trio.sleep_forever()
        async for _ in pieces:
            pass


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


async def _report_cancels(engine: Engine) -> None:
    """How long leaving an endless answer takes: until its slot can be given to the next."""
    milliseconds: list[float] = []
    for _ in range(CANCELS):
        async with engine.generate(_request(engine, 10_000)) as pieces:
            async for piece in pieces:
                if piece.completion_tokens >= 5:
                    break
            left = time.perf_counter()
        milliseconds.append(1e3 * (time.perf_counter() - left))
    print(
        f"  slot free after its reader left: {median(milliseconds):.1f} ms, {max(milliseconds):.1f} at most"
    )


async def _report_lag(engine: Engine, tokens: int) -> None:
    """How much later than asked for other tasks run while all slots stream."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            started = time.perf_counter()
            await trio.sleep(TICK_SECONDS)
            lags.append(time.perf_counter() - started - TICK_SECONDS)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await _ours(engine, SLOTS, tokens)
        nursery.cancel_scope.cancel()
    lags.sort()
    p99 = lags[int(len(lags) * 0.99)]
    print(
        f"  lag of other tasks with {SLOTS} streams: {1e3 * median(lags):.2f} ms, {1e3 * p99:.2f} at the "
        f"99th percentile, {1e3 * lags[-1]:.2f} at most"
    )


if __name__ == "__main__":
    main()
