"""`cocoon demo --serve` and `cocoon gateway` on what it serves, as README has them."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from tests.end_to_end.test_demo import told
from tests.json_schemas.judging import judge

EXAMPLE = Path(__file__).parents[2] / "examples" / "openai_sdk.py"
WITHIN_SECONDS = 280


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command while the block runs; it is told to end as a terminal's owner tells it."""
    command = [sys.executable, "-m", "cocoon_p2p.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(WITHIN_SECONDS)
            finally:
                process.kill()


@pytest.mark.long
def test_a_gateway_sells_what_a_served_demo_network_has(tmp_path: Path) -> None:
    place, config = tmp_path / "network", str(tmp_path / "network" / "client.toml")
    with running("demo", "--serve", str(place), "--workers", "1") as network:
        assert network.stdout is not None
        for line in network.stdout:
            if line.strip().startswith("cocoon wallet"):
                break
        with running("gateway", "--config", config, "--port", "0", "--json") as gateway:
            assert gateway.stdout is not None
            line = gateway.stdout.readline()
            judge(["gateway", "--json"], line)
            listening = json.loads(line)
            example = [sys.executable, EXAMPLE, f"{listening['url']}/v1"]
            done = subprocess.run(example, capture_output=True, text=True, timeout=280, check=False)
            with openai.OpenAI(base_url=f"{listening['url']}/v1", api_key="none") as sdk:
                answer = sdk.chat.completions.create(
                    model="cocoon-demo",
                    messages=[{"role": "user", "content": "Translate to Spanish: the red house"}],
                    temperature=0,
                )
            channels = told("channels", "list", "--config", config)["channels"]

    assert listening["event"] == "listening"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Hello! How can I help you?") == 2
    assert answer.choices[0].message.content == "la casa roja"
    paid = (answer.model_extra or {})["cocoon"]
    assert paid["trust"] == "sim"
    # From the channel that the demo opened, and paid its own answer from.
    assert [channel["charged_nano"] > paid["cost"] > 0 for channel in channels] == [True]
    assert gateway.returncode == 0
