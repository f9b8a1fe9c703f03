"""A worker that measured itself: what it found reaches who buys, through its proxy."""

import sys
from pathlib import Path

import pytest
import trio

from cocoon_p2p.testing.processes import open_local_network, place_of
from tests.end_to_end.scene import client_of


@pytest.mark.long
async def test_what_a_worker_measured_is_told_to_clients_and_nobody_measures_beside_it(
    tmp_path: Path,
) -> None:
    keys = {"measure_seconds": 1, "slots": 2, "context_tokens": 256}
    async with open_local_network(tmp_path, workers=1, worker_keys=keys) as network:
        # It is ready before, and measured once nobody wants anything of it.
        await network.nodes["worker-1"].wait_for("speed")
    async with (
        open_local_network(tmp_path, workers=1, worker_keys=keys) as network,
        client_of(network) as client,
    ):
        (offer,) = await client.models()
        command = [sys.executable, "-m", "cocoon_p2p.cli", "bench", str(place_of(network, "worker-1"))]
        bench = await trio.run_process(command, capture_stderr=True, check=False)
        steps = network.nodes["worker-1"].steps

    rates = offer.model.rates
    assert rates is not None
    assert rates.decode_milli is not None
    assert rates.decode_full_milli is not None
    assert bench.returncode == 2
    assert "the worker runs" in bench.stderr.decode()
    assert "speed" not in steps
