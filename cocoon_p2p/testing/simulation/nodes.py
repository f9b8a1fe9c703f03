"""The nodes of a run: the real roles, each started, killed and started again over its own disk."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

import trio

from cocoon_p2p.client import Client, Policy
from cocoon_p2p.identity import network_id, peer_id_text
from cocoon_p2p.inference.measuring.levels import Speeds
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.protocols.contents import RequestContent
from cocoon_p2p.protocols.ids import CHUNK_TOKENS, Trust
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.proxy import Proxy, ProxyPolicy, serve_proxy
from cocoon_p2p.testing.memory import MemoryDirectory, MemoryNetwork, MemoryTransport
from cocoon_p2p.testing.overlay import Draw, MemoryNode, date
from cocoon_p2p.testing.simulation.engines import SimulatedEngine, prompt_tokens_after
from cocoon_p2p.testing.simulation.plan import MODEL, Bench, Plan
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker, serve_worker

NETWORK = network_id("simulation")
WINDOW_TOKENS = 2 * CHUNK_TOKENS
"As small as may be: the less is covered ahead, the more vouchers."

COMMISSION_BASIS_POINTS = 500


@dataclass
class Life:
    """A node that runs."""

    accounts: Accounts
    scope: trio.CancelScope
    role: Client | Proxy | Worker


@dataclass
class Nodes:
    """Every node by its name, whether it runs or not."""

    plan: Plan
    links: MemoryNetwork
    nursery: trio.Nursery
    directory: MemoryDirectory = field(default_factory=MemoryDirectory)
    homes: dict[str, MemoryNode] = field(default_factory=dict[str, MemoryNode])
    lives: dict[str, Life] = field(default_factory=dict[str, Life])
    engines: dict[str, SimulatedEngine] = field(default_factory=dict[str, SimulatedEngine])
    prices: dict[str, Price] = field(default_factory=dict[str, Price])
    begun: int = 0
    "Lives so far: no two draw the same bytes."

    changed: trio.Event = field(default_factory=trio.Event)
    "Set when a node has been started; replaced by then."

    def __post_init__(self) -> None:
        plan = self.plan
        proxies = [f"proxy-{number}" for number in range(1, plan.proxies + 1)]
        clients = [f"client-{number}" for number in range(1, len(plan.clients) + 1)]
        workers = {f"worker-{number}": bench for number, bench in enumerate(plan.workers, 1)}
        self.homes = {name: MemoryNode.named(name) for name in (*proxies, *workers, *clients)}
        for name, bench in workers.items():
            self.engines[name] = SimulatedEngine(bench)
            self.prices[name] = bench.price

    @property
    def proxies(self) -> list[str]:
        return [name for name in self.homes if name.startswith("proxy")]

    @property
    def exchanges(self) -> int:
        """How many requests an engine began to compute."""
        return sum(len(engine.requests) for engine in self.engines.values())

    async def start(self, name: str) -> None:
        """Start a node over what is on its disk; return once it is at work."""
        self.begun += 1
        role = name.partition("-")[0]
        run = {"proxy": self._run_proxy, "worker": self._run_worker, "client": self._run_client}[role]
        self.lives[name] = await self.nursery.start(run, self.homes[name])
        event, self.changed = self.changed, trio.Event()
        event.set()

    def kill(self, name: str) -> None:
        """End a node's life as `kill -9` does: what it still writes goes to a disk that nobody reads."""
        node = self.homes[name]
        node.disk = node.disk.copy()
        self.lives.pop(name).scope.cancel()
        self.links.crash(node.identity.peer_id)

    def restore(self, name: str, backup: MemoryDisk) -> None:
        """Put an older disk into a node that is dead."""
        assert name not in self.lives
        self.homes[name].disk = backup.copy()

    def reprice(self, name: str, tenths: int) -> None:
        """Let a worker ask for so many tenths of its first price from now on."""
        first = self.plan.workers[int(name.rpartition("-")[2]) - 1].price
        price = Price(
            *(part * tenths // 10 for part in (first.prompt, first.cached, first.completion, first.reasoning))
        )
        self.prices[name] = price
        if name in self.lives:
            role = self.lives[name].role
            assert isinstance(role, Worker)
            role.set_prices({MODEL: price})

    async def in_the_midst(self, name: str, tokens: int) -> None:
        """Return as soon as an answer has so many tokens: a worker's, or anybody's if this is no worker."""
        engines = [self.engines[name]] if name in self.engines else [*self.engines.values()]
        async with trio.open_nursery() as nursery:

            async def wait(engine: SimulatedEngine) -> None:
                await engine.reached(tokens)
                nursery.cancel_scope.cancel()

            for engine in engines:
                nursery.start_soon(wait, engine)

    # ------------------------------------------------------------ the three roles

    def _draw(self, name: str) -> Callable[[int], bytes]:
        return Draw(f"{self.plan.seed}/{name}/{self.begun}")

    def _accounts(
        self, node: MemoryNode, transport: MemoryTransport, grant: Nano
    ) -> AbstractAsyncContextManager[Accounts]:
        return open_accounts(
            transport,
            node.identity,
            NETWORK,
            MemoryStore(node.disk, flush_seconds=self.plan.flush_seconds),
            grant_policy=lambda _payer: grant,
            draw=self._draw(f"{node.name}/accounts"),
            clock=date,
        )

    async def _run_proxy(
        self, node: MemoryNode, task_status: trio.TaskStatus[Life] = trio.TASK_STATUS_IGNORED
    ) -> None:
        transport = self.links.transport(node.identity)
        with trio.CancelScope() as scope:
            async with self._accounts(node, transport, Nano(0)) as accounts, trio.open_nursery() as nursery:
                serve = partial(
                    serve_proxy,
                    transport=transport,
                    directory=self.directory.of(transport),
                    identity=node.identity,
                    network=NETWORK,
                    accounts=accounts,
                    policy=ProxyPolicy(
                        commission_basis_points=COMMISSION_BASIS_POINTS, window_tokens=WINDOW_TOKENS
                    ),
                    now=date,
                    draw=self._draw(node.name),
                )
                task_status.started(Life(accounts, scope, await nursery.start(serve)))

    async def _run_worker(
        self, node: MemoryNode, task_status: trio.TaskStatus[Life] = trio.TASK_STATUS_IGNORED
    ) -> None:
        transport = self.links.transport(node.identity, listen=False)
        bench = self.plan.workers[int(node.name.rpartition("-")[2]) - 1]
        peers = [peer_id_text(self.homes[name].identity.peer_id) for name in self.proxies]
        with trio.CancelScope() as scope:
            async with (
                self._accounts(node, transport, Nano(self.plan.worker_grant)) as accounts,
                trio.open_nursery() as nursery,
            ):
                serve = partial(
                    serve_worker,
                    transport=transport,
                    identity=node.identity,
                    network=NETWORK,
                    engine=self.engines[node.name],
                    accounts=accounts,
                    proxies=[[f"/memory/1/p2p/{peer}"] for peer in peers],
                    prices={MODEL: self.prices[node.name]},
                    speeds=_said(bench),
                    now=date,
                    draw=self._draw(node.name),
                )
                task_status.started(Life(accounts, scope, await nursery.start(serve)))

    async def _run_client(
        self, node: MemoryNode, task_status: trio.TaskStatus[Life] = trio.TASK_STATUS_IGNORED
    ) -> None:
        transport = self.links.transport(node.identity, listen=False)
        policy = Policy(
            trust=Trust.OPEN,
            window_tokens_max=WINDOW_TOKENS,
            refresh_seconds=5.0,
            count_prompt=_count if node.name in self.plan.counts_prompts else None,
        )
        with trio.CancelScope() as scope:
            async with (
                self._accounts(node, transport, Nano(0)) as accounts,
                Client.open(
                    transport,
                    self.directory.of(transport),
                    accounts,
                    NETWORK,
                    policy=policy,
                    clock=date,
                    draw=self._draw(node.name),
                ) as client,
            ):
                task_status.started(Life(accounts, scope, client))
                await trio.sleep_forever()


def _count(_tokenizer: bytes, _request: RequestContent) -> int:
    return prompt_tokens_after(0)


def _said(bench: Bench) -> dict[str, Speeds]:
    """Spell what a worker says of its pace, true or not."""
    if bench.says_token_seconds is None:
        return {}
    decode = 1 / bench.says_token_seconds
    return {MODEL: Speeds(1_000.0, decode, decode)}
