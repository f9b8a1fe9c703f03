"""This version's nodes beside the last one's, from the last one's own tree.

Git has that tree. Where its history is not there (an sdist, a shallow clone) these are skipped; what is
recorded of the last version in tests/protocols/last_version/ is tried everywhere.
"""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import trio

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.testing.processes import LocalNetwork, NodeProcess, Site, open_local_network, place_of
from tests.end_to_end.scene import client_of
from tests.failover.killing import MODEL, PROMPTS, Account, ask

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
COMMIT = json.loads((ROOT / "tests/protocols/last_version/said.json").read_text())["commit"]

IN_TREE = """\
import json, os, sys, tomllib
tree, *command = sys.argv[1:]
os.chdir(tree)
from cocoon_p2p.config import BootstrapFile, ProxyFile, WorkerFile
from msgspec import Struct
from msgspec.structs import fields
kinds = {"bootstrap": BootstrapFile, "proxy": ProxyFile, "worker": WorkerFile}
(role,) = kinds.keys() & set(command)
(file,) = (each for each in command if each.endswith(".toml"))
known = {section.name: section.type for section in fields(kinds[role])}
with open(file, "rb") as text:
    written = tomllib.load(text)
lines = []
for section, keys in written.items():
    of = getattr(known.get(section), "__args__", (known.get(section),))
    of = [kind for kind in of if isinstance(kind, type) and issubclass(kind, Struct)]
    names = {field.name for kind in of for field in fields(kind)}
    if section in known:
        lines += [f"[{section}]", *(f"{key} = {json.dumps(keys[key])}" for key in keys if key in names)]
with open(file, "w") as text:
    text.write("\\n".join(lines))
os.execvp(command[0], command)
"""
"""Runs a node's command in another tree, where `-m` finds that tree's modules, and leaves out of its file
what that tree does not know."""


@pytest.fixture(autouse=True)
def judged() -> None:
    """Judge nothing: what the last version prints need not be as this one's schemas say."""


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last version's tree."""
    archive = subprocess.run(
        ["git", "-C", ROOT, "archive", COMMIT, "cocoon_p2p"], capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip("git does not have the last version's tree here")
    tree = tmp_path_factory.mktemp("last")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tree, filter="data")
    return tree


def of_last(tree: Path) -> Site:
    return Site(within=(sys.executable, "-c", IN_TREE, str(tree)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("older", ["bootstrap", "proxy", "worker-1"])
async def test_a_node_of_the_last_version_works_with_those_of_this_one(
    last: Path, tmp_path: Path, older: str
) -> None:
    account = Account()
    opening = open_local_network(tmp_path, workers=1, sites={older: of_last(last)})
    async with opening as network, client_of(network) as client:
        for prompt in PROMPTS[:3]:
            await ask(client, prompt, account)
    books = await who_paid_whom(tmp_path, list(network.nodes))

    assert account.faults == []
    assert books.faults == ()
    assert -books.earned("client") == account.client_paid > 0
    assert books.earned("worker-1") == account.workers_earned > 0


@pytest.mark.timeout(600)
async def test_a_client_of_the_last_version_buys_from_nodes_of_this_one(last: Path, tmp_path: Path) -> None:
    async with open_local_network(tmp_path, workers=1) as network:
        command = ["ask", PROMPTS[0], "--model", MODEL, "--config", str(network.client_file), "--json"]
        answered = await trio.run_process(
            [sys.executable, "-m", "cocoon_p2p.cli", *command],
            cwd=last,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    books = await who_paid_whom(tmp_path, list(network.nodes))

    assert answered.returncode == 0, answered.stderr.decode()
    assert books.faults == ()
    assert -books.earned("client") > 0


async def run_as(network: LocalNetwork, name: str, site: Site, nursery: trio.Nursery) -> None:
    """Stop a node in order, and start it again over its ledger by another version."""
    await network.nodes[name].stop(within_seconds=120)
    file = place_of(network, name)
    role = name.partition("-")[0]
    node = network.nodes[name] = NodeProcess(name, (role, str(file)), file, within=site.within)
    await node.start(nursery)
    await node.wait_for("ready")


@pytest.mark.timeout(600)
async def test_a_ledger_goes_on_from_the_last_version_to_this_one_and_back(
    last: Path, tmp_path: Path
) -> None:
    account = Account()
    async with trio.open_nursery() as nursery:
        opening = open_local_network(tmp_path, workers=1, sites={"worker-1": of_last(last)})
        async with opening as network, client_of(network) as client:
            await ask(client, PROMPTS[0], account)
            for site in (Site(), of_last(last)):
                await run_as(network, "worker-1", site, nursery)
                await ask(client, PROMPTS[1], account)
        nursery.cancel_scope.cancel()
    books = await who_paid_whom(tmp_path, list(network.nodes))

    assert account.faults == []
    assert books.faults == ()
    assert books.earned("worker-1") == account.workers_earned > 0
