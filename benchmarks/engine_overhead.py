"""What our engine costs on top of bare xllamacpp, in the same process and on the same loaded model.

    python benchmarks/engine_overhead.py [--model FILE.gguf] [--rounds N] [--tokens N]

Each round streams the same answers twice, in turn: through `open_llamacpp`'s engine to a
trio task, and through the library to a callback that does nothing; who begins alternates.
The ratio of the two rates is taken within a round, so that a busy machine disturbs both;
the ratio of processor time, which a busy machine disturbs less, stands beside it. Also
printed: how soon a slot is free after its reader left, and how long other trio tasks had to
wait meanwhile.
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
from _random_model import PARAMETERS, write_random_model

from cocoon_p2p.inference.engine import Engine, GenerateRequest
from cocoon_p2p.inference.llama_engine import LlamaCppEngine
from cocoon_p2p.inference.llamacpp import open_llamacpp

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
    "Of the whole process, a token."


@dataclass(frozen=True, slots=True)
class Round:
    bare: Run
    ours: Run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="by default a random one of 114 million parameters")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=128, help="of each answer")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if model is None:
            model = Path(folder, "random.gguf")
            write_random_model(model)
            print(f"random model, {PARAMETERS / 1e6:.0f} million parameters")
        trio.run(measure, model, arguments.rounds, arguments.tokens)


async def measure(model: Path, rounds: int, tokens: int) -> None:
    started = time.perf_counter()
    async with open_llamacpp(model, slots=SLOTS, context_tokens=512) as engine:
        print(f"{engine.capabilities.engine}, open after {time.perf_counter() - started:.2f} s")
        for streams in (1, SLOTS):
            await _round(engine, streams, tokens)  # Warm up: caches, threads, allocator.
            results = [
                await _round(engine, streams, tokens, ours_first=bool(number % 2)) for number in range(rounds)
            ]
            _report(streams, results)
        await _report_cancels(engine)
        await _report_lag(engine, tokens)


async def _round(engine: Engine, streams: int, tokens: int, *, ours_first: bool = False) -> Round:
    if ours_first:
        ours = await _timed(_ours, engine, streams, tokens)
        return Round(await _timed(_bare_in_thread, engine, streams, tokens), ours)
    bare = await _timed(_bare_in_thread, engine, streams, tokens)
    return Round(bare, await _timed(_ours, engine, streams, tokens))


async def _timed(
    run: Callable[[Engine, int, int], Awaitable[None]], engine: Engine, streams: int, tokens: int
) -> Run:
    started, processor = time.perf_counter(), time.process_time()
    await run(engine, streams, tokens)
    total = streams * tokens
    return Run(total / (time.perf_counter() - started), (time.process_time() - processor) / total)


async def _bare_in_thread(engine: Engine, streams: int, tokens: int) -> None:
    await trio.to_thread.run_sync(_bare, engine, streams, tokens)


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
    threads = [
        threading.Thread(target=server.handle_completions, args=(body, lambda _: False))
        for _ in range(streams)
    ]
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


def _report(streams: int, results: Sequence[Round]) -> None:
    bare, ours = (median(getattr(result, way).rate for result in results) for way in ("bare", "ours"))
    extra = median(result.ours.processor_seconds - result.bare.processor_seconds for result in results)
    rates = [result.ours.rate / result.bare.rate for result in results]
    costs = [result.ours.processor_seconds / result.bare.processor_seconds for result in results]
    print(f"{streams} stream(s), {len(results)} rounds: bare {bare:.1f} tokens/s, ours {ours:.1f} tokens/s")
    print(f"  rate, ours to bare:           {_spread(rates)}")
    print(f"  processor time, ours to bare: {_spread(costs)}, {1e6 * extra:+.0f} us a token")


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
    print(f"slot free after its reader left: {median(milliseconds):.1f} ms, {max(milliseconds):.1f} at most")


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
        f"lag of other tasks with {SLOTS} streams: {1e3 * median(lags):.2f} ms, {1e3 * p99:.2f} at the 99th "
        f"percentile, {1e3 * lags[-1]:.2f} at most"
    )


if __name__ == "__main__":
    main()
