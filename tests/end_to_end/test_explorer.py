"""An explorer beside a network that trades: what it shows is what the ledgers and the chain have."""

import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.explorer.service import Explorer, open_explorer
from cocoon_p2p.explorer.view import ExplorerView
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.testing.processes import open_local_network
from tests.end_to_end.test_on_chain import CAPACITY, ask, network_on_chain, paying

pytestmark = pytest.mark.long


async def test_what_is_shown_is_what_ledgers_and_chain_have(tmp_path: Path) -> None:
    folder, place = tmp_path / "explorer", tmp_path / "network"
    place.mkdir()
    async with network_on_chain(place) as network:
        loaded = load(ClientFile, network.client_file, {})
        # Each look has a second of its own, however quick the network is.
        seconds = count(time.time())
        opening = open_explorer(loaded, folder, lambda: next(seconds))
        async with opening as explorer, paying(network) as (opened, chain):
            await explorer.look()
            await chain.begin(CAPACITY)
            await ask(opened.client)
            await chain.see_proxy_open()
            trading = await seen(explorer, lambda view: view.chain is not None and view.chain.channels == 2)
            channels = [account.channel for account in opened.parts.accounts.payees()]
            treasury = opened.parts.treasury
            assert treasury is not None
            ours = sum([(await treasury.chain.account(AccountId(one))).balance for one in channels])
            await explorer.crawl()
            crawled = await explorer.view()
            offered = await prices(opened.client)
            chain_books = await chain.end()
            closed = await seen(explorer, lambda view: view.chain is not None and view.chain.closed == 2)
            history = await explorer.history()
        told = await run_json(network.client_file, folder)
    books = await who_paid_whom(place, list(network.nodes))

    assert books.faults == ()
    assert chain_books.faults(books) == ()
    assert trading.chain is not None
    assert closed.chain is not None
    assert trading.chain.locked > ours > CAPACITY
    assert (trading.chain.wallets.paying, trading.chain.wallets.both, trading.chain.wallets.paid) == (1, 1, 1)
    assert closed.chain.settled == -books.earned("client") + books.earned("worker-1")
    assert (closed.chain.channels, closed.chain.locked, closed.chain.missed) == (0, 0, 0)
    assert sum(amount or 0 for amount in history.settlements.values["amount"]) == closed.chain.settled
    assert max(amount or 0 for amount in history.chain.values["locked"]) >= trading.chain.locked

    assert crawled.nodes is not None
    assert (crawled.nodes.proxies, crawled.nodes.servers, crawled.nodes.silent) == (1, 1, 0)
    assert crawled.trust == {"sim": 1}
    assert {model.model: model.lowest.completion for model in crawled.models} == offered
    assert crawled.proxies[0].peer == network.nodes["proxy"].steps["identity"]["peer"]

    # Another process goes on where this one stopped.
    assert told["chain"]["settled"] == closed.chain.settled
    assert told["began_at"] == closed.began_at
    assert told["proxies"][0]["first_seen"] == crawled.proxies[0].first_seen


async def seen(explorer: Explorer, holds: Any) -> ExplorerView:
    """Look until something is to be seen."""
    with trio.fail_after(60):
        while True:
            await explorer.look()
            view = await explorer.view()
            if holds(view):
                return view
            await trio.sleep(0.1)


async def prices(client: Client) -> dict[str, int]:
    return {offer.model.name: offer.model.price.completion for offer in await client.models()}


async def run_json(file: Path, folder: Path) -> Any:
    command = [sys.executable, "-m", "cocoon_p2p.cli", "explorer", str(file), f"--data={folder}", "--json"]
    with trio.fail_after(120):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    # Every field is there, and is what the schema says.
    return msgspec.to_builtins(msgspec.json.decode(done.stdout, type=ExplorerView))


async def test_the_command_serves_strangers_and_tells_who_asks_beside_it(tmp_path: Path) -> None:
    folder, place = tmp_path / "explorer", tmp_path / "network"
    place.mkdir()
    async with open_local_network(place, workers=1) as network:
        file = network.client_file
        command = [sys.executable, "-m", "cocoon_p2p.cli", "explorer", str(file), f"--data={folder}"]
        process = await trio.lowlevel.open_process(
            [*command, "--listen=127.0.0.1:0", "--every=5"], stderr=subprocess.PIPE
        )
        try:
            assert process.stderr is not None
            with trio.fail_after(120):
                url = (await process.stderr.receive_some()).decode().split()[0]
                async with httpx.AsyncClient(base_url=url) as caller:
                    told = (await caller.get("/api/v1/network")).json()
                    while not told["proxies"]:
                        await trio.sleep(0.5)
                        told = (await caller.get("/api/v1/network")).json()
                beside = await run_json(file, folder)
        finally:
            process.terminate()
            with trio.move_on_after(60):
                await process.wait()

    assert told["chain"] is None
    assert told["models"] == beside["models"]
    assert [proxy["peer"] for proxy in beside["proxies"]] == [
        network.nodes["proxy"].steps["identity"]["peer"]
    ]
    assert process.returncode == 0
