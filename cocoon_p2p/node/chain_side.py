"""A node's side of the chain, as its file says: lite servers, wallet, treasury."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from cocoon_p2p import private_files
from cocoon_p2p.config import ChainSection, ClientFile, Loaded, ProxyFile, WalletSection, WorkerFile
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.ledger import Store
from cocoon_p2p.node.chain_heard import ChainHeard
from cocoon_p2p.payments.address import parse_address
from cocoon_p2p.payments.chain import Chain
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.payments.treasury.rounds import ClaimPolicy, Treasury
from cocoon_p2p.payments.wallet import wallet_file
from cocoon_p2p.payments.wallet.booked import BookedJournal
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.payments.wallet.spending_file import FileJournal
from cocoon_p2p.payments.wallet.sweeping import SweepPolicy, keep_swept
from cocoon_p2p.units import Nano

AFile = Loaded[ClientFile] | Loaded[ProxyFile] | Loaded[WorkerFile]

DAY_SECONDS = 24 * 3600.0


@asynccontextmanager
async def open_node_chain(loaded: AFile) -> AsyncIterator[ChainHeard | None]:
    """Open the chain that a node's file names; None if it names none.

    Raises:
        ConfigurationError: Its configuration cannot be used.
        Unavailable: A local chain does not answer.
    """
    section = loaded.settings.chain
    if section is None:
        yield None
        return
    from cocoon_p2p.payments.lite import NETWORKS, open_chain

    async with open_chain(loaded.resolve(section.servers), NETWORKS[section.network]) as lite:
        yield ChainHeard(lite, makes_blocks=section.network != "local")


@asynccontextmanager
async def open_treasury(
    loaded: AFile, store: Store, funding: FundingPolicy | None, lite: ChainHeard | None
) -> AsyncIterator[Treasury | None]:
    """Open the wallet that a node's file names; None if it names no chain.

    Raises:
        ConfigurationError: The wallet cannot be used, or is in use.
    """
    chain, wallet = loaded.settings.chain, loaded.settings.wallet
    if chain is None or lite is None:
        yield None
        return
    with _purse(loaded, lite, store) as purse:
        yield Treasury(
            lite,
            store,
            payout=_payout(wallet, purse, lite),
            purse=purse,
            funder=funder_of(wallet, lite),
            funding=funding,
            claims=_claims(chain),
            close_delay_seconds=chain.close_delay_seconds,
        )


async def serve_treasury(treasury: Treasury, accounts: Accounts, loaded: AFile) -> None:
    """Watch over the accounts' contracts and the wallet until cancelled."""
    wallet = loaded.settings.wallet
    async with trio.open_nursery() as nursery:
        nursery.start_soon(treasury.run, accounts)
        if treasury.purse is not None:
            nursery.start_soon(keep_swept, treasury.chain, treasury.purse, _sweeping(wallet, treasury.chain))


@contextmanager
def _purse(loaded: AFile, chain: Chain, store: Store) -> Iterator[Purse | None]:
    """Take the wallet in hand, alone."""
    section = loaded.settings.wallet
    if not section.file:
        yield None
        return
    path = loaded.resolve(section.file)
    with wallet_file.held(path):
        found = wallet_file.read(path)
        if found.global_id != chain.global_id:
            raise ConfigurationError(
                f"{path} is a wallet of another network (wallet={found.global_id} chain={chain.global_id})",
                hint="make one for this network with `cocoon wallet new --network`",
            )
        key = found.open(_passphrase(loaded.resolve(section.passphrase_file), section))
        purse = Purse(chain, key, BookedJournal(FileJournal.beside(path), store))
        _check_sweeping(section, purse, chain)
        yield purse


def _passphrase(path: Path, section: WalletSection) -> str | None:
    if not section.passphrase_file:
        return None
    return private_files.read(path).decode().rstrip("\n")


def _payout(section: WalletSection, purse: Purse | None, chain: Chain) -> AccountId | None:
    if section.payout:
        return parse_address(section.payout, global_id=chain.global_id).account
    return None if purse is None else purse.wallet.account


def funder_of(section: WalletSection, chain: Chain) -> AccountId | None:
    """Give whose wallet puts the money into the channels, if that is not this node's.

    Raises:
        ConfigurationError: It is no address, or a wallet's file is named as well.
    """
    if not section.funder:
        return None
    if section.file:
        raise ConfigurationError(
            "[wallet] names a `file` and a `funder`: who puts the money into channels?",
            hint="leave one of them out: this node pays from its wallet's file, or a wallet elsewhere does",
        )
    return parse_address(section.funder, global_id=chain.global_id).account


def _check_sweeping(section: WalletSection, purse: Purse, chain: Chain) -> None:
    """See that the surplus would leave the wallet: sent to itself it would pay fees for ever."""
    if _sweeping(section, chain).to == purse.wallet.account:
        raise ConfigurationError(
            "`sweep_to` in [wallet] is the wallet's own address",
            hint="name one whose key is elsewhere, or leave it out",
        )


def _claims(section: ChainSection) -> ClaimPolicy:
    return ClaimPolicy(
        Nano(section.claim_above), section.claim_days * DAY_SECONDS, Nano(section.claim_on_stop)
    )


def _sweeping(section: WalletSection, chain: Chain) -> SweepPolicy:
    to = parse_address(section.sweep_to, global_id=chain.global_id).account if section.sweep_to else None
    keep = Nano(section.sweep_above)
    return SweepPolicy(keep=keep, least=Nano(keep // 10), to=to)
