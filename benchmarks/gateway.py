"""Our gateway beside LiteLLM's proxy and sglang's router: requests, added latency, streamed tokens.

    make bench-peers; python benchmarks/gateway.py [--quick]

The same load script asks each in turn. Behind the others stands a server that computes nothing; behind ours
the network: the gateway's process is the client, which finds, quotes, checks, seals and pays by voucher;
a proxy and a worker are processes of their own, as `cocoon demo` has them, and the worker's engine is a
script. All of it shares this machine's processors, so "requests/s" is what the whole chain does on them, and
processor time is told of the gateway's process and of all of the chain's.

Latency is one request at a time; what a server adds is that, less what the server without a gateway takes in
the same round.

Goals: 4 times LiteLLM's requests/s, half its added latency (8 times and a quarter are what is aimed at).
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import trio
from _gateways import HERE, PEERS, Served, litellm, ours, sglang_router, stub
from _measure import print_machine, processor_seconds, read_arguments, spread
from _stub_upstream import MODEL

TOKENS = 32
STREAM_TOKENS = 128
CONCURRENCY = 16
SECONDS = 1.2


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a server, as `_http_load.py` has it."""

    name: str
    concurrency: int
    tokens: int
    form: str


ONE = Load("one whole answer at a time", 1, TOKENS, "whole")
ONE_STREAM = Load("one stream at a time", 1, TOKENS, "stream")
WHOLE = Load(f"{CONCURRENCY} whole answers at once", CONCURRENCY, TOKENS, "whole")
STREAM = Load(f"{CONCURRENCY} streams at once", CONCURRENCY, STREAM_TOKENS, "stream")
LOADS = (ONE, ONE_STREAM, WHOLE, STREAM)


@dataclass(frozen=True, slots=True)
class Found:
    """What one run of the load script told."""

    answers_per_second: float
    whole_ms: float
    first_ms: float
    gateway_ms: float
    "Processor time of the gateway's process, an answer."

    chain_ms: float
    "Of that and all that stands behind it."


Round = dict[tuple[str, Load], Found]
"By the server's name and the load."


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), 1 if arguments.quick else 5)


async def measure(place: Path, rounds: int) -> None:
    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(stub())
        servers = [bare]
        if (PEERS / "litellm").exists():
            servers.append(await stack.enter_async_context(litellm(bare, place)))
            servers.append(await stack.enter_async_context(sglang_router(bare)))
        else:
            print("LiteLLM and sglang-router are not here: make bench-peers")
        servers.append(await stack.enter_async_context(ours(place)))
        for served in servers:
            # The first requests find, dial, open and compile.
            for load in LOADS:
                await _ask(served, load, seconds=1.0)
        found = [await _round(servers) for _ in range(rounds)]
    _report([served.name for served in servers], found)


async def _round(servers: Sequence[Served]) -> Round:
    return {(served.name, load): await _ask(served, load, SECONDS) for load in LOADS for served in servers}


async def _ask(served: Served, load: Load, seconds: float) -> Found:
    numbers = (load.concurrency, seconds, load.tokens, load.form)
    command = [sys.executable, str(HERE / "_http_load.py"), served.url, served.key, MODEL, *map(str, numbers)]
    before = {name: processor_seconds(pid) for name, pid in served.pids.items()}
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode:
        sys.exit(f"{served.name}, {load.name}: {done.stderr.decode()}")
    spent = {name: processor_seconds(pid) - before[name] for name, pid in served.pids.items()}
    told = json.loads(done.stdout)
    return Found(
        told["answers_per_second"],
        told["whole_ms"],
        told["first_ms"],
        1e3 * spent.get("gateway", 0.0) / told["answers"],
        1e3 * sum(spent.values()) / told["answers"],
    )


def _report(names: Sequence[str], rounds: Sequence[Round]) -> None:
    print(f"{len(rounds)} rounds in turn; median (least to most):")
    for load in LOADS:
        print(f"{load.name}, {load.tokens} tokens each:")
        for name in names:
            _print_one(name, load, rounds)
    if "LiteLLM" not in names:
        return
    print("beside LiteLLM, within a round:")
    for load in (WHOLE, STREAM):
        ratio = _beside(rounds, lambda each, name, load=load: each[name, load].answers_per_second)
        print(f"  {load.name}: {spread(ratio)} times its requests/s, goal 4")
    for load, what in ((ONE, "whole answer"), (ONE_STREAM, "stream to its end")):
        ratio = _beside(rounds, lambda each, name, load=load: _added(each, name, load))
        print(f"  added to a {what}: {spread(ratio)} of what it adds, goal 0.5")
    ratio = _beside(rounds, lambda each, name: _added_first(each, name))
    print(f"  added to a stream's first byte: {spread(ratio)} of what it adds, goal 0.5")
    for load in (WHOLE, STREAM):
        ratio = _beside(rounds, lambda each, name, load=load: each[name, load].gateway_ms)
        print(f"  {load.name}: {spread(ratio)} of its process's processor time")


def _print_one(name: str, load: Load, rounds: Sequence[Round]) -> None:
    found = [each[name, load] for each in rounds]
    rates = [one.answers_per_second for one in found]
    print(f"  {name:<14}{spread(rates, 'requests/s', 1)}")
    if load.form == "stream":
        print(f"{'':<16}{spread([load.tokens * rate for rate in rates], 'tokens/s', 0)}")
        print(f"{'':<16}first byte {spread([one.first_ms for one in found], 'ms')}")
    print(f"{'':<16}each {spread([one.whole_ms for one in found], 'ms')}")
    if any(one.gateway_ms for one in found):
        print(
            f"{'':<16}processor: the gateway {spread([one.gateway_ms for one in found], 'ms')}, "
            f"with all behind it {spread([one.chain_ms for one in found], 'ms')}"
        )


def _beside(rounds: Sequence[Round], value: Callable[[Round, str], float]) -> list[float]:
    """Give our value in each round as a share of LiteLLM's."""
    return [value(each, "ours") / value(each, "LiteLLM") for each in rounds]


def _added(each: Round, name: str, load: Load) -> float:
    return each[name, load].whole_ms - each["no gateway", load].whole_ms


def _added_first(each: Round, name: str) -> float:
    return each[name, ONE_STREAM].first_ms - each["no gateway", ONE_STREAM].first_ms


if __name__ == "__main__":
    main()
