"""A worker with any engine beside a network whose proxy is a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from cocoon_p2p.client import Client
from cocoon_p2p.config import WorkerFile, load
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.node import open_parts
from cocoon_p2p.node.proving_side import prove
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.testing.processes import LocalNetwork
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker, serve_worker

PRICE = Price(prompt=4_000, cached=1_000, completion=20_000, reasoning=20_000)

SCRIPTED_WORKER = Path(__file__).with_name("_scripted_worker.py")


def write_worker_file(network: LocalNetwork, name: str, *, is_proxy_named: bool = True) -> Path:
    """Write the config of a worker of this network with the demo model under this name, and give its path."""
    bootstrap, proxy = (
        network.nodes[node].steps["listening"]["addresses"] for node in ("bootstrap", "proxy")
    )
    tables = {
        "worker": {
            "model": "demo",
            "name": name,
            "proxies": proxy[:1] if is_proxy_named else [],
        },
        "network": {"name": network.name, "bootstrap": bootstrap},
        "attestation": {"evidence": "sim"},
        "trust": {"demo": True},
        "data": {"directory": f"{name}-data"},
    }
    file = network.place / f"{name}.toml"
    # JSON's spelling of strings, numbers and lists is TOML's too.
    lines = [
        line
        for table, keys in tables.items()
        for line in (f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()))
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


@asynccontextmanager
async def open_worker(file: Path, engine: Engine) -> AsyncIterator[Worker]:
    """Run a worker in this process while the block runs; its proxies offer it when the block begins."""
    loaded = load(WorkerFile, file, os.environ)
    settings = loaded.settings
    async with (
        open_parts(loaded, mode="client", grant=Nano(settings.worker.grant)) as parts,
        trio.open_nursery() as nursery,
    ):
        serve = partial(
            serve_worker,
            transport=parts.transport,
            identity=parts.identity,
            network=parts.network,
            engine=engine,
            accounts=parts.accounts,
            proxies=[[address] for address in settings.worker.proxies],
            prices={card.name: PRICE for card in engine.capabilities.models},
            proving=await prove(settings.attestation, parts.network, parts.showcase, parts.doorkeeper),
        )
        worker = await nursery.start(serve)
        for proxy in worker.proxies:
            await worker.wait_registered(proxy)
        yield worker
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def scripted_worker(
    network: LocalNetwork, model: str, *, delay_seconds: float, step_tokens: int, slots: int
) -> AsyncIterator[trio.Process]:
    """Run a scripted worker in a process while the block runs; it is registered when the block begins."""
    file = write_worker_file(network, model)
    numbers = map(str, (delay_seconds, step_tokens, slots))
    command = [sys.executable, str(SCRIPTED_WORKER), str(file), model, *numbers]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            said = await process.stdout.receive_some(64)
            assert said.startswith(b"registered"), "the scripted worker did not come up"
            yield process
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


async def wait_offered(client: Client, *models: str) -> None:
    """Wait until the client can buy all of these models."""
    while not set(models) <= {offered.model.name for offered in await client.models()}:  # noqa: ASYNC110
        await trio.sleep(0.2)
