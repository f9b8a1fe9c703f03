"""The key of a server that runs the model: read before anything is asked of that server."""

from pathlib import Path

import pytest

from cocoon_p2p.config import WorkerFile, load
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.node.engine import open_engine

FILE = """
[worker]
model = "http://127.0.0.1:1"

[upstream]
api_key_file = "server.key"

[network]
name = "my-network"
"""


def announce(step: str, **facts: object) -> None:
    """Nobody listens."""


async def refusal(folder: Path) -> str:
    file = folder / "worker.toml"
    file.write_text(FILE)
    with pytest.raises(ConfigurationError) as raised:
        async with open_engine(load(WorkerFile, file, {}), announce):
            raise AssertionError("it must not open")
    return str(raised.value)


async def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    key = tmp_path / "server.key"
    key.write_text("secret\n")
    key.chmod(0o640)

    said = await refusal(tmp_path)

    assert "can be read by others" in said
    assert "secret" not in said


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff"])
async def test_what_is_no_key_is_not_sent(tmp_path: Path, content: bytes) -> None:
    key = tmp_path / "server.key"
    key.write_bytes(content)
    key.chmod(0o600)

    assert "holds no key" in await refusal(tmp_path)


async def test_a_key_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "there is no" in await refusal(tmp_path)
