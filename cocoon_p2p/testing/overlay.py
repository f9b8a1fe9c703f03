"""A whole network in one process: the real roles on the memory network, with ledgers in memory.

Every node is what runs in earnest, its machines, streams, seals and accounts; only sockets,
disks and models are stood in for. Under trio's `autojump_clock` equal seeds give equal runs.

    async with open_overlay(workers=2) as overlay:
        async with overlay.client.chat("scripted", messages) as answer: ...
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from cocoon_p2p.client import Client, Policy
from cocoon_p2p.identity import Identity, NetworkId, network_id, peer_id_text
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.journal import Journal
from cocoon_p2p.ledger import audit
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.proxy import Proxy, ProxyPolicy, serve_proxy
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import MemoryDirectory, MemoryNetwork, MemoryTransport
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker, serve_worker

EPOCH = 1_800_000_000.0
"When every test begins, in seconds since the Unix epoch."

PRICE = Price(prompt=1_000_000, cached=500_000, completion=2_000_000, reasoning=2_000_000)
"A thousandth of a TON a token or two, so that every token shows in the sums."

WORKER_GRANT = Nano(20_000_000)


def date() -> float:
    """Tell trio's own clock as a date."""
    return EPOCH + trio.current_time()


class Draw:
    """Random bytes, the same in every run of one seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, size_bytes: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(f"{self._seed}/{self._count}".encode()).digest(size_bytes)


@dataclass
class MemoryNode:
    """One node: who it is, and what outlives it."""

    name: str
    identity: Identity
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    journal: Journal = field(default_factory=Journal)
    "Of its life: in memory."

    @classmethod
    def named(cls, name: str) -> "MemoryNode":
        """Make a node whose key follows from its name."""
        return cls(name, Identity.from_seed(hashlib.sha256(name.encode()).digest()))


@dataclass
class Overlay:
    """One client, one proxy and some workers that found each other."""

    network: MemoryNetwork
    nodes: dict[str, MemoryNode]
    client: Client
    client_accounts: Accounts
    proxy: Proxy
    proxy_accounts: Accounts
    workers: tuple[Worker, ...]
    worker_accounts: tuple[Accounts, ...]
    engines: tuple[Engine, ...]
    _parts: "_Parts"
    _nursery: trio.Nursery

    def kill(self, name: str) -> None:
        """Kill the proxy (`proxy`) or a worker (`worker-1`, ...): only what is on its disk remains."""
        self._parts.kill(self.nodes[name])

    async def restart(self, name: str) -> None:
        """Start a node again over what its disk has."""
        node = self.nodes[name]
        if name == "proxy":
            self.proxy, self.proxy_accounts = await self._nursery.start(self._parts.run_proxy, node)
            return
        index = int(name.rpartition("-")[2]) - 1
        run = partial(self._parts.run_worker, node, self.nodes["proxy"], self.engines[index])
        worker, accounts = await self._nursery.start(run)
        self.workers = (*self.workers[:index], worker, *self.workers[index + 1 :])
        before, after = self.worker_accounts[:index], self.worker_accounts[index + 1 :]
        self.worker_accounts = (*before, accounts, *after)

    def paid(self) -> tuple[int, int, int]:
        """Give what the client was charged, what the proxy received, and what all workers earned."""
        return (
            sum(account.charged for account in self.client_accounts.payees()),
            sum(account.charged() for account in self.proxy_accounts.payers()),
            sum(account.charged() for accounts in self.worker_accounts for account in accounts.payers()),
        )

    def disagreements(self) -> tuple[str, ...]:
        """Name each channel whose ends differ on what was charged, and each ledger that does not add up."""
        ends: dict[bytes, dict[str, int]] = {}
        faults: list[str] = []
        for name, node in self.nodes.items():
            rows = tuple(node.disk.channels.values())
            faults += [f"{name}: {fault}" for fault in audit(rows, node.disk.lines.values())]
            for row in rows:
                ends.setdefault(row.name.channel, {})[name] = row.charged
        faults += [f"{charged}" for charged in ends.values() if len(set(charged.values())) > 1]
        return tuple(faults)


@asynccontextmanager
async def open_overlay(
    *,
    engines: Sequence[Engine] = (),
    workers: int = 1,
    seed: int = 0,
    delay_seconds: tuple[float, float] = (0.0, 0.0),
    flush_seconds: float = 0.0,
    client_policy: Policy | None = None,
    proxy_policy: ProxyPolicy | None = None,
    price: Price = PRICE,
) -> AsyncIterator[Overlay]:
    """Bring a network up, wait until every worker stands with the proxy, and take it down at the end.

    Args:
        engines: One for each worker; by default scripted ones.
        workers: How many, where no engines are given.
        seed: Of every random byte and delay.
        delay_seconds: Range of each message's delay.
        flush_seconds: How long every disk takes.
        client_policy: The client's rules; by default nothing must be proven.
        proxy_policy: The proxy's.
        price: Of every worker, for every model.
    """
    chosen = tuple(engines) or tuple(ScriptedEngine() for _ in range(workers))
    names = ("client", "proxy", *(f"worker-{number}" for number in range(1, len(chosen) + 1)))
    nodes = {name: MemoryNode.named(name) for name in names}
    network, directory = network_id("memory"), MemoryDirectory()
    async with (
        MemoryNetwork(seed=seed, delay_seconds=delay_seconds) as links,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        parts = _Parts(links, directory, network, seed, price, proxy_policy, flush_seconds)
        proxy, accounts = await nursery.start(parts.run_proxy, nodes["proxy"])
        served = [
            await nursery.start(parts.run_worker, nodes[name], nodes["proxy"], engine)
            for name, engine in zip(names[2:], chosen, strict=True)
        ]
        dialling = links.transport(nodes["client"].identity, listen=False)
        spent = await stack.enter_async_context(parts.accounts(nodes["client"], dialling, Nano(0)))
        client = await stack.enter_async_context(
            Client.open(
                dialling,
                directory.of(dialling),
                spent,
                network,
                policy=client_policy or Policy(trust=Trust.OPEN, max_cost=Nano(10**9)),
                clock=date,
                journal=nodes["client"].journal,
                draw=parts.draw("client"),
            )
        )
        await proxy.wait_workers(len(served))
        while not await client.models():  # noqa: ASYNC110  (each look waits for a search)
            await trio.sleep(0.1)
        yield Overlay(
            network=links,
            nodes=nodes,
            client=client,
            client_accounts=spent,
            proxy=proxy,
            proxy_accounts=accounts,
            workers=tuple(worker for worker, _ in served),
            worker_accounts=tuple(earned for _, earned in served),
            engines=chosen,
            _parts=parts,
            _nursery=nursery,
        )
        await stack.aclose()
        nursery.cancel_scope.cancel()


@dataclass
class _Parts:
    """What nodes are made of, the first time and after a crash."""

    links: MemoryNetwork
    directory: MemoryDirectory
    network: NetworkId
    seed: int
    price: Price
    proxy_policy: ProxyPolicy | None
    flush_seconds: float
    scopes: dict[str, trio.CancelScope] = field(default_factory=dict[str, trio.CancelScope])
    "Of each node's life."

    lives: int = 0
    "How many there were: no two draw the same bytes."

    def draw(self, name: str) -> Callable[[int], bytes]:
        return Draw(f"{self.seed}/{name}")

    def accounts(
        self, node: MemoryNode, transport: MemoryTransport, grant: Nano
    ) -> AbstractAsyncContextManager[Accounts]:
        """Open a node's accounts over its disk."""
        self.lives += 1
        return open_accounts(
            transport,
            node.identity,
            self.network,
            MemoryStore(node.disk, flush_seconds=self.flush_seconds),
            grant_policy=lambda _payer: grant,
            draw=self.draw(f"{node.name}/accounts/{self.lives}"),
            clock=date,
        )

    async def run_proxy(
        self,
        node: MemoryNode,
        task_status: trio.TaskStatus[tuple[Proxy, Accounts]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        transport = self.links.transport(node.identity)
        with trio.CancelScope() as self.scopes[node.name]:
            async with self.accounts(node, transport, Nano(0)) as accounts, trio.open_nursery() as nursery:
                serve = partial(
                    serve_proxy,
                    transport=transport,
                    directory=self.directory.of(transport),
                    identity=node.identity,
                    network=self.network,
                    accounts=accounts,
                    policy=self.proxy_policy,
                    journal=node.journal,
                    now=date,
                    draw=self.draw(f"{node.name}/{self.lives}"),
                )
                task_status.started((await nursery.start(serve), accounts))

    async def run_worker(
        self,
        node: MemoryNode,
        proxy: MemoryNode,
        engine: Engine,
        task_status: trio.TaskStatus[tuple[Worker, Accounts]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        transport = self.links.transport(node.identity, listen=False)
        address = f"/memory/1/p2p/{peer_id_text(proxy.identity.peer_id)}"
        with trio.CancelScope() as self.scopes[node.name]:
            async with (
                self.accounts(node, transport, WORKER_GRANT) as accounts,
                trio.open_nursery() as nursery,
            ):
                serve = partial(
                    serve_worker,
                    transport=transport,
                    identity=node.identity,
                    network=self.network,
                    engine=engine,
                    accounts=accounts,
                    proxies=[[address]],
                    prices={card.name: self.price for card in engine.capabilities.models},
                    journal=node.journal,
                    now=date,
                    draw=self.draw(f"{node.name}/{self.lives}"),
                )
                task_status.started((await nursery.start(serve), accounts))

    def kill(self, node: MemoryNode) -> None:
        """End a node's life as `kill -9` does: whatever it still writes goes to a disk that nobody reads."""
        node.disk, node.journal = node.disk.copy(), Journal()
        self.scopes[node.name].cancel()
        self.links.crash(node.identity.peer_id)
