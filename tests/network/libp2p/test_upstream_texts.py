"""What we would tell upstream holds for py-libp2p as it ships: each program prints what its text says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

TEXTS = Path(__file__).parents[3] / "docs" / "upstream"
PATCHES = Path(__file__).parents[3] / "cocoon_p2p" / "network" / "libp2p" / "patches"
REPRODUCERS = sorted(text.name for text in TEXTS.glob("*.md") if text.name != "README.md")


@pytest.mark.long
@pytest.mark.parametrize("name", REPRODUCERS)
async def test_upstream_does_what_the_text_says(name: str) -> None:
    text = (TEXTS / name).read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert "cocoon" not in program

    with trio.fail_after(120):
        ran = await trio.run_process(
            [sys.executable, "-c", program], capture_stdout=True, stderr=subprocess.DEVNULL
        )

    assert ran.stdout.decode() == printed


def test_every_patch_has_its_text() -> None:
    patches = {file.stem.replace("_", "-") for file in PATCHES.glob("[a-z]*.py")}

    assert patches <= {name.removesuffix(".md") for name in REPRODUCERS}


def test_every_text_is_listed() -> None:
    listed = re.findall(r"\]\(([a-z-]+\.md)\)", (TEXTS / "README.md").read_text())

    assert sorted(listed) == REPRODUCERS
