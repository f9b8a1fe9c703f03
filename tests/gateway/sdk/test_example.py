"""The example that uses OpenAI's SDK, run as its reader runs it."""

import subprocess
import sys
from pathlib import Path

from tests.gateway.sdk.scene import GENEROUS_SECONDS, GREETING, Served
from tests.inference.random_gguf import HIDDEN

EXAMPLE = Path(__file__).parents[3] / "examples" / "openai_sdk.py"


def test_the_example_asks_for_all_that_it_shows(gateway: Served) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, f"{gateway.url}/v1"],
        capture_output=True,
        text=True,
        timeout=GENEROUS_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said = dict(part.split("\n", 1) for part in done.stdout.split("# ")[1:])
    assert list(said) == ["an answer", "as it comes", "in a form", "with a tool", "as vectors"]
    assert said["an answer"].startswith(f"{GREETING}\n  ")
    assert said["as it comes"].startswith(f"{GREETING}\n  ")
    assert "nanoTON, trust open" in said["as it comes"]
    assert said["in a form"].startswith("language='")
    assert said["as vectors"].startswith(f"2 of {HIDDEN} numbers")
