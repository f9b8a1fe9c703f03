"""A receipt of a real network, kept by one process and checked by another that knows nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import trio

from cocoon_p2p.inference.catalogue import DEMO_WEIGHTS_HASH
from cocoon_p2p.testing.processes import open_local_network

OTHER_WEIGHTS = "00" * 32


async def cocoon(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in an empty folder of its own."""
    command = [sys.executable, "-m", "cocoon_p2p.cli", *arguments]
    with trio.fail_after(60):
        return await trio.run_process(
            command, cwd=folder, capture_stdout=True, capture_stderr=True, check=False
        )


async def test_a_receipt_that_one_process_kept_is_checked_offline_by_another(tmp_path: Path) -> None:
    elsewhere, receipt = tmp_path / "elsewhere", tmp_path / "receipt"
    elsewhere.mkdir()
    async with open_local_network(tmp_path, workers=1) as network:
        config = ("--config", str(network.client_file))
        pinned = await cocoon(
            "ask", "Hello", *config, "--weights", DEMO_WEIGHTS_HASH.hex(), "--receipt", str(receipt),
            folder=elsewhere,
        )  # fmt: skip
        refused = await cocoon("ask", "Hello", *config, "--weights", OTHER_WEIGHTS, folder=elsewhere)

    assert pinned.returncode == 0, pinned.stderr
    # In words, and before anything was paid.
    assert refused.returncode == 4
    assert b"with other weights" in refused.stderr
    kept = elsewhere / "answer.txt"
    kept.write_bytes(pinned.stdout)
    verified = await cocoon(
        "receipt", "verify", str(receipt), "--answer", str(kept), "--network", network.name, "--json",
        folder=elsewhere,
    )  # fmt: skip
    facts = json.loads(verified.stdout)
    assert verified.returncode == 0, facts
    assert facts["answer"] + "\n" == pinned.stdout.decode()
    assert facts["weights_hash"] == DEMO_WEIGHTS_HASH.hex()
    assert facts["client_paid"] == facts["worker_earned"] + facts["commission"] > 0

    data = bytearray(receipt.read_bytes())
    data[len(data) // 2] ^= 1
    receipt.write_bytes(data)
    altered = await cocoon("receipt", "verify", str(receipt), folder=elsewhere)
    assert altered.returncode in (2, 6)
