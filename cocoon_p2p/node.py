"""Puts one role together out of real parts, as its config file says.

Every role takes its parts as arguments; here they are made: the identity from its key file,
libp2p's transport and DHT, the SQLite ledger, the engine. Each `run_...` serves until `stop`
is set, lets what runs finish, and returns; a cancel ends it at once, with nothing lost that
was promised.

libp2p and the engines are imported inside the functions: whoever reads a config or prints
help does not pay for them.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import trio

from cocoon_p2p.bootstrap import serve_bootstrap
from cocoon_p2p.client import Client, Policy, parse_trust
from cocoon_p2p.config import BootstrapFile, ClientFile, Loaded, NetworkSection, ProxyFile, WorkerFile
from cocoon_p2p.control import Answer, serve_control
from cocoon_p2p.errors import ConfigurationError, RemoteProtocolError
from cocoon_p2p.identity import Identity, NetworkId, PeerId, network_id, peer_id_text
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.ledger import Store
from cocoon_p2p.network.directory import Directory
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview import CHANNELS, EARNINGS, earnings_of, list_channels
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.proxy import ProxyPolicy, serve_proxy
from cocoon_p2p.records import check_record
from cocoon_p2p.store import open_store
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker, serve_worker

LEDGER = "ledger.db"
CONTROL_SOCKET = "control.sock"
IDENTITY_KEY = "identity.key"

DRAIN_SECONDS = 30.0
"How long a node that was told to stop lets what runs go on."

LOOK_FIRST_SECONDS = 0.5
LOOK_LAST_SECONDS = 60.0
"A worker looks for proxies this often: soon while it has none, seldom once it has."


class Announce(Protocol):
    """Told of each step that a node makes while it joins, with its facts."""

    def __call__(self, step: str, **facts: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a client, a proxy and a worker have in common."""

    identity: Identity
    network: NetworkId
    transport: Transport
    directory: Directory
    accounts: Accounts


@asynccontextmanager
async def open_parts(
    network: NetworkSection, data: Path, *, mode: Literal["server", "client"], grant: Nano
) -> AsyncIterator[Parts]:
    """Open what every role with a ledger stands on; its parts close in the other order.

    Args:
        network: Which network, and how this node is reached.
        data: The folder of its key and its ledger.
        mode: Whether it serves the DHT (`server`: it must be dialable) or only asks.
        grant: What everybody who pays this node may owe it, in nanoTON.

    Raises:
        ConfigurationError: An address, the network's name or the folder cannot be used, or another
            process owns the ledger.
    """
    from cocoon_p2p.network.libp2p.host import open_transport
    from cocoon_p2p.network.libp2p.kad import open_directory

    identity = load_or_create(data / IDENTITY_KEY)
    this_network = network_id(network.name)
    async with (
        open_store(data / LEDGER) as store,
        open_transport(identity, listen=network.listen, announce=network.announce) as transport,
        open_directory(
            transport, network_name=network.name, mode=mode, bootstrap=network.bootstrap
        ) as directory,
        open_accounts(
            transport, identity, this_network, store, grant_policy=lambda _payer: grant
        ) as accounts,
        open_service_nursery() as nursery,
    ):
        await nursery.start(serve_control, data / CONTROL_SOCKET, _answers(data, store, accounts))
        yield Parts(identity, this_network, transport, directory, accounts)


def _answers(data: Path, store: Store, accounts: Accounts) -> tuple[Answer, ...]:
    """Give all that other commands can ask of a running node."""
    return (
        CHANNELS.by(partial(list_channels, store, accounts)),
        EARNINGS.by(earnings_of(data / LEDGER)),
    )


# ---------------------------------------------------------------- bootstrap


async def run_bootstrap(loaded: Loaded[BootstrapFile], announce: Announce, stop: trio.Event) -> None:
    """Run a bootstrap node."""
    from cocoon_p2p.network.libp2p.host import open_transport
    from cocoon_p2p.network.libp2p.kad import open_directory

    network = loaded.settings.network
    _require_listen(network, "a bootstrap node")
    identity = load_or_create(loaded.data_directory / IDENTITY_KEY)
    announce("identity", peer=peer_id_text(identity.peer_id))
    async with (
        open_transport(identity, listen=network.listen, announce=network.announce) as transport,
        open_directory(
            transport, network_name=network.name, mode="server", bootstrap=network.bootstrap
        ) as directory,
        open_service_nursery() as nursery,
    ):
        announce("listening", addresses=list(transport.addresses))
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
    )
    async with (
        open_parts(settings.network, loaded.data_directory, mode="server", grant=grant) as parts,
        open_service_nursery() as nursery,
    ):
        announce("identity", peer=peer_id_text(parts.identity.peer_id))
        announce("listening", addresses=list(parts.transport.addresses))
        serve = partial(
            serve_proxy,
            transport=parts.transport,
            directory=parts.directory,
            identity=parts.identity,
            network=parts.network,
            accounts=parts.accounts,
            policy=policy,
        )
        proxy = await nursery.start(serve)
        announce("ready")
        await stop.wait()
        with trio.move_on_after(DRAIN_SECONDS):
            await proxy.drain()


# ---------------------------------------------------------------- worker


async def run_worker(loaded: Loaded[WorkerFile], announce: Announce, stop: trio.Event) -> None:
    """Run a model, and sell it through the proxies that are configured or, by default, found."""
    settings = loaded.settings
    price = Price(**{name: getattr(settings.price, name) for name in settings.price.__struct_fields__})
    # The engine comes first: while it loads a model, this process answers nobody.
    async with (
        _open_engine(loaded) as engine,
        open_parts(
            settings.network, loaded.data_directory, mode="client", grant=Nano(settings.worker.grant)
        ) as parts,
        open_service_nursery() as nursery,
    ):
        cards = engine.capabilities.models
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
            prices={card.name: price for card in cards},
        )
        worker = await nursery.start(serve)
        tell = _Joining(worker, announce, nursery)
        for proxy in worker.proxies:
            tell.joined(proxy)
        if not settings.worker.proxies:
            nursery.start_soon(_find_proxies, tell, parts)
        await stop.wait()
        with trio.move_on_after(DRAIN_SECONDS):
            await worker.drain()


@asynccontextmanager
async def _open_engine(loaded: Loaded[WorkerFile]) -> AsyncIterator[Engine]:
    from cocoon_p2p.inference.catalogue import demo_model
    from cocoon_p2p.inference.llamacpp import open_llamacpp

    worker = loaded.settings.worker
    async with open_llamacpp(
        demo_model() if worker.model == "demo" else loaded.resolve(worker.model),
        name=worker.name or None,
        slots=worker.slots,
        context_tokens=worker.context_tokens or None,
        threads=worker.threads or None,
    ) as engine:
        yield engine


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


# ---------------------------------------------------------------- client


@asynccontextmanager
async def open_client(loaded: Loaded[ClientFile]) -> AsyncIterator[Client]:
    """Open a client over real parts for as long as the block lasts.

    Raises:
        ConfigurationError: Something in the file or its folder cannot be used, or another process
            owns the ledger.
    """
    settings = loaded.settings.client
    policy = Policy(
        trust=parse_trust(settings.trust),
        max_cost=Nano(settings.max_cost),
        channel_capacity=Nano(settings.channel_capacity),
    )
    async with (
        open_parts(loaded.settings.network, loaded.data_directory, mode="client", grant=Nano(0)) as parts,
        Client.open(parts.transport, parts.directory, parts.accounts, parts.network, policy=policy) as client,
    ):
        yield client
