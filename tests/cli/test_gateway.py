"""`cocoon gateway` as a process: where it says that it listens it does, and told to stop it ends."""

import json
import signal
import sys
from pathlib import Path
from subprocess import PIPE

import httpx
import pytest
import trio

FILE = """
[network]
name = "local"
"""


async def _start(folder: Path, *options: str) -> trio.Process:
    file = folder / "client.toml"
    file.write_text(FILE)
    command = [sys.executable, "-m", "cocoon_p2p.cli", "gateway", "--config", str(file), *options]
    return await trio.lowlevel.open_process(command, stdout=PIPE, stderr=PIPE)


@pytest.mark.long
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
async def test_it_listens_where_it_says_and_ends_when_told(tmp_path: Path, told: signal.Signals) -> None:
    with trio.fail_after(280):
        process = await _start(tmp_path, "--port", "0", "--json")
        assert process.stdout is not None
        assert process.stderr is not None
        async with process.stdout, process.stderr:
            listening = json.loads(await process.stdout.receive_some())
            async with httpx.AsyncClient(timeout=120) as http:
                health = await http.get(f"{listening['url']}/healthz")
            process.send_signal(told)
            ended = await process.wait()

    assert listening["event"] == "listening"
    assert health.json() == {"status": "ok", "running": 0}
    assert ended == 0


@pytest.mark.long
async def test_it_does_not_serve_strangers_without_a_key(tmp_path: Path) -> None:
    with trio.fail_after(280):
        process = await _start(tmp_path, "--port", "0", "--host", "0.0.0.0")
        assert process.stdout is not None
        assert process.stderr is not None
        async with process.stdout, process.stderr:
            said = b"".join([piece async for piece in process.stderr]).decode()
            ended = await process.wait()

    assert ended == 2
    assert "there is no API key" in said
    assert "cocoon gateway key create" in said
