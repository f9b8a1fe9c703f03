"""Whoever has a machine, an address and a network's file earns on the first try: one file, three edits."""

import json
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from cocoon_p2p.cli.demo_chain import PROXY_KEYS, DemoChain
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.node import OpenedClient, open_paying_client
from cocoon_p2p.payments.address import GLOBAL_IDS, spell_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.testing.processes import LocalNetwork, NodeProcess, open_local_network
from tests.json_schemas.judging import judge

PAYOUT = spell_address(AccountId(bytes(range(32))), global_id=GLOBAL_IDS["local"])
JOINED = ["identity", "engine", "warm-up", "attestation", "registered", "ready", "seen", "first job"]
"The steps whose order is certain; the others come by when they come."

ALSO = {"reachability", "bootstrap", "chain", "gas"}


async def cocoon(folder: Path, *arguments: str) -> str:
    """Type a command in a folder, and give what it prints."""
    done = await trio.run_process(
        [sys.executable, "-m", "cocoon_p2p.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.fspath(Path.cwd())},
        capture_stdout=True,
    )
    return done.stdout.decode()


def edit(file: Path, key: str, value: str) -> None:
    """Fill in one key that was left open, as one does in an editor."""
    text, edits = re.subn(rf'^{key} = ""', f'{key} = "{value}"', file.read_text(), flags=re.MULTILINE)
    assert edits == 1
    file.write_text(text)


def lines(steps: Iterable[object]) -> str:
    """Write steps as a node tells them."""
    return "\n".join(json.dumps(step) for step in steps)


async def buy(opened: OpenedClient, network: LocalNetwork) -> int:
    """Be the first client: open a channel on the chain, and pay for one answer."""
    with trio.fail_after(120):
        while not await opened.client.models():  # noqa: ASYNC110  (each look is a search)
            await trio.sleep(0.1)
    await DemoChain(network, opened, lambda _node, _step: None).begin(10**9)
    async with opened.client.chat("cocoon-demo", [{"role": "user", "content": "Hello"}]) as answer:
        assert await answer.read()
    return answer.cost


@pytest.mark.long
async def test_three_edits_of_one_file_earn_on_the_first_try(tmp_path: Path) -> None:
    mine, theirs, made = tmp_path / "mine", tmp_path / "theirs", list[dict[str, object]]()
    mine.mkdir()
    theirs.mkdir()
    async with (
        open_local_network(
            theirs,
            workers=0,
            on_chain=True,
            proxy_keys=PROXY_KEYS,
            # A newcomer proves nothing: only who asks for nothing buys from it.
            more={"client": {"client": {"trust": "open"}}},
        ) as network,
        open_paying_client(load(ClientFile, network.client_file, {})) as opened,
        trio.open_nursery() as nursery,
    ):
        began = time.perf_counter()

        await cocoon(mine, "init", "worker")
        file = mine / "worker.toml"
        edit(file, "model", "demo")
        edit(file, "payout", PAYOUT)
        edit(file, "bootstrap", str(network.network_file))
        await cocoon(mine, "config", "check", "worker.toml")
        worker = NodeProcess("worker", ("worker", str(file)), file, lambda _name, step: made.append(step))
        await worker.start(nursery)
        await worker.wait_for("seen", until=lambda step: step["status"] == "ok")
        joined_seconds = time.perf_counter() - began
        await network.nodes["proxy"].wait_for("seen", until=lambda step: step["status"] == "ok")
        cost = await buy(opened, network)
        job = await worker.wait_for("first job", until=lambda step: step["status"] == "ok")
        seconds = time.perf_counter() - began
        earned = json.loads(await cocoon(mine, "earnings", "--config", "worker.toml", "--json"))

        await worker.stop()

    for name in ("bootstrap", "proxy"):
        judge([name, "--json"], lines(network.nodes[name].steps.values()))
    judge(["worker", "--json"], lines(made))
    print(
        f"\nfrom the empty folder: sold by a proxy after {joined_seconds:.1f} s, paid after {seconds:.1f} s"
    )
    names = [str(step["step"]) for step in made if step["status"] == "ok"]
    assert [name for name in names if name in JOINED] == JOINED
    assert set(names) > ALSO
    assert 0 < job["income"] < cost
    assert job["model"] == "cocoon-demo"
    assert str(job["income"]) in json.dumps(earned)
