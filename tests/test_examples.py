"""The example files are what they say: each loads, and the program asks a real network."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from cocoon_p2p.config import BootstrapFile, ClientFile, ProxyFile, WorkerFile, load
from cocoon_p2p.testing.processes import open_local_network

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BootstrapFile, "bootstrap"),
        (ProxyFile, "proxy"),
        (WorkerFile, "worker"),
        (WorkerFile, "worker-upstream"),
        (WorkerFile, "worker-exllama"),
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


def test_the_server_that_is_commented_out_has_no_mistake(tmp_path: Path) -> None:
    text = (EXAMPLES / "worker-upstream.toml").read_text()
    file = tmp_path / "worker.toml"
    file.write_text(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))

    upstream = load(WorkerFile, file, {}).settings.upstream

    assert (upstream.model, upstream.api_key_file) == ("Qwen/Qwen3-32B", "server.key")


@pytest.mark.slow
async def test_the_trio_client_prints_an_answer_and_its_cost(tmp_path: Path) -> None:
    async with open_local_network(tmp_path, workers=1) as network:
        command = [sys.executable, EXAMPLES / "trio_client.py", network.client_file, "Hello"]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)

    assert b"Hello! How can I help you?" in done.stdout
    assert b"nanoTON, trust" in done.stderr
