"""A node's process tells systemd's socket what it does, from its first step to its end."""

import signal
import socket
from pathlib import Path

import pytest
import trio

from cocoon_p2p.testing.processes import NodeProcess

pytestmark = pytest.mark.long

CONFIG = """\
[network]
name = "test"
listen = ["/ip4/127.0.0.1/tcp/0"]
[page]
listen = ""
"""


@pytest.mark.timeout(300)
async def test_a_node_is_ready_once_it_serves_says_that_it_lives_and_that_it_stops(tmp_path: Path) -> None:
    file, name = tmp_path / "bootstrap.toml", str(tmp_path / "notify")
    file.write_text(CONFIG)
    heard = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    await heard.bind(name)
    told = ("env", f"NOTIFY_SOCKET={name}", "WATCHDOG_USEC=200000")
    node = NodeProcess("bootstrap", ("bootstrap", str(file)), file, within=told)

    async def hear(wanted: str) -> list[str]:
        """Take what comes until this comes."""
        came: list[str] = []
        with trio.fail_after(120):
            while wanted not in came:
                came.append((await heard.recv(4096)).decode())
        return came

    async with trio.open_nursery() as nursery:
        await node.start(nursery)
        starting = await hear("READY=1")
        await hear("WATCHDOG=1")
        node.signal(signal.SIGTERM)
        stopping = await hear("EXTEND_TIMEOUT_USEC=30000000")
        assert await node.ended() == 0
    heard.close()

    assert any(line.startswith("STATUS=listening /ip4/127.0.0.1/tcp/") for line in starting)
    assert starting[-2] == "STATUS=ready"
    assert "STOPPING=1" in stopping
    assert "STOPPING=1" not in starting
