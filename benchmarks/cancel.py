"""How soon a worker's slot is free after a client has left an endless answer.

    python benchmarks/cancel.py [--quick]

A proxy runs as a process of its own; the client and a worker with the demo model are in this
one, so that one clock sees both ends, and everything between them passes real sockets. The
generation would go on for ever (`ignore_eos`). Each round leaves one answer bought through the
network and one of the bare engine, after as many tokens. The bare engine lets go after its
current decoding step, so no cancel can be sooner.

The goal is 50 ms, over loopback.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import trio
from _measure import milliseconds, print_machine, read_arguments, spread
from _network import open_worker, wait_offered, write_worker_file

from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.engine import ChatMessage, Engine, GenerateRequest
from cocoon_p2p.inference.llamacpp import open_llamacpp
from cocoon_p2p.node import open_client
from cocoon_p2p.testing.processes import open_local_network
from cocoon_p2p.worker import Worker

GOAL_MILLISECONDS = 50
TOKENS_BEFORE = 8
TOKENS_MAX = 1000
QUESTION = "Count for ever."


@dataclass(frozen=True, slots=True)
class Round:
    """Two answers left. All in seconds."""

    free: float
    "From leaving the block until the worker can give the slot to another."

    settled: float
    "From leaving the block until the client has the settlement."

    engine: float
    "From leaving the bare engine's block until it has let go."


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), 4 if arguments.quick else 60)


async def measure(place: Path, count: int) -> None:
    # The engine comes first: while it loads its model this process answers nobody.
    async with (
        open_llamacpp(demo_model()) as engine,
        open_local_network(place, workers=0) as network,
        open_worker(write_worker_file(network, "worker"), engine) as worker,
        open_client(load(ClientFile, network.client_file, {})) as client,
    ):
        await wait_offered(client, "cocoon-demo")
        await _round(client, worker, engine)
        rounds = [await _round(client, worker, engine) for _ in range(count)]
    _report(rounds)


async def _round(client: Client, worker: Worker, engine: Engine) -> Round:
    free, settled = await _leave_network(client, worker)
    return Round(free, settled, await _leave_engine(engine))


async def _leave_network(client: Client, worker: Worker) -> tuple[float, float]:
    freed = 0.0

    async def watch() -> None:
        nonlocal freed
        slots = worker.slots
        while slots.free < slots.total:
            await slots.changed.wait()
        freed = time.perf_counter()

    async with trio.open_nursery() as nursery:
        async with client.chat(
            "cocoon-demo",
            [{"role": "user", "content": QUESTION}],
            completion_tokens_max=TOKENS_MAX,
            ignore_eos=True,
        ) as answer:
            async for piece in answer:
                if piece.completion_tokens >= TOKENS_BEFORE:
                    break
            assert worker.slots.free < worker.slots.total, "the answer ended by itself"
            nursery.start_soon(watch)
            left = time.perf_counter()
        settled = time.perf_counter()
    assert answer.usage.completion < TOKENS_MAX
    return freed - left, settled - left


async def _leave_engine(engine: Engine) -> float:
    request = GenerateRequest(
        engine.capabilities.models[0].name,
        messages=(ChatMessage("user", QUESTION),),
        completion_tokens_max=TOKENS_MAX,
        ignore_eos=True,
    )
    async with engine.generate(request) as pieces:
        async for piece in pieces:
            if piece.completion_tokens >= TOKENS_BEFORE:
                break
        left = time.perf_counter()
    return time.perf_counter() - left


def _report(rounds: list[Round]) -> None:
    print(f"{len(rounds)} endless answers left; median (least to most):")
    print(
        f"  slot free, through the network {milliseconds([each.free for each in rounds])}, goal "
        f"{GOAL_MILLISECONDS} ms"
    )
    print(f"  slot free, bare engine         {milliseconds([each.engine for each in rounds])}")
    print(f"  more                           {milliseconds([each.free - each.engine for each in rounds])}")
    print(f"  ratio                          {spread([each.free / each.engine for each in rounds], '', 1)}")
    print(f"  client has the settlement      {milliseconds([each.settled for each in rounds])}")


if __name__ == "__main__":
    main()
