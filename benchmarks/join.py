"""How long it takes from `cocoon worker FILE` until somebody else sees that worker, and buys from it.

    python benchmarks/join.py [--quick]

Bootstrap and proxy run already; the worker is a new one each time (new key, new ledger, a model
name of its own) and is told of no proxy: it finds one in the directory. The buyer is this process,
which searches the directory as a node of its own, again and again with a fifth of a second between
two searches, and buys once somebody offers that name. Beside it: a process that only loads the same
model with the same library, which no worker can do without.

The goals are 5 s until it is seen, and 10 s until its first token.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from _measure import milliseconds, print_machine, read_arguments, spread, waiting_seconds
from _network import write_worker_file

from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.identity import Identity, NetworkId, network_id
from cocoon_p2p.network.directory import Directory
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.libp2p.kad import open_directory
from cocoon_p2p.node import open_client
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.records import check_record
from cocoon_p2p.testing.processes import LocalNetwork, NodeProcess, open_local_network

PAUSE_SECONDS = 0.2
"Between two looks, or two tries to buy."

SEEN, FIRST_TOKEN, ANSWER = "seen by a third node", "first token bought", "answer settled"
WAITED = "of that, the worker waited for a processor"
GOALS_SECONDS = {SEEN: 5, FIRST_TOKEN: 10}
HELLO = [{"role": "user", "content": "Hello"}]
LOAD_MODEL = """
import trio
from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.llamacpp import open_llamacpp
async def main():
    async with open_llamacpp(demo_model()):
        pass
trio.run(main)
"""

Steps = dict[str, float]
"Seconds from the start of the process to each step."


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), 1 if arguments.quick else 7)


async def measure(place: Path, count: int) -> None:
    joins: list[Steps] = []
    loads: list[float] = []
    async with (
        open_local_network(place, workers=0) as network,
        open_client(load(ClientFile, network.client_file, {})) as client,
        third_node(network) as directory,
    ):
        for number in range(count):
            loads.append(await _load_model())
            joins.append(await _join(network, client, directory, f"join-{number}"))
    _report(joins, loads)


async def _load_model() -> float:
    started = time.perf_counter()
    await trio.run_process([sys.executable, "-c", LOAD_MODEL], stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


async def _join(network: LocalNetwork, client: Client, directory: Directory, name: str) -> Steps:
    """Start a worker, buy from it, and stop it."""
    steps: Steps = {}
    file = write_worker_file(network, name, is_proxy_named=False)
    started = time.perf_counter()

    def note(_name: str, step: dict[str, Any]) -> None:
        steps[step["step"]] = time.perf_counter() - started

    node = NodeProcess(name, ("worker", str(file)), file, note)
    async with trio.open_nursery() as nursery:
        await node.start(nursery)
        await _see(directory, network.name, name)
        steps[SEEN] = time.perf_counter() - started
        steps[WAITED] = waiting_seconds(node.pid)
        await _buy(client, name, steps, started)
        await node.stop()
    return steps


async def _see(directory: Directory, network: str, name: str) -> None:
    """Search the directory until a proxy's record says that it offers the model."""
    while name not in await _offered(directory, network_id(network)):  # noqa: ASYNC110  there is no event
        await trio.sleep(PAUSE_SECONDS)


async def _offered(directory: Directory, network: NetworkId) -> set[str]:
    found = [decode_signed(data) for data in await directory.find_proxies()]
    records = [check_record(each, network=network, now=time.time(), role=Role.PROXY) for each in found]
    return {model.name for record in records for model in record.models}


@asynccontextmanager
async def third_node(network: LocalNetwork) -> AsyncIterator[Directory]:
    """A node that knows the bootstrap and nobody else."""
    bootstrap = network.nodes["bootstrap"].steps["listening"]["addresses"]
    async with (
        open_transport(Identity.from_seed(os.urandom(32))) as transport,
        open_directory(transport, network_name=network.name, mode="client", bootstrap=bootstrap) as directory,
    ):
        yield directory


async def _buy(client: Client, name: str, steps: Steps, started: float) -> None:
    """Ask until somebody offers the model."""
    while True:
        try:
            async with client.chat(name, HELLO) as answer:
                steps[FIRST_TOKEN] = time.perf_counter() - started
                await answer.read()
        except (Refused, Unavailable):
            await trio.sleep(PAUSE_SECONDS)
        else:
            steps[ANSWER] = time.perf_counter() - started
            return


def _report(joins: Sequence[Steps], loads: Sequence[float]) -> None:
    print(f"{len(joins)} workers joined; from the start of the process, median (least to most):")
    for step in ("identity", "engine", "registered", SEEN, FIRST_TOKEN, ANSWER):
        goal = f"  (goal: {GOALS_SECONDS[step]} s)" if step in GOALS_SECONDS else ""
        print(f"  {step:<20} {milliseconds([steps[step] for steps in joins])}{goal}")
        if step == SEEN:
            print(f"    {WAITED}: {milliseconds([steps[WAITED] for steps in joins])}")
    print(f"  a process that only loads the model: {milliseconds(loads)}")
    ratios = [steps[FIRST_TOKEN] / bare for steps, bare in zip(joins, loads, strict=True)]
    print(f"  ratio: {spread(ratios)}")


if __name__ == "__main__":
    main()
