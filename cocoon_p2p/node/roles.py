"""What a bootstrap node, a proxy and a worker do from start to stop."""

import time
from functools import partial

import trio

from cocoon_p2p.bootstrap import serve_bootstrap
from cocoon_p2p.config import BootstrapFile, Loaded, NetworkSection, ProxyFile, WorkerFile
from cocoon_p2p.control import serve_control
from cocoon_p2p.errors import ConfigurationError, RemoteProtocolError
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.node.announce import Announce
from cocoon_p2p.node.engine import measured, open_engine
from cocoon_p2p.node.measuring import kept_speeds, measure_when_idle, with_slots
from cocoon_p2p.node.parts import CONTROL_SOCKET, IDENTITY_KEY, KEPT_PEERS, Parts, open_parts
from cocoon_p2p.node.proving_side import prove
from cocoon_p2p.node.reaching import open_reach, tell_reachability
from cocoon_p2p.node.selling import SellingShown
from cocoon_p2p.node.served import prices
from cocoon_p2p.node.sole import sole
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview import PEERS, show_peers
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.proxy import ProxyPolicy, serve_proxy
from cocoon_p2p.records import check_record
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker, serve_worker

DRAIN_SECONDS = 30.0
"How long a node that was told to stop lets what runs go on."

LOOK_FIRST_SECONDS = 0.5
LOOK_LAST_SECONDS = 60.0
"A worker looks for proxies this often: soon while it has none, seldom once it has."


# ---------------------------------------------------------------- bootstrap


async def run_bootstrap(loaded: Loaded[BootstrapFile], announce: Announce, stop: trio.Event) -> None:
    """Run a bootstrap node."""
    from cocoon_p2p.network.libp2p.host import open_transport
    from cocoon_p2p.network.libp2p.kad import open_directory
    from cocoon_p2p.network.libp2p.relay_book import RelayLimits
    from cocoon_p2p.network.libp2p.relay_server import Relay

    network = loaded.settings.network
    _require_listen(network, "a bootstrap node")
    data = loaded.data_directory
    identity = load_or_create(data / IDENTITY_KEY)
    announce("identity", peer=peer_id_text(identity.peer_id))
    async with (
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
        await nursery.start(serve_control, data / CONTROL_SOCKET, [peers])
        announce("listening", addresses=list(transport.addresses))
        nursery.start_soon(tell_reachability, reach, announce)
        nursery.start_soon(serve_bootstrap, lambda: directory.servers_known)
        announce("ready")
        await stop.wait()


def _require_listen(network: NetworkSection, who: str) -> None:
    if not network.listen:
        raise ConfigurationError(
            f"{who} must be dialable: [network] listen is empty",
            hint='for example listen = ["/ip4/0.0.0.0/tcp/4001"]',
        )


# ---------------------------------------------------------------- proxy


async def run_proxy(loaded: Loaded[ProxyFile], announce: Announce, stop: trio.Event) -> None:
    """Run a proxy."""
    settings = loaded.settings
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
    shown = SellingShown()
    async with (
        open_parts(loaded, mode="server", grant=grant, funding=funding, answers=[shown.answer]) as parts,
        open_service_nursery() as nursery,
    ):
        announce("identity", peer=peer_id_text(parts.identity.peer_id))
        announce("listening", addresses=list(parts.transport.addresses))
        nursery.start_soon(tell_reachability, parts.reach, announce)
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
        )
        proxy = shown.seller = await nursery.start(serve)
        announce("ready")
        await stop.wait()
        with trio.move_on_after(DRAIN_SECONDS):
            await proxy.drain()


# ---------------------------------------------------------------- worker


async def run_worker(loaded: Loaded[WorkerFile], announce: Announce, stop: trio.Event) -> None:
    """Run a model, and sell it through the proxies that are configured or, by default, found."""
    loaded = with_slots(loaded)
    settings, shown = loaded.settings, SellingShown()
    # The engine comes first: before it has loaded, there is nothing to offer.
    async with (
        open_engine(loaded, announce) as engine,
        open_parts(loaded, mode="client", grant=Nano(settings.worker.grant), answers=[shown.answer]) as parts,
        open_service_nursery() as nursery,
    ):
        cards, speeds = engine.capabilities.models, kept_speeds(loaded, engine)
        announce("identity", peer=peer_id_text(parts.identity.peer_id))
        announce(
            "engine", engine=engine.capabilities.engine, models=[card.name for card in cards],
            slots=engine.capabilities.slots,
        )  # fmt: skip
        serve = partial(
            serve_worker,
            transport=parts.transport,
            identity=parts.identity,
            network=parts.network,
            engine=engine,
            accounts=parts.accounts,
            proxies=[[address] for address in settings.worker.proxies],
            prices=prices(loaded, engine),
            speeds=speeds,
            proving=await prove(
                settings.attestation,
                parts.network,
                parts.showcase,
                parts.doorkeeper,
                measured(loaded, engine),
            ),
        )
        worker = shown.seller = await nursery.start(serve)
        nursery.start_soon(
            measure_when_idle, loaded, engine, worker.slots, speeds, worker.set_speeds, announce
        )
        tell = _Joining(worker, announce, nursery)
        for proxy in worker.proxies:
            tell.joined(proxy)
        if not settings.worker.proxies:
            nursery.start_soon(_find_proxies, tell, parts)
        await stop.wait()
        with trio.move_on_after(DRAIN_SECONDS):
            await worker.drain()


class _Joining:
    """Announces each proxy that takes the worker's record; the first makes the worker ready."""

    def __init__(self, worker: Worker, announce: Announce, nursery: trio.Nursery) -> None:
        self.worker = worker
        self._announce = announce
        self._nursery = nursery
        self._is_ready = False

    def joined(self, proxy: PeerId) -> None:
        """Wait in the background for a proxy that was joined."""
        self._nursery.start_soon(self._tell, proxy)

    async def _tell(self, proxy: PeerId) -> None:
        if not await self.worker.wait_registered(proxy):
            return
        self._announce("registered", proxy=peer_id_text(proxy))
        if not self._is_ready:
            self._is_ready = True
            self._announce("ready")


async def _find_proxies(joining: _Joining, parts: Parts) -> None:
    """Join every proxy that the directory names, for as long as the worker runs."""
    worker, pause = joining.worker, LOOK_FIRST_SECONDS
    while True:
        for found in await parts.directory.find_proxies():
            try:
                record = check_record(
                    decode_signed(found), network=parts.network, now=time.time(), role=Role.PROXY
                )
            except RemoteProtocolError:
                # Nothing that others put into the directory is to be relied on.
                continue
            if worker.join(PeerId(record.peer), record.addresses):
                joining.joined(PeerId(record.peer))
        pause = LOOK_FIRST_SECONDS if not worker.registered else min(2 * pause, LOOK_LAST_SECONDS)
        await trio.sleep(pause)
