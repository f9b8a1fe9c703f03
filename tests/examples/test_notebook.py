"""The notebook in a real Jupyter kernel, on a real network: what it shows is what it does."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from cocoon_p2p.testing.processes import open_local_network
from tests.examples.scene import EXAMPLES

NOTEBOOK = EXAMPLES / "notebook.ipynb"
BOUND_SECONDS = 240
"A bound for a test that hangs; none waits for it."


def printed(notebook: Path) -> list[str]:
    """Give what each cell of code printed, its numbers left out: what is cached is cheaper, now and then."""
    cells: list[dict[str, Any]] = json.loads(notebook.read_text())["cells"]
    texts = [
        "".join(line for output in cell["outputs"] for line in output["text"])
        for cell in cells
        if cell["cell_type"] == "code"
    ]
    return [re.sub(r"\d+", "N", text) for text in texts]


@pytest.mark.long
async def test_every_cell_of_the_notebook_prints_what_it_shows(tmp_path: Path) -> None:
    copy = tmp_path / "notebook.ipynb"
    shutil.copyfile(NOTEBOOK, copy)
    with trio.fail_after(BOUND_SECONDS):
        async with open_local_network(tmp_path, workers=1) as network:
            await trio.run_process(
                [Path(sys.executable).with_name("jupyter-execute"), "--inplace", copy],
                env={
                    **os.environ,
                    "COCOON_CLIENT": str(network.client_file),
                    "IPYTHONDIR": str(tmp_path / "ipython"),
                    "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
                },
                capture_stderr=True,
            )

    assert printed(copy) == printed(NOTEBOOK)
    receipt = [sys.executable, "-m", "cocoon_p2p.cli", "receipt", "verify", tmp_path / "receipt.cbor"]
    assert b"the exchange was completed" in (await trio.run_process(receipt, capture_stdout=True)).stdout
