"""Processes on a local chain, each killed between save, send and on chain: all tell the same at last."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.cli.demo_chain import PROXY_KEYS
from cocoon_p2p.client import Client
from cocoon_p2p.control import follow
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.failpoint import VARIABLE, Failpoint
from cocoon_p2p.node import CONTROL_SOCKET
from cocoon_p2p.overview import CHANNELS, ListChannels
from cocoon_p2p.testing.processes import LocalNetwork, NodeProcess, open_local_network
from tests.end_to_end.test_on_chain import (
    CAPACITY,
    ask,
    ask_until_answered,
    assert_agreed,
    assert_on_chain,
    paying,
)

pytestmark = pytest.mark.long

DEAR = {"prompt": 10**9, "completion": 10**9}
"So that a few answers are worth a claim, nanoTON a thousand tokens."

CLAIMS_COST_MAX = 20_000_000
"More than a claim or two of each channel's cost."

KILLED = -9
PATIENCE_SECONDS = 280.0


@asynccontextmanager
async def dear_network(place: Path, *, claim_above: int = 10**9) -> AsyncIterator[LocalNetwork]:
    """A network whose worker is worth its claims."""
    more = {
        "client": {"client": {"max_cost": 10**9}},
        "worker-1": {"price": DEAR, "chain": {"claim_above": claim_above}},
    }
    async with open_local_network(
        place, workers=1, on_chain=True, proxy_keys=PROXY_KEYS, more=more
    ) as network:
        yield network


async def cocoon(network: LocalNetwork, *words: str, point: Failpoint | None = None) -> int:
    """Run a command of the client's, in a process of its own; give its exit code."""
    environment = {**os.environ, VARIABLE: point or ""}
    command = [sys.executable, "-m", "cocoon_p2p.cli", *words, "--config", str(network.client_file)]
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            command, env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    return done.returncode


async def killed_at(
    points: Sequence[Failpoint],
    node: NodeProcess,
    client: Client,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Have a node die at each place in turn while it is asked, and answer when it is back."""
    for point in points:
        await node.stop()
        monkeypatch.setenv(VARIABLE, point)
        await node.start(nursery)
        monkeypatch.delenv(VARIABLE)
        with trio.fail_after(PATIENCE_SECONDS):
            while not await is_over(node):
                with trio.move_on_after(5):
                    await try_to_ask(client)
        await node.start(nursery)
        await node.wait_for("ready")
        await ask_until_answered(client)


async def is_over(node: NodeProcess) -> bool:
    await trio.sleep(0.05)
    return node._process.poll() is not None


async def use_up_what_was_claimed(network: LocalNetwork, client: Client) -> None:
    """Ask until the worker has charged what it collected: vouchers are ahead of charges."""
    socket = network.data_directory("worker-1") / CONTROL_SOCKET
    while True:
        views = await trio.to_thread.run_sync(lambda: list(follow(socket, CHANNELS, ListChannels())))
        if all(view.claimed_nano <= view.charged_nano for view in views):
            return
        await ask_until_answered(client)


async def try_to_ask(client: Client) -> None:
    try:
        await ask(client)
    except CocoonError:
        await trio.sleep(0.1)


async def test_a_worker_that_dies_between_save_send_and_claim_is_paid_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = (Failpoint.CHARGE_SAVED, Failpoint.CLAIM_SENT)
    async with (
        trio.open_nursery() as nursery,
        dear_network(tmp_path, claim_above=300_000_000) as network,
        paying(network) as (opened, chain),
    ):
        await chain.begin(CAPACITY)
        await killed_at(points, network.nodes["worker-1"], opened.client, nursery, monkeypatch)
        await use_up_what_was_claimed(network, opened.client)
        chain_books = await chain.end()

    books = await who_paid_whom(network.place, list(network.nodes))
    assert books.faults == ()
    assert_on_chain(network, chain_books)
    assert len(chain_books.contracts) == 2
    assert books.earned("worker-1") > 300_000_000
    for balance in chain_books.balances:
        # Whoever claims bears what that costs, and it is not told apart from the contract's fees.
        assert abs(balance.moved - books.earned(balance.name)) < CLAIMS_COST_MAX


async def test_a_proxy_that_dies_between_save_send_and_on_chain_pays_and_is_paid_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = (Failpoint.VOUCHER_SAVED, Failpoint.CHARGE_SAVED)
    async with (
        trio.open_nursery() as nursery,
        dear_network(tmp_path) as network,
        paying(network) as (opened, chain),
    ):
        await chain.begin(CAPACITY)
        await killed_at(points, network.nodes["proxy"], opened.client, nursery, monkeypatch)
        chain_books = await chain.end()

    await assert_agreed(network, chain_books)


async def test_a_client_that_dies_once_its_wallet_has_paid_finds_its_deposit_and_makes_no_other(
    tmp_path: Path,
) -> None:
    async with dear_network(tmp_path) as network:
        killed = await cocoon(network, "channels", "open", "1", point=Failpoint.FUNDING_PAID)
        assert killed == KILLED
        async with paying(network) as (opened, _):
            account = await opened.client.account()
            with trio.fail_after(PATIENCE_SECONDS):
                await ask_until_answered(opened.client)
                assert CAPACITY <= account.capacity < 2 * CAPACITY
                await account.close()
                while not account.backing.is_settled:  # noqa: ASYNC110 (nothing tells of it)
                    await trio.sleep(0.1)

            assert account.backing.claimed == account.charged > 0
