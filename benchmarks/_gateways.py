"""The gateways that are measured beside one another, each brought up as its users do."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import trio
from _network import scripted_worker
from _stub_upstream import MODEL

from cocoon_p2p.testing.processes import open_local_network

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv-bench" / "bin"
START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Served:
    """A server that speaks OpenAI's API."""

    name: str
    url: str
    key: str
    pids: Mapping[str, int]
    "Its processes, by what each does; what stands behind it among them."


@asynccontextmanager
async def stub() -> AsyncIterator[Served]:
    """Run the server that computes nothing, which is what the others' gateways stand in front of."""
    command = [sys.executable, str(HERE / "_stub_upstream.py")]
    async with _process(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(await process.stdout.receive_some(16))
        yield Served("no gateway", f"http://127.0.0.1:{port}", "none", {"stub": process.pid})


@asynccontextmanager
async def litellm(upstream: Served, place: Path) -> AsyncIterator[Served]:
    """Run LiteLLM's proxy, one worker, as its documentation has it."""
    key, url = f"sk-{secrets.token_hex(16)}", f"http://127.0.0.1:{_free_port()}"
    parameters = {"model": f"openai/{MODEL}", "api_base": f"{upstream.url}/v1", "api_key": "none"}
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        "general_settings": {"master_key": key},
    }
    # JSON is YAML too.
    (place / "litellm.yaml").write_text(json.dumps(config))
    port = url.rpartition(":")[2]
    command = [str(PEERS / "litellm"), "--config", str(place / "litellm.yaml"), "--num_workers", "1"]
    # Its list of prices comes with it, else from the internet.
    env = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    async with _process([*command, "--host", "127.0.0.1", "--port", port], env=env) as process:
        await _wait_for(f"{url}/health/liveliness")
        yield Served("LiteLLM", url, key, {"gateway": process.pid, **upstream.pids})


@asynccontextmanager
async def sglang_router(upstream: Served) -> AsyncIterator[Served]:
    """Run sglang's router, which is written in Rust and passes bytes on."""
    url = f"http://127.0.0.1:{_free_port()}"
    command = [str(PEERS / "sglang-router"), "launch", "--worker-urls", upstream.url, "--host", "127.0.0.1"]
    command += [
        "--port",
        url.rpartition(":")[2],
        "--prometheus-port",
        str(_free_port()),
        "--log-level",
        "error",
    ]
    async with _process(command) as process:
        await _wait_for(f"{url}/health")
        yield Served("sglang-router", url, "none", {"gateway": process.pid, **upstream.pids})


@asynccontextmanager
async def ours(place: Path) -> AsyncIterator[Served]:
    """Run `cocoon gateway` in a network of its own: bootstrap, proxy and worker are processes besides."""
    async with (
        open_local_network(place, workers=0, proxy_keys={"asks_per_second": 100_000}) as network,
        scripted_worker(network, MODEL, delay_seconds=0, step_tokens=1, slots=64) as worker,
    ):
        command = [sys.executable, "-m", "cocoon_p2p.cli", "gateway", "--config", str(network.client_file)]
        async with _process([*command, "--port", "0", "--json"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            told = b""
            while not told.endswith(b"\n"):
                told += await process.stdout.receive_some(4096)
            url = json.loads(told.splitlines()[-1])["url"]
            await _wait_for(f"{url}/v1/models", until=MODEL.encode())
            pids = {"gateway": process.pid, "proxy": network.nodes["proxy"].pid, "worker": worker.pid}
            yield Served("ours", url, "none", pids)


async def _wait_for(url: str, until: bytes = b"") -> None:
    def look() -> bool:
        try:
            with urlopen(url, timeout=5) as response:
                return until in response.read()
        except OSError:
            return False

    with trio.fail_after(START_SECONDS):
        while not await trio.to_thread.run_sync(look):  # noqa: ASYNC110  (another process's doing)
            await trio.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@asynccontextmanager
async def _process(
    command: Sequence[str], *, stdout: int = subprocess.DEVNULL, env: Mapping[str, str] | None = None
) -> AsyncIterator[trio.Process]:
    """Run a command in a session of its own, and kill all of that in the end."""
    process = await trio.lowlevel.open_process(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **(env or {})},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()
