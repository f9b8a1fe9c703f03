"""Processes that pay on a local chain: whatever breaks, the chain and all ledgers tell the same at last."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from cocoon_p2p.cli.books import Books, who_paid_whom
from cocoon_p2p.cli.chain_books import ChainBooks
from cocoon_p2p.cli.demo_chain import PROXY_KEYS, DemoChain
from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.errors import CocoonError, Refused
from cocoon_p2p.node import OpenedClient, open_paying_client
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain.messages import AccountId as LocalAccountId
from cocoon_p2p.payments.devchain.saved import load as load_chain
from cocoon_p2p.payments.lite.transactions import read_transaction
from cocoon_p2p.testing.fortune import PLAY_MONEY
from cocoon_p2p.testing.processes import LocalNetwork, NodeProcess, open_local_network

CAPACITY = 10**9
HELLO = [{"role": "user", "content": "Hello"}]


@asynccontextmanager
async def network_on_chain(place: Path) -> AsyncIterator[LocalNetwork]:
    async with open_local_network(place, workers=1, on_chain=True, proxy_keys=PROXY_KEYS) as network:
        yield network


@asynccontextmanager
async def paying(network: LocalNetwork) -> AsyncIterator[tuple[OpenedClient, DemoChain]]:
    async with open_paying_client(load(ClientFile, network.client_file, {})) as opened:
        with trio.fail_after(60):
            while not await opened.client.models():  # noqa: ASYNC110  (each look is a search)
                await trio.sleep(0.1)
        yield opened, DemoChain(network, opened, lambda _node, _step: None)


async def ask(client: Client) -> int:
    """Buy one whole answer; give what it cost."""
    async with client.chat("cocoon-demo", HELLO) as answer:
        assert await answer.read()
    return answer.cost


async def assert_agreed(network: LocalNetwork, chain_books: ChainBooks) -> Books:
    """Both ends of every channel, the ledgers, and the chain as it was saved tell of the same money."""
    books = await who_paid_whom(network.place, list(network.nodes))
    assert books.faults == ()
    assert chain_books.faults(books) == ()
    assert_on_chain(network, chain_books)
    return books


def assert_on_chain(network: LocalNetwork, chain_books: ChainBooks) -> None:
    """Recompute all of it from the saved chain, without anything that was reckoned while it ran."""
    fortune = network.fortune
    assert fortune is not None
    chain = load_chain(fortune.state, clock=lambda: 0.0)
    fees = sum(
        read_transaction(read_one(past.transaction.boc), AccountId(past.transaction.address)).transaction.fees
        for past in chain.history.all_transactions()
    )
    assert chain.last.accounts is not None
    assert chain.last.accounts.weight + fees == 2 * PLAY_MONEY
    assert chain_books.fees == fees
    balances = {
        name: chain.account(LocalAccountId(fortune.account(name))).balance for name in fortune.addresses
    }
    assert {balance.name: balance.after for balance in chain_books.balances} == balances
    # Nothing is left in any contract.
    assert sum(balances.values()) == chain.last.accounts.weight


async def test_no_channel_no_answer_and_on_one_two_at_once_are_paid_to_the_nanoton(tmp_path: Path) -> None:
    async with network_on_chain(tmp_path) as network, paying(network) as (opened, chain):
        with pytest.raises(Refused) as caught:
            await ask(opened.client)
        await chain.begin(CAPACITY)
        costs: list[int] = []

        async def buy() -> None:
            costs.append(await ask(opened.client))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(buy)
            nursery.start_soon(buy)
        await chain.see_proxy_open()
        chain_books = await chain.end()

    assert caught.value.code == "no-credit"
    assert "cocoon channels open" in caught.value.hint
    assert caught.value.charged == 0
    books = await assert_agreed(network, chain_books)
    assert -books.earned("client") == sum(costs) > 0
    assert len(chain_books.contracts) == 2


async def test_a_worker_killed_in_mid_answer_is_paid_for_what_it_delivered(tmp_path: Path) -> None:
    async with (
        trio.open_nursery() as nursery,
        network_on_chain(tmp_path) as network,
        paying(network) as (opened, chain),
    ):
        await chain.begin(CAPACITY)
        worker = network.nodes["worker-1"]
        broken = await kill_while_answering(opened.client, worker)
        await worker.start(nursery)
        await worker.wait_for("ready")
        cost = await ask(opened.client)
        await chain.see_proxy_open()
        chain_books = await chain.end()

    books = await assert_agreed(network, chain_books)
    assert broken.code == "worker-lost"
    assert -books.earned("client") == broken.charged + cost
    assert books.earned("worker-1") > 0


async def test_a_proxy_killed_in_mid_answer_finds_its_channels_again(tmp_path: Path) -> None:
    async with (
        trio.open_nursery() as nursery,
        network_on_chain(tmp_path) as network,
        paying(network) as (opened, chain),
    ):
        await chain.begin(CAPACITY)
        await ask(opened.client)
        await chain.see_proxy_open()
        proxy = network.nodes["proxy"]
        await kill_while_answering(opened.client, proxy)
        await proxy.start(nursery)
        await proxy.wait_for("ready")
        await ask_until_answered(opened.client)
        chain_books = await chain.end()

    await assert_agreed(network, chain_books)
    # No channel was opened beside those that stood before.
    assert len(chain_books.contracts) == 2
    assert len({contract.address for contract in chain_books.contracts}) == 2


async def kill_while_answering(client: Client, node: NodeProcess) -> CocoonError:
    with pytest.raises(CocoonError) as caught:
        async with client.chat("cocoon-demo", HELLO, ignore_eos=True, completion_tokens_max=900) as answer:
            async for piece in answer:
                if piece.completion_tokens >= 100:
                    node.signal(signal.SIGKILL)
    return caught.value


async def ask_until_answered(client: Client) -> None:
    """Ask until the proxy has its worker again."""
    with trio.fail_after(60):
        while True:
            try:
                await ask(client)
            except CocoonError:
                await trio.sleep(0.2)
            else:
                return
