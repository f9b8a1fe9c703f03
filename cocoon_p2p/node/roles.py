"""What a bootstrap node, a proxy and a worker do from start to stop."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from cocoon_p2p.bootstrap import serve_bootstrap
from cocoon_p2p.config import BootstrapFile, Loaded, NetworkSection, ProxyFile, WorkerFile
from cocoon_p2p.config.folder import CONTROL_SOCKET, IDENTITY_KEY, KEPT_PEERS
from cocoon_p2p.control import serve_control
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.node.announce import Announce
from cocoon_p2p.node.asking import open_prices
from cocoon_p2p.node.engine import measured, open_engine
from cocoon_p2p.node.joining import (
    tell_attestation,
    tell_bootstrap,
    tell_chain,
    tell_first_job,
    tell_seen,
)
from cocoon_p2p.node.last_shown import kept_shown
from cocoon_p2p.node.leaving import leave, stoppable
from cocoon_p2p.node.measuring import kept_speeds, measure_when_idle, with_slots
from cocoon_p2p.node.paging import serve_page
from cocoon_p2p.node.parts import Parts, open_parts
from cocoon_p2p.node.payable import check_addresses
from cocoon_p2p.node.proving_side import prove
from cocoon_p2p.node.reaching import open_reach, tell_reachability
from cocoon_p2p.node.self_checks import Check, Insides, start_checks
from cocoon_p2p.node.showing import Showing
from cocoon_p2p.node.sole import sole
from cocoon_p2p.node.steps import Steps, open_steps
from cocoon_p2p.node.through_proxies import ThroughProxies
from cocoon_p2p.node.warming import TOKENS as WARM_TOKENS
from cocoon_p2p.node.warming import warm_all
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview import PEERS, show_peers
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.protocols.messages import Record
from cocoon_p2p.proxy import Proxy, ProxyPolicy, serve_proxy
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker, serve_worker

HINT_ATTESTATION = (
    'see `cocoon attest show` and docs/trust.md; without evidence, [attestation] evidence = "none"'
)


# ---------------------------------------------------------------- bootstrap


async def run_bootstrap(
    loaded: Loaded[BootstrapFile], announce: Announce, stop: trio.Event, check: Check | None = None
) -> None:
    """Run a bootstrap node."""
    from cocoon_p2p.network.libp2p.host import open_transport
    from cocoon_p2p.network.libp2p.kad import open_directory
    from cocoon_p2p.network.libp2p.relay_book import RelayLimits
    from cocoon_p2p.network.libp2p.relay_server import Relay

    network = loaded.settings.network
    _require_listen(network, "a bootstrap node")
    data = loaded.data_directory
    identity = load_or_create(data / IDENTITY_KEY)
    async with (
        open_steps(announce) as steps,
        sole(data),
        open_transport(identity, listen=network.listen, announce=network.announce) as transport,
        open_reach(transport, network, is_server=True) as reach,
        open_directory(
            transport,
            network_name=network.name,
            mode="server",
            bootstrap=network.bootstrap,
            keep_in=data / KEPT_PEERS,
        ) as directory,
        open_service_nursery() as nursery,
    ):
        steps("identity", peer=peer_id_text(identity.peer_id))
        if (relay := loaded.settings.bootstrap).relay:
            limits = RelayLimits(
                reservations_max=relay.relay_reservations,
                circuits_max=relay.relay_circuits,
                circuit_seconds=relay.relay_minutes * 60,
                circuit_bytes=relay.relay_megabytes * 1_000_000,
                circuit_bytes_per_second=relay.relay_kilobytes_per_second * 1_000,
            )
            Relay(transport, identity, limits)
        peers = PEERS.by(partial(show_peers, "bootstrap", network.name, directory.health, reach.view))
        showing = Showing("bootstrap", network.name, steps)
        showing.stands_on(directory.health, reach.view, None)
        answers = peers, *showing.answers, *start_checks(check, Insides(showing), nursery)
        await nursery.start(serve_control, data / CONTROL_SOCKET, answers)
        steps("listening", addresses=list(transport.addresses))
        nursery.start_soon(tell_reachability, reach, steps)
        nursery.start_soon(tell_bootstrap, steps, directory)
        nursery.start_soon(serve_bootstrap, lambda: directory.servers_known)
        nursery.start_soon(serve_page, loaded, steps, showing)
        steps("ready")
        async with kept_shown(showing, data):
            await stop.wait()


def _require_listen(network: NetworkSection, who: str) -> None:
    if not network.listen:
        raise ConfigurationError(
            f"{who} must be dialable: [network] listen is empty",
            hint='for example listen = ["/ip4/0.0.0.0/tcp/4001"]',
        )


# ---------------------------------------------------------------- proxy


async def run_proxy(
    loaded: Loaded[ProxyFile], announce: Announce, stop: trio.Event, check: Check | None = None
) -> None:
    """Run a proxy."""
    began, settings = int(time.time()), loaded.settings
    _require_listen(settings.network, "a proxy")
    grant = Nano(settings.proxy.grant)
    policy = ProxyPolicy(
        commission_basis_points=settings.proxy.commission_basis_points,
        channel_capacity=Nano(settings.proxy.channel_capacity),
        grant=lambda _client: grant,
        asks_per_second=settings.proxy.asks_per_second,
        canary_budget=Nano(settings.proxy.canary_budget),
    )
    funding = FundingPolicy(
        Nano(settings.proxy.channel_capacity),
        open_after=Nano(settings.proxy.open_after),
        deposits_max=Nano(settings.wallet.deposits_max),
        channels_max=settings.proxy.channels_max,
    )
    async with (
        open_steps(announce) as steps,
        open_parts(loaded, mode="server", grant=grant, funding=funding, steps=steps, check=check) as parts,
        open_service_nursery() as nursery,
    ):
        steps("identity", peer=peer_id_text(parts.identity.peer_id))
        steps("listening", addresses=list(parts.transport.addresses))
        nursery.start_soon(tell_reachability, parts.reach, steps)
        nursery.start_soon(tell_bootstrap, steps, parts.directory)
        nursery.start_soon(tell_chain, steps, parts.treasury, loaded)
        nursery.start_soon(serve_page, loaded, steps, parts.showing, parts.deeds)
        proving = await prove(settings.attestation, parts.network, parts.showcase, parts.doorkeeper)
        serve = partial(
            serve_proxy,
            transport=parts.transport,
            directory=parts.directory,
            identity=parts.identity,
            network=parts.network,
            accounts=parts.accounts,
            store=parts.store,
            policy=policy,
            proving=proving,
            journal=parts.journal,
        )
        with steps.expect("attestation", HINT_ATTESTATION, evidence=settings.attestation.evidence):
            proxy = parts.showing.seller = await nursery.start(serve)
        tell_attestation(steps, settings.attestation)
        steps("ready")
        nursery.start_soon(_tell_own_record, steps, parts, proxy, began)
        nursery.start_soon(tell_first_job, steps, parts.journal, str(loaded.path))
        await stop.wait()
        await leave(proxy, parts.treasury, settings.proxy.drain_seconds)


async def _tell_own_record(steps: Steps, parts: Parts, proxy: Proxy, began: int) -> None:
    def holds(record: Record) -> Mapping[str, object] | None:
        # One from before this start is out there too, and may name another place.
        if record.issued < began:
            return None
        return {"addresses": list(record.addresses), "models": [offer.name for offer in record.models]}

    us = parts.identity.peer_id
    await tell_seen(steps, parts.directory, parts.network, lambda: [us] if proxy.record else [], holds)


# ---------------------------------------------------------------- worker


async def run_worker(
    loaded: Loaded[WorkerFile], announce: Announce, stop: trio.Event, check: Check | None = None
) -> None:
    """Run a model, and sell it through the proxies that are configured or, by default, found."""
    check_addresses(loaded)
    loaded = with_slots(loaded)
    settings = loaded.settings
    identity = load_or_create(loaded.data_directory / IDENTITY_KEY)
    # The engine comes first: before it has loaded there is nothing to offer, nor to wait for at a stop.
    async with (
        stoppable(stop) as loading,
        open_steps(announce) as steps,
        _open_engine_told(loaded, steps, identity.peer_id) as engine,
        open_parts(
            loaded, mode="client", grant=Nano(settings.worker.grant), steps=steps, check=check
        ) as parts,
        open_service_nursery() as nursery,
    ):
        loading.cancel()
        speeds = kept_speeds(loaded, engine)
        listens = bool(settings.network.listen)
        nursery.start_soon(partial(tell_reachability, parts.reach, steps, listens=listens))
        nursery.start_soon(tell_bootstrap, steps, parts.directory)
        nursery.start_soon(tell_chain, steps, parts.treasury, loaded)
        nursery.start_soon(serve_page, loaded, steps, parts.showing, parts.deeds)
        if not await _before(stop, partial(_warm, loaded, engine, steps)):
            return
        asked = await open_prices(loaded, engine, parts.store, parts.network, parts.directory)
        serve = partial(
            serve_worker,
            transport=parts.transport,
            identity=parts.identity,
            network=parts.network,
            engine=engine,
            accounts=parts.accounts,
            proxies=[[address] for address in settings.worker.proxies],
            prices=asked.prices,
            speeds=speeds,
            journal=parts.journal,
            proving=await prove(
                settings.attestation,
                parts.network,
                parts.showcase,
                parts.doorkeeper,
                measured(loaded, engine),
            ),
        )
        with steps.expect("attestation", HINT_ATTESTATION, evidence=settings.attestation.evidence):
            worker = parts.showing.seller = await nursery.start(serve)
        parts.showing.prices = asked
        nursery.start_soon(asked.keep, worker)
        tell_attestation(steps, settings.attestation)
        parts.insides.engine = engine
        nursery.start_soon(measure_when_idle, loaded, engine, worker.slots, speeds, worker.set_speeds, steps)
        through = ThroughProxies(worker, parts, steps, nursery)
        nursery.start_soon(partial(through.run, finds=not settings.worker.proxies))
        nursery.start_soon(_tell_our_models, steps, parts, worker)
        nursery.start_soon(tell_first_job, steps, parts.journal, str(loaded.path))
        await stop.wait()
        await leave(worker, parts.treasury, settings.worker.drain_seconds)


@asynccontextmanager
async def _open_engine_told(loaded: Loaded[WorkerFile], steps: Steps, peer: PeerId) -> AsyncIterator[Engine]:
    """Open a worker's engine, and tell of it."""
    steps("identity", peer=peer_id_text(peer))
    async with AsyncExitStack() as stack:
        with steps.expect("engine", "a large model takes its time; the log says what the engine does"):
            engine = await stack.enter_async_context(open_engine(loaded, steps))
        offered = engine.capabilities
        models = [card.name for card in offered.models]
        steps("engine", engine=offered.engine, models=models, slots=offered.slots)
        yield engine


async def _warm(loaded: Loaded[WorkerFile], engine: Engine, steps: Steps) -> None:
    # The first token of a paced answer comes as soon as it is there.
    tokens = 1 if loaded.settings.worker.tokens_per_second else WARM_TOKENS
    await warm_all(engine, engine.capabilities.models, steps, tokens=tokens)


async def _before(stop: trio.Event, do: Callable[[], Awaitable[None]]) -> bool:
    """Do something, unless the node is told to stop meanwhile; say whether it may go on."""
    async with stoppable(stop):
        await do()
    return not stop.is_set()


async def _tell_our_models(steps: Steps, parts: Parts, worker: Worker) -> None:
    def holds(record: Record) -> Mapping[str, object] | None:
        ours = {offer.name for offer in worker.offers}
        named = [offer.name for offer in record.models if offer.name in ours]
        return {"models": named} if named else None

    await tell_seen(steps, parts.directory, parts.network, lambda: worker.registered, holds)
