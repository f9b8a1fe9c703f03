"""Each user's side in a folder of its own: identity, ledger, and the channel's key in it.

    PLACE/USER/WALLET/identity.key, ledger.db, ...

Whoever has such a folder can spend what lies in that user's channel, at the proxy that it leads to, and
nowhere else. Whoever loses it loses nobody's money: the user's wallet can close alone.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec

from cocoon_p2p.config import ChainSection, ClientFile, DataSection, Loaded, WalletSection
from cocoon_p2p.errors import ConfigurationError, Refused
from cocoon_p2p.node import open_paying_client
from cocoon_p2p.payments.chain import Chain
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.telegram.mini_app.own_channel import UserSide
from cocoon_p2p.telegram.mini_app.own_channels import OpenSide

WALLETS_MAX = 8
"Wallets of one user that have a folder here. Wallets cost nothing, folders do."

_WALLET_LETTERS = 20
"""Of a wallet's account: too many for anybody to find a wallet that begins as another's does. A socket is in
the folder, whose path must be short."""


def sides_in(place: Path, loaded: Loaded[ClientFile]) -> OpenSide:
    """Give what opens users' sides in folders below a place.

    Args:
        place: Where the folders are, or will be.
        loaded: What all sides have in common: the network, the chain, the client's rules. Its wallet and its
            ledger are not used.

    Raises:
        ConfigurationError: It names no chain, so that nobody could pay in.
    """
    _chain_section(loaded)

    def open_side(user: int, wallet: AccountId) -> AbstractAsyncContextManager[UserSide]:
        theirs = place / str(user)
        folder = theirs / wallet.hex()[:_WALLET_LETTERS]
        if not folder.exists() and theirs.exists() and len(list(theirs.iterdir())) >= WALLETS_MAX:
            raise Refused(
                f"one user has no more than {WALLETS_MAX} wallets here",
                code="too-many-wallets",
                hint="connect a wallet that was connected before",
            )
        return _open_side(folder.absolute(), loaded, wallet)

    return open_side


def chain_of(loaded: Loaded[ClientFile]) -> AbstractAsyncContextManager[Chain]:
    """Open the chain that a client's file names. Raises as `sides_in`, and `open_chain` when entered."""
    from cocoon_p2p.payments.lite import NETWORKS, open_chain

    section = _chain_section(loaded)
    return open_chain(loaded.resolve(section.servers), NETWORKS[section.network])


def _chain_section(loaded: Loaded[ClientFile]) -> ChainSection:
    if loaded.settings.chain is None:
        raise ConfigurationError(
            f"{loaded.path} names no chain",
            hint="users pay into contracts: write [chain], as in examples/client.toml",
        )
    return loaded.settings.chain


@asynccontextmanager
async def _open_side(folder: Path, loaded: Loaded[ClientFile], wallet: AccountId) -> AsyncIterator[UserSide]:
    settings = msgspec.structs.replace(
        loaded.settings,
        wallet=WalletSection(funder=f"0:{wallet.hex()}"),
        data=DataSection(directory=str(folder)),
        network=msgspec.structs.replace(loaded.settings.network, listen=[], announce=[]),
    )
    async with open_paying_client(Loaded(settings, loaded.path), tops_up=False) as opened:
        treasury = opened.parts.treasury
        assert treasury is not None
        yield UserSide(opened.client, opened.parts.accounts, treasury)
