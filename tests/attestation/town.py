"""A network whose nodes prove themselves on paper machines: real roles, in memory or over real sockets."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from cocoon_p2p.attestation import (
    Evidence,
    MeasuredConfiguration,
    Policy,
    Roots,
    configuration_event,
    configuration_hash,
    encode_evidence,
    report_data,
)
from cocoon_p2p.attestation.appraising import Verifier
from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.attestation.events import replay
from cocoon_p2p.attestation.evidence import TDX, TDX_GPU, RuntimeEvent, gpu_nonce
from cocoon_p2p.attestation.proving import Attest, Proving
from cocoon_p2p.attestation.shelf import CollateralShelf
from cocoon_p2p.attestation.showing import Showcase
from cocoon_p2p.client import Client
from cocoon_p2p.client import Policy as ClientPolicy
from cocoon_p2p.identity import Identity
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.protocols.ids import Role, Trust
from cocoon_p2p.protocols.messages import Signed
from cocoon_p2p.proxy import Proxy, serve_proxy
from cocoon_p2p.records import NOTHING_MEASURED
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.gpus import PaperGpu
from cocoon_p2p.testing.machines import PaperMachine
from cocoon_p2p.testing.memory import MemoryDirectory, MemoryNetwork, MemoryTransport
from cocoon_p2p.testing.papers import PRICE, paper_identity
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker, serve_worker
from tests.attestation.kernel import Mirror
from tests.attestation.scene import NETWORK, NOW, firmware_of, image_of, policy_for
from tests.client.scene import CLIENT, POLICY, Dice

PROXY, WORKER, OTHER = (paper_identity(number) for number in (50, 60, 70))
MACHINE = PaperMachine(now=NOW)
GPU = PaperGpu()
MEASURED = MeasuredConfiguration(
    "scripted", ScriptedEngine().capabilities.models[0].weights_hash, "", "info", uses_gpu=False
)
STRICT = policy_for(
    images=(image_of(MACHINE.body), image_of(MACHINE.body, role=Role.PROXY)),
    gpus=(firmware_of(GPU),),
    expires=NOW + 90 * 86_400,
)
ROOTS = Roots(MACHINE.root_der, frozenset({GPU.root}))
ATTESTED = replace(POLICY, trust=Trust.TDX)


def inline_threads(monkeypatch: Any) -> None:
    """Run what would run in a thread at once: a clock that jumps does not wait for threads."""

    async def run(function: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run)


def now() -> float:
    return NOW + trio.current_time()


@dataclass
class Td:
    """A TDX domain that makes evidence for whatever statement it is given."""

    events: tuple[RuntimeEvent, ...] = ()
    gpus: Sequence[PaperGpu] = ()
    machine: PaperMachine = MACHINE
    made: list[bytes] = field(default_factory=list)

    async def attest(self, statement: Signed) -> bytes:
        data = report_data(NETWORK, statement)
        evidence = encode_evidence(
            Evidence(
                type=TDX_GPU if self.gpus else TDX,
                events=self.events,
                gpus=tuple(gpu.evidence(gpu_nonce(data)) for gpu in self.gpus),
                quote=self.machine.quote(data, rtmrs=(*self.machine.body.rtmrs[:3], replay(self.events))),
            )
        )
        self.made.append(evidence)
        return evidence

    @property
    def configuration_hash(self) -> bytes:
        return configuration_hash(self.events[-1]) if self.events else NOTHING_MEASURED


def worker_td(measured: MeasuredConfiguration = MEASURED, **options: Any) -> Td:
    return Td(events=(configuration_event(measured),), **options)


def doorkeeper_for(
    identity: Identity,
    transport: Transport,
    *,
    policy: Policy = STRICT,
    roots: Roots = ROOTS,
    clock: Callable[[], float] = now,
) -> Doorkeeper:
    """Make somebody who examines. The lists are at hand; roots are what the test says."""
    shelf = CollateralShelf(Path("/nonexistent"), [Mirror(MACHINE.collateral())])
    verifier = Verifier(policy, shelf, clock=clock, roots=roots)
    showcase = Showcase(identity, NETWORK)
    draw = Dice(f"doorkeeper {identity.public_key.hex()}")
    return Doorkeeper(verifier, showcase, transport, NETWORK, identity.peer_id, draw)


def proving_for(
    identity: Identity, transport: Transport, td: Td | None, attest: Attest | None = None, **options: Any
) -> Proving:
    asked = {name: options.pop(name) for name in ("asked_of_proxies", "asked_of_workers") if name in options}
    doorkeeper = doorkeeper_for(identity, transport, **options)
    made = attest or (None if td is None else td.attest)
    measured = NOTHING_MEASURED if td is None else td.configuration_hash
    return Proving(doorkeeper._showcase, doorkeeper, made, measured, **asked)


@dataclass
class Town:
    """Everything that runs."""

    client: Client
    proxy: Proxy
    worker: Worker
    guard: Doorkeeper
    "The client's."

    proxy_proving: Proving
    worker_proving: Proving
    accounts: Accounts
    transports: dict[Identity, Transport]
    directory: MemoryDirectory
    nursery: trio.Nursery


@asynccontextmanager
async def town(
    *,
    worker: Td | None = None,
    proxy: Td | None = None,
    client: ClientPolicy = ATTESTED,
    policy: Policy = STRICT,
    roots: Roots = ROOTS,
    asked_of_workers: Trust = Trust.OPEN,
    asked_of_proxies: Trust = Trust.OPEN,
    worker_attest: Attest | None = None,
    proxy_attest: Attest | None = None,
    transports: dict[Identity, Transport] | None = None,
    clock: Callable[[], float] = now,
    engine: ScriptedEngine | None = None,
) -> AsyncIterator[Town]:
    """Run a worker, a proxy and a client. Without a machine a node proves nothing."""
    async with AsyncExitStack() as stack:
        if transports is None:
            network = await stack.enter_async_context(MemoryNetwork())
            transports = {one: network.transport(one, listen=one is PROXY) for one in (PROXY, WORKER, CLIENT)}
        directory = MemoryDirectory()

        async def accounts_of(identity: Identity, grant: int = 0) -> Accounts:
            opened = open_accounts(
                transports[identity],
                identity,
                NETWORK,
                MemoryStore(),
                grant_policy=lambda _: Nano(grant),
                clock=clock,
            )
            return await stack.enter_async_context(opened)

        at_proxy, at_worker, at_client = (
            await accounts_of(PROXY),
            await accounts_of(WORKER, 20_000),
            await accounts_of(CLIENT),
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        judging: dict[str, Any] = {"policy": policy, "roots": roots, "clock": clock}
        proxy_proving = proving_for(
            PROXY, transports[PROXY], proxy, proxy_attest, asked_of_workers=asked_of_workers, **judging
        )
        worker_proving = proving_for(
            WORKER, transports[WORKER], worker, worker_attest, asked_of_proxies=asked_of_proxies, **judging
        )
        serve = partial(
            serve_proxy,
            transport=transports[PROXY],
            directory=DirectoryView(directory, PROXY),
            identity=PROXY,
            network=NETWORK,
            accounts=at_proxy,
            proving=proxy_proving,
            now=clock,
        )
        serving: Proxy = await nursery.start(serve)
        work = partial(
            serve_worker,
            transport=transports[WORKER],
            identity=WORKER,
            network=NETWORK,
            engine=engine or ScriptedEngine(),
            accounts=at_worker,
            proxies=[transports[PROXY].addresses],
            prices={"scripted": PRICE},
            proving=worker_proving,
            now=clock,
        )
        working: Worker = await nursery.start(work)
        guard = doorkeeper_for(CLIENT, transports[CLIENT], **judging)
        opened = await stack.enter_async_context(
            Client.open(
                transports[CLIENT],
                DirectoryView(directory, CLIENT),
                at_client,
                NETWORK,
                policy=client,
                clock=clock,
                doorkeeper=guard,
            )
        )
        yield Town(
            opened,
            serving,
            working,
            guard,
            proxy_proving,
            worker_proving,
            at_client,
            transports,
            directory,
            nursery,
        )
        nursery.cancel_scope.cancel()


class DirectoryView:
    """One node's door to a directory in memory, whatever its transport."""

    def __init__(self, directory: MemoryDirectory, identity: Identity) -> None:
        self._directory = directory
        self._identity = identity

    async def publish(self, record: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._directory.records[self._identity.peer_id] = record

    async def find_proxies(self) -> tuple[bytes, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(self._directory.records.values())


def memory(transport: Transport) -> MemoryTransport:
    assert isinstance(transport, MemoryTransport)
    return transport
