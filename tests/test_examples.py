"""The example files are what they say: each loads, and is started as a new user would start it.

What needs other libraries than these tests have is started where they are: tests/speech, tests/exllama.
"""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from cocoon_p2p.config import BootstrapFile, ClientFile, ProxyFile, WorkerFile, load
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.testing.processes import NodeProcess, open_local_network
from tests.inference.random_gguf import HIDDEN, write_embedding_model
from tests.inference.upstream.scene import KEY, llama_server
from tests.json_schemas.judging import judged as judged

EXAMPLES = Path(__file__).parent.parent / "examples"
BOUND_SECONDS = 240
"A bound for a test that hangs; none waits for it."

BOOT = "/dns4/boot.example.org/tcp/4001"
BOOT_PEER = "12D3KooWE6eMZQob7bqHGnwby6UW7xH3sj1FEwRhoASqLwWUFvj6"
STORY = "It was a sunny day. Anna bought a red car in Paris. The shops were closed."


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BootstrapFile, "bootstrap"),
        (ProxyFile, "proxy"),
        (WorkerFile, "worker"),
        (WorkerFile, "worker-several"),
        (WorkerFile, "worker-upstream"),
        (WorkerFile, "worker-cluster"),
        (WorkerFile, "worker-exllama"),
        (WorkerFile, "worker-speech"),
        (ClientFile, "client"),
    ],
)
def test_an_example_file_has_no_mistake(kind: Any, name: str) -> None:
    loaded = load(kind, EXAMPLES / f"{name}.toml", {})

    assert loaded.settings.network.name == "my-network"


@pytest.mark.parametrize(
    ("kind", "name"), [(ProxyFile, "proxy"), (WorkerFile, "worker"), (ClientFile, "client")]
)
def test_an_example_file_has_no_mistake_in_what_is_commented_out(
    kind: Any, name: str, tmp_path: Path
) -> None:
    text = (EXAMPLES / f"{name}.toml").read_text()
    file = tmp_path / f"{name}.toml"
    file.write_text(re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE))

    settings = load(kind, file, {}).settings

    assert settings.chain.network == "local"
    assert settings.wallet.file or settings.wallet.payout


def test_the_models_that_are_commented_out_have_no_mistake(tmp_path: Path) -> None:
    text = (EXAMPLES / "worker-several.toml").read_text()
    file = tmp_path / "worker.toml"
    file.write_text(re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE))

    models = load(WorkerFile, file, {}).settings.model

    assert [section.name for section in models] == ["", "qwen3-small", "nomic-embed", "whisper-small"]


def test_the_server_that_is_commented_out_has_no_mistake(tmp_path: Path) -> None:
    text = (EXAMPLES / "worker-upstream.toml").read_text()
    file = tmp_path / "worker.toml"
    file.write_text(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))

    upstream = load(WorkerFile, file, {}).settings.upstream

    assert (upstream.model, upstream.api_key_file) == ("Qwen/Qwen3-32B", "server.key")


@pytest.mark.slow
async def test_each_program_prints_an_answer_and_its_cost(tmp_path: Path) -> None:
    async with open_local_network(tmp_path, workers=1) as network:
        for name in ("trio_client.py", "asyncio_client.py", "script.py"):
            command = [sys.executable, EXAMPLES / name, network.client_file, "Hello"]
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)

            assert b"Hello! How can I help you?" in done.stdout, name
            assert b"nanoTON, trust sim" in done.stderr, name


