"""A proxy whose ledger is on a PostgreSQL server: named in its file, killed, and back with every coin."""

import os
import signal
from pathlib import Path

import pytest
import trio

from cocoon_p2p.control import ask
from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.ledger import Side, audit
from cocoon_p2p.node import CONTROL_SOCKET
from cocoon_p2p.overview import EARNINGS, SumEarnings
from cocoon_p2p.store import open_store
from cocoon_p2p.testing.postgres import find_programs, postgres_server
from cocoon_p2p.testing.processes import LocalNetwork, open_local_network
from tests.end_to_end.scene import client_of

PATIENCE_SECONDS = 280.0
HELLO = [{"role": "user", "content": "Translate to Spanish: the red house"}]


async def test_a_proxy_keeps_its_books_on_a_server_and_comes_back_to_them(tmp_path: Path) -> None:
    if find_programs() is None and "COCOON_TESTS_NEED_POSTGRES" not in os.environ:
        pytest.skip("no PostgreSQL to keep books on; Debian, Ubuntu: apt install postgresql")
    with postgres_server() as server:
        ledger = server.new_ledger()
        more = {"proxy": {"data": {"ledger": ledger}}}
        charged = 0
        async with (
            open_local_network(tmp_path, workers=1, more=more) as network,
            trio.open_nursery() as nursery,
        ):
            proxy = network.nodes["proxy"]
            for _ in range(2):
                charged += await _bought(network)
                proxy.signal(signal.SIGKILL)
                await proxy.stop()
                await proxy.start(nursery)
                await proxy.wait_for("ready")
            socket = network.data_directory("proxy") / CONTROL_SOCKET
            earnings = await trio.to_thread.run_sync(ask, socket, EARNINGS, SumEarnings(0))
            await proxy.stop()
        async with open_store(ledger) as store:
            rows, lines = await store.channels(), await store.lines()

    assert audit(rows, lines) == ()
    assert sum(sums.income_nano for sums in earnings.peers.values()) == charged
    assert sum(row.charged for row in rows if row.name.side is Side.PAYEE) == charged > 0


async def _bought(network: LocalNetwork) -> int:
    """Buy an answer as soon as the worker has come back to its proxy, and say what it cost."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                async with (
                    client_of(network) as client,
                    client.chat("cocoon-demo", HELLO, trust="sim") as answer,
                ):
                    async for _piece in answer:
                        pass
                return answer.cost or 0
            except (Refused, Unavailable):
                await trio.sleep(0.5)
