"""A whole paid network on the memory network: real workers, real proxies, a real client."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from cocoon_p2p.client import Client, Policy
from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.proxy import Proxy, ProxyPolicy, serve_proxy
from cocoon_p2p.testing.memory import MemoryDirectory, MemoryNetwork, MemoryTransport
from cocoon_p2p.testing.papers import PRICE, paper_identity
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import serve_worker
from tests.client.scene import CLIENT, NETWORK, POLICY, Dice, now

PROXIES = tuple(paper_identity(50 + number) for number in range(2))
PROXY = PROXIES[0]
WORKERS = tuple(paper_identity(60 + number) for number in range(4))


@dataclass
class Nodes:
    """Everything that runs."""

    network: MemoryNetwork
    client: Client
    proxies: tuple[Proxy, ...]
    accounts: Accounts
    "The client's."

    proxies_accounts: tuple[Accounts, ...]
    worker_accounts: tuple[Accounts, ...]

    async def agreed(self) -> None:
        """Assert that after a while nothing is held and both ends of each channel say the same."""
        await trio.sleep(60)
        proxies = {
            identity.peer_id: accounts
            for identity, accounts in zip(PROXIES, self.proxies_accounts, strict=False)
        }
        workers = {
            identity.peer_id: accounts
            for identity, accounts in zip(WORKERS, self.worker_accounts, strict=False)
        }
        _agree(CLIENT.peer_id, self.accounts, proxies)
        for proxy, accounts in proxies.items():
            _agree(proxy, accounts, workers)

    @property
    def paid(self) -> int:
        return sum(account.charged for account in self.accounts.payees())

    @property
    def earned(self) -> int:
        return sum(account.charged for accounts in self.proxies_accounts for account in accounts.payees())


def _agree(payer: PeerId, accounts: Accounts, payees: Mapping[PeerId, Accounts]) -> None:
    for account in accounts.payees():
        (theirs,) = (one for one in payees[account.payee].payers() if one.payer == payer)
        assert (account.charged, account.held) == (theirs.charged(), 0)
        assert theirs.accrued == 0


@asynccontextmanager
async def nodes(
    *engines: Engine,
    policy: Policy = POLICY,
    seed: int = 0,
    proxies: int = 1,
    proxy_policy: ProxyPolicy | None = None,
    worker_grant: int = 20_000,
) -> AsyncIterator[Nodes]:
    """Run one worker an engine behind each of some proxies, and a client."""
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

        gates = [await stand(identity, listen=True) for identity in PROXIES[:proxies]]
        stood = [
            await stand(identity, listen=False, grant=worker_grant) for identity in WORKERS[: len(engines)]
        ]
        transport, accounts = await stand(CLIENT, listen=False)
        nursery = await stack.enter_async_context(trio.open_nursery())
        served: list[Proxy] = []
        for identity, (gate, gate_accounts) in zip(PROXIES, gates, strict=False):
            serve = partial(
                serve_proxy,
                transport=gate,
                directory=directory.of(gate),
                identity=identity,
                network=NETWORK,
                accounts=gate_accounts,
                policy=proxy_policy,
                now=now,
                draw=Dice(f"proxy {identity.public_key.hex()}"),
            )
            served.append(await nursery.start(serve))
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
                proxies=[gate.addresses for gate, _ in gates],
                prices={"scripted": PRICE},
                now=now,
                draw=Dice(f"worker {identity.public_key.hex()}"),
            )
            await nursery.start(work)
        for proxy in served:
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
        gate_accounts = tuple(accounts for _, accounts in gates)
        yield Nodes(network, client, tuple(served), accounts, gate_accounts, worker_accounts)
        nursery.cancel_scope.cancel()
