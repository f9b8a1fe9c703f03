"""The example's backend as its owner starts it, on a network of processes and a chain behind lite servers."""

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from cocoon_p2p import private_files
from cocoon_p2p.config import ChainSection, ClientFile, ClientSection, Loaded, NetworkSection, WalletSection
from cocoon_p2p.errors import ConfigurationError, Refused
from cocoon_p2p.node.chain_side import funder_of
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.lite import LOCAL, open_chain
from cocoon_p2p.payments.wallet import wallet_file
from cocoon_p2p.telegram.mini_app import folders, sides_in
from cocoon_p2p.telegram.mini_app.folders import WALLETS_MAX, chain_of
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.testing.fortune import PLAY_MONEY
from cocoon_p2p.testing.processes import LocalNetwork, open_local_network
from tests.payments.wallets import NOW
from tests.telegram.mini_app.caller import Page
from tests.telegram.mini_app.scene import TOKEN, UserWallet

BACKEND = Path(__file__).parents[3] / "examples/mini_app/backend.py"
START_SECONDS = 280


@asynccontextmanager
async def backend(network: LocalNetwork) -> AsyncIterator[str]:
    """Start the example; give its origin."""
    token = network.place / "bot.token"
    if not token.exists():
        private_files.create(token, TOKEN.encode())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        number = listener.fileno()
        command = [
            sys.executable,
            BACKEND,
            network.client_file,
            token,
            origin,
            "cocoon-demo",
            f"fd://{number}",
        ]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, pass_fds=[number])
    assert process.stdout is not None
    try:
        with trio.fail_after(START_SECONDS):
            assert b"listening" in await process.stdout.receive_some()
        yield origin
    finally:
        with trio.CancelScope(shield=True):
            process.terminate()
            await process.wait()
            await process.stdout.aclose()


@pytest.mark.long
async def test_a_users_own_money_outlives_the_backend_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # Control sockets are below it, and their paths must be short.
    place = tmp_path_factory.mktemp("a")
    async with open_local_network(place, workers=1, on_chain=True) as network:
        assert network.fortune is not None
        key = wallet_file.read(place / "client.wallet").open(None)
        async with open_chain(network.fortune.config, LOCAL) as chain:
            wallet = UserWallet(chain, key, time.time)
            async with backend(network) as origin, connected(origin, wallet) as page:
                full = await page.pay_in(wallet)
                first = (await page.ask())[-1]
            async with backend(network) as origin, connected(origin, wallet) as page:
                again = await page.until("is_taken")
                second = (await page.ask())[-1]
                await wallet.send(await page.do("close"))
                await page.until("channel", holds=False)
            back = await wallet.balance()

    assert (first[0], second[0]) == ("end", "end")
    assert again["channel"] == full["channel"]
    assert again["spent"] == first[1]["cost"] > 0
    spent = second[1]["balance"]["spent"]
    assert spent == first[1]["cost"] + second[1]["cost"]
    assert PLAY_MONEY - spent - 40_000_000 < back < PLAY_MONEY - spent


@asynccontextmanager
async def connected(origin: str, wallet: UserWallet) -> AsyncIterator[Page]:
    async with httpx.AsyncClient(base_url=origin, timeout=60) as http:
        page = Page(http, origin, look_seconds=0.5)
        await page.begin(auth_date=int(time.time()))
        await page.do("proof", wallet.prove(page.nonce))
        yield page


# ------------------------------------------------------------ folders


def loaded_in(place: Path, chain: ChainSection | None) -> Loaded[ClientFile]:
    settings = ClientFile(network=NetworkSection(name="nowhere"), client=ClientSection(), chain=chain)
    return Loaded(settings, place / "client.toml")


def test_without_a_chain_there_is_nothing_to_pay_into(tmp_path: Path) -> None:
    for asks in (
        lambda: sides_in(tmp_path, loaded_in(tmp_path, None)),
        lambda: chain_of(loaded_in(tmp_path, None)),
    ):
        with pytest.raises(ConfigurationError, match="names no chain"):
            asks()


def test_one_user_has_only_so_many_folders(tmp_path: Path) -> None:
    open_side = sides_in(tmp_path, loaded_in(tmp_path, ChainSection(network="local", servers="chain.json")))
    wallets = [AccountId(bytes([number]) * 32) for number in range(1, WALLETS_MAX + 2)]
    for wallet in wallets[:WALLETS_MAX]:
        (tmp_path / "42" / wallet.hex()[:20]).mkdir(parents=True)

    open_side(42, wallets[0])
    open_side(43, wallets[-1])
    with pytest.raises(Refused) as caught:
        open_side(42, wallets[-1])

    assert caught.value.code == "too-many-wallets"


def test_a_wallet_that_was_sought_to_begin_as_another_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(folders, "_open_side", lambda folder, *_: opened.append(folder))
    open_side = sides_in(tmp_path, loaded_in(tmp_path, ChainSection(network="local", servers="chain.json")))
    wallet = AccountId(b"\x07" * 32)

    open_side(42, wallet)
    # 32 bits are found in minutes: a wallet has a number of its own that its owner chooses.
    open_side(42, AccountId(wallet[:4] + b"\xff" * 28))

    assert len(set(opened)) == 2


def test_a_channel_has_one_who_funds_it() -> None:
    chain = LocalChain(DevChain(now=NOW))
    wallet = AccountId(b"\x07" * 32)

    elsewhere = funder_of(WalletSection(funder=f"0:{wallet.hex()}"), chain)

    assert elsewhere == wallet
    assert funder_of(WalletSection(file="client.wallet"), chain) is None
    with pytest.raises(ConfigurationError, match="who puts the money"):
        funder_of(WalletSection(file="client.wallet", funder=f"0:{wallet.hex()}"), chain)
