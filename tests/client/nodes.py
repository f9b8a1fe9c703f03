"""A whole paid network on the memory network: real workers, a real proxy, a real client."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio
import trio.testing

from cocoon_p2p.client import Client, Policy
from cocoon_p2p.identity import Identity
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.proxy import Proxy, serve_proxy
from cocoon_p2p.testing.memory import MemoryDirectory, MemoryNetwork, MemoryTransport
from cocoon_p2p.testing.papers import PRICE, paper_identity
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import serve_worker
from tests.client.scene import CLIENT, NETWORK, POLICY, Dice, now

PROXY = paper_identity(50)
WORKERS = tuple(paper_identity(60 + number) for number in range(4))


@dataclass
class Nodes:
    """Everything that runs."""

    network: MemoryNetwork
    client: Client
    proxy: Proxy
    accounts: Accounts
    "The client's."

    proxy_accounts: Accounts
    worker_accounts: tuple[Accounts, ...]

    async def agreed(self) -> None:
        """Assert that after a while nothing is held and both ends of each channel say the same."""
        await trio.sleep(60)
        for account in self.accounts.payees():
            (theirs,) = self.proxy_accounts.payers()
            assert (account.charged, account.held) == (theirs.charged(), 0)
            assert theirs.accrued == 0
        for account in self.proxy_accounts.payees():
            (theirs,) = self.worker_accounts[WORKERS.index(_identity(account.payee))].payers()
            assert (account.charged, account.held) == (theirs.charged(), 0)
            assert theirs.accrued == 0

    @property
    def paid(self) -> int:
        return sum(account.charged for account in self.accounts.payees())

    @property
    def earned(self) -> int:
        return sum(account.charged for account in self.proxy_accounts.payees())


def _identity(peer: bytes) -> Identity:
    return next(identity for identity in WORKERS if identity.peer_id == peer)


@asynccontextmanager
async def nodes(*engines: Engine, policy: Policy = POLICY, seed: int = 0) -> AsyncIterator[Nodes]:
    """Run one worker an engine behind one proxy, and a client."""
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(MemoryNetwork(seed=seed, delay_seconds=(0.001, 0.02)))
        directory = MemoryDirectory()

        async def stand(
            identity: Identity, *, listen: bool, grant: int = 0
        ) -> tuple[MemoryTransport, Accounts]:
            transport = network.transport(identity, listen=listen)
            accounts = open_accounts(
                transport,
                identity,
                NETWORK,
                MemoryStore(),
                grant_policy=lambda payer: Nano(grant),
                draw=Dice(f"accounts {identity.public_key.hex()}"),
                clock=now,
            )
            return transport, await stack.enter_async_context(accounts)

        proxy_transport, proxy_accounts = await stand(PROXY, listen=True)
        stood = [await stand(identity, listen=False, grant=20_000) for identity in WORKERS[: len(engines)]]
        transport, accounts = await stand(CLIENT, listen=False)
        nursery = await stack.enter_async_context(trio.open_nursery())
        serve = partial(
            serve_proxy,
            transport=proxy_transport,
            directory=directory.of(proxy_transport),
            identity=PROXY,
            network=NETWORK,
            accounts=proxy_accounts,
            now=now,
            draw=Dice("proxy"),
        )
        proxy: Proxy = await nursery.start(serve)
        for engine, identity, (worker_transport, worker_accounts) in zip(
            engines, WORKERS, stood, strict=False
        ):
            work = partial(
                serve_worker,
                transport=worker_transport,
                identity=identity,
                network=NETWORK,
                engine=engine,
                accounts=worker_accounts,
                proxies=[proxy_transport.addresses],
                prices={"scripted": PRICE},
                now=now,
                draw=Dice(f"worker {identity.public_key.hex()}"),
            )
            await nursery.start(work)
        await proxy.wait_workers(len(engines))
        client = await stack.enter_async_context(
            Client.open(
                transport,
                directory.of(transport),
                accounts,
                NETWORK,
                policy=policy,
                clock=now,
                draw=Dice("client"),
            )
        )
        worker_accounts = tuple(accounts for _, accounts in stood)
        yield Nodes(network, client, proxy, accounts, proxy_accounts, worker_accounts)
        nursery.cancel_scope.cancel()
