"""`cocoon model`: models and their files on this machine."""

import json
import sys
from pathlib import Path

import click
import trio

from cocoon_p2p.inference.manifest import weights_hash


@click.group()
def model() -> None:
    """Look at models and their files."""


@model.command("hash")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def hash_model(path: Path, as_json: bool) -> None:
    """Print the weights hash of the model at PATH: a GGUF file, or a folder.

    It is what `cocoon ask --weights` and a worker's record name (inference/engines.md). Everything is
    read; some gigabytes take some seconds.
    """

    async def run() -> bytes:
        return await weights_hash(path, progress=_show_progress)

    found = trio.run(run).hex()
    click.echo(json.dumps({"path": str(path), "weights_hash": found}) if as_json else found)


def _show_progress(done_bytes: int, total_bytes: int) -> None:
    gigabytes = f"{done_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB"
    print(f"hashing: {gigabytes}", file=sys.stderr, flush=True)
