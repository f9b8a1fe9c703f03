"""The drill: a node earns, is backed up, earns more, loses its disk, comes back from the backup, and goes on.

Real processes, the commands as an operator types them. In the end everybody's books must agree with the other
end's and with the papers that the client holds: nothing was paid twice, and nothing is missing.
"""

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.client import Client
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.testing.processes import LocalNetwork, NodeProcess, Site, open_local_network
from tests.end_to_end.scene import client_of
from tests.failover.gates import free_ports
from tests.failover.killing import BOUND_SECONDS, MODEL, PROMPTS, Account, ask

pytestmark = pytest.mark.long


async def cocoon(*arguments: str | Path) -> dict[str, Any]:
    """Run a command that answers with one JSON object."""
    command = [sys.executable, "-m", "cocoon_p2p.cli", *map(str, arguments), "--json"]
    ended = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


async def lose_disk(network: LocalNetwork, name: str) -> None:
    """Kill a node, and destroy all that it had on disk."""
    node = network.nodes[name]
    node.signal(signal.SIGKILL)
    await node.ended()
    shutil.rmtree(network.data_directory(name))
    node.file.unlink()


async def bring_back(
    network: LocalNetwork, name: str, role: str, backup: Path, passphrase: Path, nursery: trio.Nursery
) -> None:
    """Restore a node into a folder of its own, and run it from there."""
    folder = network.place / "restored"
    said = await cocoon("restore", backup, folder, "--passphrase-file", passphrase)
    file = Path(said["config"])
    node = network.nodes[name] = NodeProcess(name, (role, str(file)), file)
    await node.start(nursery)
    await node.wait_for("ready")


async def sells_again(client: Client) -> None:
    """Wait until somebody quotes for the model."""
    with trio.fail_after(BOUND_SECONDS):
        while True:
            try:
                if await client.quote(MODEL, [{"role": "user", "content": PROMPTS[0]}]):
                    return
            except CocoonError:
                # The client has not noticed yet that the proxy is another process.
                pass
            await trio.sleep(0.2)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "role"), [("worker-1", "worker"), ("proxy", "proxy")])
@pytest.mark.parametrize("grant", [0, 20_000_000], ids=["all is vouchered", "all is within the grant"])
async def test_a_node_that_lost_its_disk_goes_on_from_its_backup_and_nothing_is_paid_twice(
    tmp_path: Path, name: str, role: str, grant: int
) -> None:
    backup, passphrase, account = tmp_path / "node.backup", tmp_path / "passphrase", Account()
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    # Who comes back listens where it did.
    sites = {"proxy": Site(port=free_ports(1)[0])}
    place = tmp_path / "network"
    place.mkdir()
    async with trio.open_nursery() as nursery:
        opening = open_local_network(place, workers=1, worker_keys={"grant": grant}, sites=sites)
        async with opening as network, client_of(network) as client:
            await ask(client, PROMPTS[0], account)
            file = network.nodes[name].file
            made = await cocoon("backup", file, backup, "--passphrase-file", passphrase)
            await ask(client, PROMPTS[1], account)
            await ask(client, PROMPTS[2], account)

            await lose_disk(network, name)
            await bring_back(network, name, role, backup, passphrase, nursery)
            await sells_again(client)
            await ask(client, PROMPTS[3], account)
            await ask(client, PROMPTS[0], account)
        shutil.move(place / "restored" / f"{name}-data", network.data_directory(name))
        nursery.cancel_scope.cancel()
    books = await who_paid_whom(place, list(network.nodes))

    assert made["role"] == role
    assert made["peer"] == network.nodes[name].steps["identity"]["peer"]
    assert account.faults == []
    assert books.faults == ()
    assert -books.earned("client") == account.client_paid > 0
    assert books.earned("worker-1") == account.workers_earned > 0
    assert books.commission == account.client_paid - account.workers_earned
