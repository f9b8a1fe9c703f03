"""What a client, a proxy and a worker have in common: who they are, how they speak, what they pay with."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.attestation.showing import Showcase
from cocoon_p2p.config import ClientFile, Loaded, ProxyFile, WorkerFile
from cocoon_p2p.config.folder import CONTROL_SOCKET, IDENTITY_KEY, KEPT_PEERS, LEDGER
from cocoon_p2p.control import Answer, serve_control
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity, NetworkId, network_id
from cocoon_p2p.journal import Journal
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.ledger import Store
from cocoon_p2p.node.chain_side import open_node_chain, open_treasury, serve_treasury
from cocoon_p2p.node.last_shown import kept_shown
from cocoon_p2p.node.money_shown import MoneyShown
from cocoon_p2p.node.proving_side import open_doorkeeper
from cocoon_p2p.node.reaching import open_reach
from cocoon_p2p.node.self_checks import Check, Insides, start_checks
from cocoon_p2p.node.showing import Showing
from cocoon_p2p.node.steps import Steps
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview import (
    CHANNELS,
    CLOSE,
    EARNINGS,
    FUND,
    PEERS,
    Deeds,
    earnings_from,
    earnings_of,
    list_channels,
    show_peers,
    statement_from,
)
from cocoon_p2p.payments.party import Beside
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.payments.treasury.rounds import Treasury
from cocoon_p2p.spans import open_spans
from cocoon_p2p.store import is_server, open_store
from cocoon_p2p.units import Nano

if TYPE_CHECKING:
    from cocoon_p2p.network.libp2p.host import Libp2pTransport
    from cocoon_p2p.network.libp2p.kad import KadDirectory
    from cocoon_p2p.network.libp2p.reachability_check import ReachabilityCheck


@dataclass(frozen=True, slots=True)
class Parts:
    """What a client, a proxy and a worker have in common."""

    identity: Identity
    network: NetworkId
    transport: "Libp2pTransport"
    directory: "KadDirectory"
    accounts: Accounts
    store: Store
    "The ledger."

    showcase: Showcase
    doorkeeper: Doorkeeper
    treasury: Treasury | None
    "Our side of the chain; None: no chain stands behind this node's channels."

    deeds: Deeds
    "What its owner can have done to its channels."

    reach: "ReachabilityCheck"
    "What others say of where they reach this node."

    journal: Journal
    "What this node did lately."

    showing: Showing
    "What it shows of itself."

    insides: Insides
    "What its checks look at."


@asynccontextmanager
async def open_parts(
    loaded: Loaded[ClientFile] | Loaded[ProxyFile] | Loaded[WorkerFile],
    *,
    mode: Literal["server", "client"],
    grant: Nano,
    funding: FundingPolicy | None = None,
    answers: Sequence[Answer] = (),
    beside: Callable[[Store], Awaitable[Beside]] | None = None,
    steps: Steps | None = None,
    check: Check | None = None,
) -> AsyncIterator[Parts]:
    """Open what every role with a ledger stands on; its parts close in the other order.

    Args:
        loaded: The node's file.
        mode: Whether it serves the DHT (`server`: it must be dialable) or only asks.
        grant: What everybody who pays this node may owe it, in nanoTON.
        funding: What it puts into channels by itself; None: nothing.
        answers: What can be asked through its control socket beyond what every node answers.
        beside: As for `open_accounts`.
        steps: What it says of its way in, for who looks.
        check: What looks the node over now and then; None: nothing does.

    Raises:
        ConfigurationError: An address, the network's name, the folder, the chain's configuration or the
            wallet cannot be used, or another process owns the ledger.
    """
    from cocoon_p2p.network.libp2p.host import open_transport
    from cocoon_p2p.network.libp2p.kad import open_directory
    from cocoon_p2p.network.libp2p.relay_client import RelayClient

    network, data = loaded.settings.network, loaded.data_directory
    identity = load_or_create(data / IDENTITY_KEY)
    this_network = network_id(network.name)
    async with (
        open_store(ledger_of(loaded)) as store,
        open_node_chain(loaded) as chain,
        open_treasury(loaded, store, funding, chain) as treasury,
        open_transport(identity, listen=network.listen, announce=network.announce) as transport,
        open_reach(transport, network, is_server=mode == "server") as reach,
        open_directory(
            transport,
            network_name=network.name,
            mode=mode,
            bootstrap=network.bootstrap,
            keep_in=data / KEPT_PEERS,
        ) as directory,
        open_accounts(
            transport,
            identity,
            this_network,
            store,
            grant_policy=lambda _payer: grant,
            bank=treasury,
            beside=beside,
        ) as accounts,
        open_service_nursery() as nursery,
    ):
        showcase, doorkeeper = await open_doorkeeper(loaded, identity, this_network, transport)
        if mode == "server":
            nursery.start_soon(RelayClient(transport, network.bootstrap).run)
        if treasury is not None:
            nursery.start_soon(serve_treasury, treasury, accounts, loaded)
        deeds = Deeds(store, accounts, treasury)
        wallet = None if treasury is None else treasury.wallet or treasury.payout
        if chain is not None and wallet is not None:
            chain.watched = frozenset([wallet])
        money = MoneyShown(accounts, ledger_of(loaded), store, chain, wallet)
        nursery.start_soon(money.keep_books)
        showing = Showing(role_of(loaded), network.name, steps)
        showing.stands_on(directory.health, reach.view, money)
        insides = Insides(showing, chain)
        all_answers = (
            *answers,
            *showing.answers,
            *start_checks(check, insides, nursery),
            *_answers(ledger_of(loaded), store, accounts, deeds),
            PEERS.by(partial(show_peers, role_of(loaded), network.name, directory.health, reach.view)),
        )
        await nursery.start(serve_control, data / CONTROL_SOCKET, all_answers)
        telemetry, role = loaded.settings.telemetry, role_of(loaded)
        async with (
            kept_shown(showing, data),
            open_spans(telemetry.otlp, showing.journal, role=role, peer=identity.peer_id),
        ):
            yield Parts(
                identity,
                this_network,
                transport,
                directory,
                accounts,
                store,
                showcase,
                doorkeeper,
                treasury,
                deeds,
                reach,
                showing.journal,
                showing,
                insides,
            )


def role_of(
    loaded: Loaded[ClientFile] | Loaded[ProxyFile] | Loaded[WorkerFile],
) -> Literal["client", "proxy", "worker"]:
    """Say whose file it is."""
    match loaded.settings:
        case ClientFile():
            return "client"
        case ProxyFile():
            return "proxy"
        case WorkerFile():
            return "worker"


def ledger_of(loaded: Loaded[ClientFile] | Loaded[ProxyFile] | Loaded[WorkerFile]) -> Path | str:
    """Say where a node's ledger is: a file, or a PostgreSQL server's URL.

    Raises:
        ConfigurationError: The URL is none.
    """
    named = loaded.settings.data.ledger
    if named and not is_server(named):
        raise ConfigurationError(
            "`ledger` in [data] is not a PostgreSQL URL",
            hint="write postgresql://HOST/DATABASE, or leave it out: a ledger file lies in `directory`",
        )
    return named or loaded.data_directory / LEDGER


def _answers(ledger: Path | str, store: Store, accounts: Accounts, deeds: Deeds) -> tuple[Answer, ...]:
    """Give all that other commands can ask of a running node."""
    return (
        FUND.by(deeds.fund),
        CLOSE.by(deeds.close),
        CHANNELS.by(partial(list_channels, store, accounts)),
        EARNINGS.by(earnings_of(ledger) if isinstance(ledger, Path) else earnings_from(store)),
        statement_from(store),
    )
