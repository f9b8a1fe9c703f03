"""How much later the first token comes through client, proxy and worker than from the bare engine.

    python benchmarks/first_token.py [--quick]

A bootstrap node, a proxy and a worker with the demo model run as real processes; the client is
this process, and so is a second engine with the same model. Each round asks both the same new
prompt, in turn; who begins alternates.

Printed beside it: what one flush of this disk takes, because vouchers are saved before they
count; and how long the three processes' main threads were ready and had no processor until the
first token came. On a busy machine those waits are longer than all the work; some of them pass beside
each other or beside a disk's, so they cannot simply be taken off.

The goal is 10 ms more at the median, over loopback, on a machine that does nothing else.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import trio
from _measure import (
    flush_seconds,
    milliseconds,
    print_machine,
    read_arguments,
    spread,
    waiting_seconds,
)

from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.engine import ChatMessage, Engine, GenerateRequest
from cocoon_p2p.inference.llamacpp import open_llamacpp
from cocoon_p2p.node import open_client
from cocoon_p2p.testing.processes import open_local_network

GOAL_MILLISECONDS = 10
TOKENS = 4
"Of each answer: only the first is measured."


@dataclass(frozen=True, slots=True)
class Round:
    """One prompt asked both ways. All in seconds."""

    engine: float
    network: float
    waited: float
    "For a processor, in the network's way, by the main threads of client, proxy and worker together."

    flush: float

    @property
    def more(self) -> float:
        return self.network - self.engine


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), 5 if arguments.quick else 100)


async def measure(place: Path, count: int) -> None:
    # The engine comes first: while it loads its model this process answers nobody.
    async with (
        open_llamacpp(demo_model()) as engine,
        open_local_network(place, workers=1) as network,
        open_client(load(ClientFile, network.client_file, {})) as client,
    ):
        pids = [os.getpid(), *(network.nodes[name].pid for name in ("proxy", "worker-1"))]
        opening, _ = await _through_network(client, _prompt(0), pids)
        await _from_engine(engine, _prompt(0))
        rounds = [
            await _round(client, engine, _prompt(number), pids, place, ours_first=bool(number % 2))
            for number in range(1, count + 1)
        ]
    _report(opening, rounds)


async def _round(
    client: Client, engine: Engine, prompt: str, pids: list[int], place: Path, *, ours_first: bool
) -> Round:
    flush = flush_seconds(place)
    if ours_first:
        first, waited = await _through_network(client, prompt, pids)
        return Round(await _from_engine(engine, prompt), first, waited, flush)
    direct = await _from_engine(engine, prompt)
    first, waited = await _through_network(client, prompt, pids)
    return Round(direct, first, waited, flush)


def _prompt(number: int) -> str:
    return f"Question {number}: what is the sum of {number} and {7 * number}?"


async def _through_network(client: Client, prompt: str, pids: list[int]) -> tuple[float, float]:
    """Time the first token of a paid answer, and its processes' waits for a processor until then.

    The answer is read and settled before this returns.
    """
    before = sum(map(waiting_seconds, pids))
    started = time.perf_counter()
    async with client.chat(
        "cocoon-demo",
        [{"role": "user", "content": prompt}],
        completion_tokens_max=TOKENS,
        ignore_eos=True,
        timeout_seconds=60,
    ) as answer:
        first = time.perf_counter() - started
        waited = sum(map(waiting_seconds, pids)) - before
        await answer.read()
    return first, waited


async def _from_engine(engine: Engine, prompt: str) -> float:
    """Time the first token of the engine alone."""
    request = GenerateRequest(
        engine.capabilities.models[0].name,
        messages=(ChatMessage("user", prompt),),
        completion_tokens_max=TOKENS,
        ignore_eos=True,
    )
    first = 0.0
    started = time.perf_counter()
    async with engine.generate(request) as pieces:
        async for piece in pieces:
            if piece.text and not first:
                first = time.perf_counter() - started
    return first


def _report(opening: float, rounds: list[Round]) -> None:
    print(f"first token, {len(rounds)} prompts each way; median (least to most):")
    print(f"  engine alone        {milliseconds([each.engine for each in rounds])}")
    print(f"  through the network {milliseconds([each.network for each in rounds])}")
    print(
        f"  more                {milliseconds([each.more for each in rounds])}, goal {GOAL_MILLISECONDS} ms"
    )
    print(f"    a quarter of rounds at most {1e3 * quantiles([each.more for each in rounds], n=4)[0]:.1f} ms")
    print(f"  waited for processors {milliseconds([each.waited for each in rounds])}")
    print(f"  ratio               {spread([each.network / each.engine for each in rounds])}")
    print(f"  one flush of disk   {milliseconds([each.flush for each in rounds])}")
    print(f"  the very first      {1e3 * opening:.0f} ms (finds the proxy, dials it, opens channels, greets)")


if __name__ == "__main__":
    main()