@pytest.mark.slow
@pytest.mark.parametrize(("name", "library"), [("exllama", "torch"), ("speech", "ctranslate2")])
def test_a_worker_s_example_says_what_to_install_where_it_lacks(
    name: str, library: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(library) is not None:
        pytest.skip(f"{library} is here")
    file = Place(tmp_path).take(f"worker-{name}", {})
    (tmp_path / load(WorkerFile, file, {}).settings.worker.model).mkdir(parents=True)
    if name == "speech":
        (tmp_path / load(WorkerFile, file, {}).settings.worker.model / "model.bin").touch()

    command = [sys.executable, "-m", "cocoon_p2p.cli", "worker", file]
    done = subprocess.run(command, capture_output=True, check=False)

    assert done.returncode == 2
    assert f"cocoon-p2p[{name}]" in done.stderr.decode()


@pytest.mark.long
async def test_a_network_of_the_examples_answers_every_command_that_buys(tmp_path: Path) -> None:
    write_embedding_model(tmp_path / "embedder.gguf")
    with trio.fail_after(BOUND_SECONDS), llama_server() as server:
        async with network_of_the_examples(tmp_path, server) as place:
            offered = {offer["model"] for offer in await place.cocoon("models")}
            own = await place.cocoon("ask", "Hello", "--model", "cocoon-demo")
            elsewhere = await place.cocoon("ask", "Hello", "--model", "qwen3-32b")
            spanish = await place.cocoon("translate", "the red house", "--to", "es", "--model", "cocoon-demo")
            embedded = await place.cocoon("embed", "the red house", "--model", "embedder")
            short = await place.cocoon("summarize", "--model", "cocoon-demo", given=STORY)

    assert offered == {"cocoon-demo", "qwen3-32b", "embedder"}
    assert own["answer"] == elsewhere["answer"] == "Hello! How can I help you?"
    assert spanish["answer"] == "la casa roja"
    assert [len(vector) for vector in embedded["vectors"]] == [HIDDEN]
    assert short["answer"] == "Anna bought a red car in Paris."


@dataclass(frozen=True)
class Place:
    """A folder with copies of the examples, in which a user has written what is his own."""

    folder: Path

    def take(self, name: str, changes: Mapping[str, str]) -> Path:
        """Copy an example, with some of its words replaced."""
        text = (EXAMPLES / f"{name}.toml").read_text()
        for words, own in changes.items():
            assert words in text, words
            text = text.replace(words, own)
        file = self.folder / f"{name}.toml"
        file.write_text(text)
        return file

    async def cocoon(self, *arguments: str, given: str = "") -> Any:
        """Run a command that buys, and read the JSON that it prints."""
        done = await trio.run_process(
            [sys.executable, "-m", "cocoon_p2p.cli", *arguments, "--json", "--config", "client.toml"],
            capture_stdout=True,
            stdin=given.encode(),
            cwd=self.folder,
        )
        return json.loads(done.stdout)


@asynccontextmanager
async def network_of_the_examples(folder: Path, server: str) -> AsyncIterator[Place]:
    """Run what the examples describe. What is changed in them is what everybody has to: addresses."""
    place, nodes = Place(folder), list[NodeProcess]()
    (folder / "server.key").write_text(KEY)
    (folder / "server.key").chmod(0o600)
    async with open_service_nursery() as nursery:

        async def start(role: str, name: str, changes: Mapping[str, str]) -> NodeProcess:
            file = place.take(name, changes)
            node = NodeProcess(name, (role, str(file)), file)
            await node.start(nursery)
            nodes.append(node)
            return node

        try:
            boot = await start(
                "bootstrap", "bootstrap", {"0.0.0.0/tcp/4001": "127.0.0.1/tcp/0", f'"{BOOT}"': ""}
            )
            (address,) = (await boot.wait_for("listening"))["addresses"]
            there = {f"{BOOT}/p2p/{BOOT_PEER}": address}
            place.take("client", there)
            proxy = {"0.0.0.0/tcp/4002": "127.0.0.1/tcp/0", '"/dns4/proxy.example.org/tcp/4002"': ""}
            await start("proxy", "proxy", there | proxy)
            several = {
                '"qwen3-0.6b-q8_0"': '"./embedder.gguf"',
                '"qwen3-small"': '"embedder"',
                "worker-data": "several",
            }
            await start("worker", "worker-several", there | several)
            await start("worker", "worker", there)
            upstream = {
                "http://127.0.0.1:8000": server,
                "# api_key_file": "api_key_file",
                "worker-data": "two",
            }
            await start("worker", "worker-upstream", there | upstream)
            for node in nodes:
                await node.wait_for("ready")
            yield place
        finally:
            with trio.CancelScope(shield=True):
                for node in reversed(nodes):
                    await node.stop()
