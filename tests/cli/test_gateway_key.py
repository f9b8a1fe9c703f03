"""`cocoon gateway key`: keys are made and taken back while the gateway runs, and while it does not."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cocoon_p2p.cli import cocoon
from cocoon_p2p.errors import ConfigurationError

CONFIG = """[network]
name = "nobody-else"
bootstrap = []

[data]
directory = "data"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "client.toml"
    found.write_text(CONFIG)
    return found


def invoke(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cocoon, ["gateway", "key", *arguments, "--config", str(file)])


def key(file: Path, *arguments: str) -> dict[str, Any]:
    result = invoke(file, *arguments, "--json")
    assert result.exit_code == 0, result.output
    said: dict[str, Any] = json.loads(result.stdout)
    return said


@contextmanager
def gateway(file: Path) -> Iterator[str]:
    """Run a gateway in a process of its own, and give its URL."""
    command = ["gateway", "--config", str(file), "--port", "0", "--json"]
    process = subprocess.Popen([sys.executable, "-m", "cocoon_p2p.cli", *command], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.communicate(timeout=280)


@pytest.mark.slow
def test_keys_are_made_listed_topped_up_and_taken_back_without_a_gateway(file: Path) -> None:
    made = key(file, "create", "a shop", "--budget", "0.5", "--every", "day", "--requests-per-minute", "60")
    assert re.fullmatch("sk-cocoon-[A-Za-z0-9_-]{43}", made["secret"])
    assert (made["limit_nano"], made["every_seconds"], made["requests_per_minute"]) == (5 * 10**8, 86_400, 60)

    topped_up = key(file, "top-up", made["id"], "0.25")
    assert (topped_up["left_nano"], topped_up["credit_nano"]) == (75 * 10**7, 25 * 10**7)
    (listed,) = key(file, "list")["keys"]
    assert listed["secret"] is None
    assert listed["left_nano"] == 75 * 10**7
    assert key(file, "revoke", made["id"])["id"] == made["id"]
    assert key(file, "list") == {"keys": []}


@pytest.mark.slow
def test_people_see_the_secret_once_on_stdout_and_amounts_in_ton(file: Path) -> None:
    made = invoke(file, "create", "a shop", "--budget", "0.5", "--every", "week")
    assert re.fullmatch("sk-cocoon-[A-Za-z0-9_-]{43}\n", made.stdout)
    assert "0.5 a week" in made.stderr

    listed = invoke(file, "list")
    assert made.stdout.strip() not in listed.output
    assert "a shop" in listed.stdout
    assert "0.5 a week" in listed.stdout


@pytest.mark.long
def test_a_running_gateway_lets_a_new_key_in_at_once_and_a_revoked_one_no_more(file: Path) -> None:
    import httpx

    with gateway(file) as url:
        made = key(file, "create", "a shop", "--budget", "1")
        bearer = {"Authorization": f"Bearer {made['secret']}"}
        assert httpx.get(f"{url}/v1/nothing", headers=bearer, timeout=280).status_code == 404
        assert httpx.get(f"{url}/v1/nothing", timeout=280).status_code == 401

        assert key(file, "top-up", made["id"], "1")["left_nano"] == 2 * 10**9
        assert [one["id"] for one in key(file, "list")["keys"]] == [made["id"]]
        key(file, "revoke", made["id"])
        assert httpx.get(f"{url}/v1/nothing", headers=bearer, timeout=280).status_code == 401
    assert key(file, "list") == {"keys": []}


@pytest.mark.slow
def test_bad_input_is_told_with_what_to_do(file: Path) -> None:
    assert "give one" in invoke(file, "create", "a shop", "--every", "day").output
    assert "not an amount" in invoke(file, "create", "a shop", "--budget", "lots").output
    unknown = invoke(file, "revoke", "00")
    assert isinstance(unknown.exception, ConfigurationError)
    assert "key list" in unknown.exception.hint
