"""A proxy that nobody can dial sells an answer: found in the DHT, reached through a relay, paid in full.

Real transports on loopback; ledgers in memory.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import trio

from cocoon_p2p.client import Client, Policy
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.network.libp2p import hole_punching, relay_server, relayed
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.kad import KadDirectory, open_directory
from cocoon_p2p.network.libp2p.relay_book import RelayLimits
from cocoon_p2p.network.libp2p.relay_client import RelayClient
from cocoon_p2p.network.libp2p.relay_server import Relay
from cocoon_p2p.network.libp2p.swarm import is_relayed
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.proxy import Proxy, serve_proxy
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.overlay import PRICE, WORKER_GRANT
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import serve_worker
from tests.network.libp2p.relaying import CLIENT, LOOPBACK, PROXY, RELAY, judge_unreachable
from tests.network.libp2p.test_relaying import overhearing

pytestmark = pytest.mark.slow

NAME = "relayed"
NETWORK = network_id(NAME)
WORKER = Identity.from_seed(b"\x55" * 32)
HELLO = ({"role": "user", "content": "The password is swordfish."},)
WORDS = tuple(f"herring{number} " for number in range(40))
SECONDS = 60.0
"Within this long everything has happened, on whatever machine."


@dataclass
class Scene:
    """What runs."""

    proxy: Proxy
    proxy_transport: Libp2pTransport
    client: Client
    client_transport: Libp2pTransport
    paid: Accounts
    received: Accounts
    earned: Accounts

    def sums(self) -> tuple[int, int, int]:
        """Give what the client was charged, what the proxy received, and what the worker earned."""
        return (
            sum(account.charged for account in self.paid.payees()),
            sum(account.charged() for account in self.received.payers()),
            sum(account.charged() for account in self.earned.payers()),
        )

    async def ask(self) -> str:
        async with self.client.chat("scripted", HELLO, timeout_seconds=SECONDS) as answer:
            return await answer.read()

    async def agreed(self) -> None:
        """Wait until both hops say the same."""
        with trio.fail_after(SECONDS):
            while True:
                paid, received, earned = self.sums()
                if paid == received and abs(received - earned * 105 // 100) <= 12:
                    return
                await trio.sleep(0.05)


class Node:
    """A node in the making: its transport, directory and accounts."""

    def __init__(self, stack: AsyncExitStack, bootstrap: tuple[str, ...], *, punches_holes: bool) -> None:
        self._stack = stack
        self._bootstrap = bootstrap
        self._punches_holes = punches_holes

    async def open(
        self, identity: Identity, *, listens: bool, grant: int = 0
    ) -> tuple[Libp2pTransport, KadDirectory, Accounts, trio.Nursery]:
        enter = self._stack.enter_async_context
        transport = await enter(
            open_transport(identity, listen=LOOPBACK * listens, punches_holes=self._punches_holes)
        )
        directory = await enter(
            open_directory(
                transport,
                network_name=NAME,
                mode="server" if listens else "client",
                bootstrap=self._bootstrap,
            )
        )
        accounts = await enter(
            open_accounts(
                transport, identity, NETWORK, MemoryStore(MemoryDisk()), grant_policy=lambda _: Nano(grant)
            )
        )
        return transport, directory, accounts, await enter(open_service_nursery())


@asynccontextmanager
async def open_scene(
    *, engine: ScriptedEngine, punches_holes: bool, limits: RelayLimits | None = None
) -> AsyncIterator[Scene]:
    async with (
        open_transport(RELAY, listen=LOOPBACK) as bootstrap,
        open_directory(bootstrap, network_name=NAME, mode="server"),
        AsyncExitStack() as stack,
    ):
        Relay(bootstrap, RELAY, limits or RelayLimits())
        make = Node(stack, bootstrap.addresses, punches_holes=punches_holes)

        transport, directory, received, nursery = await make.open(PROXY, listens=True)
        nursery.start_soon(RelayClient(transport, bootstrap.addresses).run)
        judge_unreachable(transport)
        while not any("p2p-circuit" in text for text in transport.addresses):
            await transport.addresses_changed.wait()
        serve = partial(
            serve_proxy,
            transport=transport,
            directory=directory,
            identity=PROXY,
            network=NETWORK,
            accounts=received,
        )
        proxy = await nursery.start(serve)

        at_worker, _, earned, nursery = await make.open(WORKER, listens=False, grant=WORKER_GRANT)
        work = partial(
            serve_worker,
            transport=at_worker,
            identity=WORKER,
            network=NETWORK,
            engine=engine,
            accounts=earned,
            proxies=[transport.addresses],
            prices={card.name: PRICE for card in engine.capabilities.models},
        )
        await nursery.start(work)

        at_client, seen, paid, _ = await make.open(CLIENT, listens=False)
        policy = Policy(trust=Trust.OPEN, max_cost=Nano(10**9))
        client = await stack.enter_async_context(
            Client.open(at_client, seen, paid, NETWORK, policy=policy, clock=time.time)
        )
        await proxy.wait_workers(1)
        while not await client.models():  # noqa: ASYNC110  (each look is a search)
            await trio.sleep(0.1)
        yield Scene(proxy, transport, client, at_client, paid, received, earned)


def ways(transport: Libp2pTransport, peer: Identity) -> list[bool]:
    """Say of each connection to a peer whether it is relayed."""
    return [is_relayed(conn) for conn in transport.swarm.open_connections(peer.peer_id)]


async def only_direct(transport: Libp2pTransport, peer: Identity) -> None:
    """Wait until no relayed connection to a peer is left, and a direct one is."""
    with trio.fail_after(SECONDS):
        # More than one is direct when both sides reached each other.
        while set(ways(transport, peer)) != {False}:  # noqa: ASYNC110  (a connection's end tells nobody)
            await trio.sleep(0.05)


@pytest.fixture(autouse=True)
async def _nothing_may_hang() -> AsyncIterator[None]:
    with trio.fail_after(2 * SECONDS):
        yield


async def test_a_proxy_that_nobody_can_dial_is_found_and_paid_and_its_relay_reads_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    carried = bytearray()
    monkeypatch.setattr(relay_server, "carry", overhearing(carried))

    async with open_scene(engine=ScriptedEngine(WORDS), punches_holes=False) as scene:
        assert await scene.ask() == "".join(WORDS)
        await scene.agreed()

        assert scene.sums()[0] > 0
        assert ways(scene.client_transport, PROXY) == [True]
        assert ways(scene.proxy_transport, WORKER) == [True]
    assert len(carried) > 10_000
    assert b"swordfish" not in carried
    assert b"herring" not in carried


@pytest.mark.long
async def test_an_answer_runs_on_while_its_connection_becomes_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relayed, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(relayed, "LINGER_SECONDS", 3.0)
    # Three attempts are all there are, and on a slow machine a handshake may take long.
    monkeypatch.setattr(hole_punching, "KNOCK_SECONDS", SECONDS / 3)
    monkeypatch.setattr(hole_punching, "TALK_SECONDS", SECONDS)
    engine = ScriptedEngine(WORDS, delay_seconds=0.1)

    async with open_scene(engine=engine, punches_holes=True) as scene:
        assert await scene.ask() == "".join(WORDS)
        await only_direct(scene.client_transport, PROXY)
        await only_direct(scene.proxy_transport, WORKER)
        await scene.proxy.wait_workers(1)

        # The money's streams have moved: the same channel pays for the next answer.
        assert await scene.ask() == "".join(WORDS)
        await scene.agreed()
        assert len(scene.paid.payees()) == 1


@pytest.mark.long
async def test_answers_go_on_past_what_a_relay_carries_on_one_connection() -> None:
    limits = RelayLimits(circuit_seconds=12)
    engine = ScriptedEngine(WORDS[:10], delay_seconds=0.02)

    async with open_scene(engine=engine, punches_holes=False, limits=limits) as scene:
        began = trio.current_time()
        while trio.current_time() < began + 1.5 * limits.circuit_seconds:
            assert await scene.ask() == "".join(WORDS[:10])
        await scene.agreed()
        assert len(scene.paid.payees()) == 1
