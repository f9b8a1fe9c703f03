"""`cocoon channels`: what is said to bad input, what is exported, and what a watcher does with it."""

import base64
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cocoon_p2p.cli import cocoon, exit_code, leaves
from cocoon_p2p.cli.watch_sources import VoucherFile, network_of, require_network
from cocoon_p2p.errors import CocoonError, ConfigurationError
from cocoon_p2p.ledger import ChannelName, ChannelRow, Side
from cocoon_p2p.node import LEDGER
from cocoon_p2p.overview.naming import named
from cocoon_p2p.payments.address import GLOBAL_IDS, spell_address
from cocoon_p2p.payments.channel import Phase, channel_of, contract_salt, make_backed_offer
from cocoon_p2p.payments.contract import AccountId, Deployment, channel_id, deposit_for
from cocoon_p2p.payments.treasury.watched import Watched, read_lines, write_line
from cocoon_p2p.payments.voucher import sign_voucher
from cocoon_p2p.payments.wallet import wallet_file
from cocoon_p2p.payments.wallet.mnemonic import new_words
from cocoon_p2p.protocols.messages import ChannelId, Voucher
from cocoon_p2p.protocols.papers import encode_signed, sign
from cocoon_p2p.protocols.schema import encode_message
from cocoon_p2p.store import open_store
from cocoon_p2p.units import NANO_MAX, Nano, format_ton
from tests.cli.test_devchain import running
from tests.payments.parties import CHANNEL_KEY, NETWORK, PAYEE, PAYER

EPOCH, TOTAL = 7, 600
NETWORK_ID = -3
DEPLOYMENT = Deployment(
    global_id=NETWORK_ID,
    payer=AccountId(b"\1" * 32),
    payee=AccountId(b"\2" * 32),
    payer_key=CHANNEL_KEY.public_key,
    payee_key=b"\3" * 32,
    close_delay_seconds=86_400,
    salt=contract_salt(NETWORK, PAYER.peer_id, PAYEE.peer_id, CHANNEL_KEY.public_key),
)
OFFER = make_backed_offer(NETWORK, PAYER.peer_id, PAYEE.peer_id, DEPLOYMENT)
CHANNEL = channel_of(OFFER)
VOUCHER = Voucher(
    CHANNEL.id, EPOCH, TOTAL, sign_voucher(CHANNEL_KEY.secret_key, CHANNEL.id, EPOCH, Nano(TOTAL))
)


def row(side: Side = Side.PAYEE, **fields: Any) -> ChannelRow:
    known: dict[str, Any] = {
        "name": ChannelName(side, CHANNEL.id),
        "peer": PAYER.peer_id if side is Side.PAYEE else PAYEE.peer_id,
        "offer": encode_signed(sign(PAYER, NETWORK, OFFER)),
        "seed": None if side is Side.PAYEE else b"s" * 32,
        "phase": Phase.OPEN,
        "vouchered": Nano(TOTAL),
        "charged": Nano(500),
        "epoch": EPOCH,
        "deposit": deposit_for(Nano(1000)),
        "claimed": Nano(100),
        "voucher": encode_message(VOUCHER),
    }
    return ChannelRow(**(known | fields))


async def write(folder: Path, *rows: ChannelRow) -> None:
    async with open_store(folder / LEDGER) as store:
        await store.submit(*rows).wait()


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cocoon, list(map(str, arguments)))


def failure(done: Result) -> CocoonError:
    """Give the one error that a command ended with."""
    assert done.exception is not None
    (found,) = leaves(done.exception)
    assert isinstance(found, CocoonError), found
    return found


# ---------------------------------------------------------------- lists


async def test_what_stands_on_the_chain_is_listed_from_the_ledger_with_everything_down(
    tmp_path: Path,
) -> None:
    await write(tmp_path, row())

    shown, plain = (
        run("channels", "list", "--data", tmp_path),
        run("channels", "list", "--json", "--data", tmp_path),
    )

    assert "from the ledger: nobody answers there" in shown.stderr
    assert format_ton(deposit_for(Nano(1000))).split()[0] in shown.stdout
    assert CHANNEL.id.hex()[:12] in shown.stdout
    (view,) = json.loads(plain.stdout)["channels"]
    assert view["address"] in shown.stdout
    assert view["address"].startswith("kQ")
    assert (view["claimed_nano"], view["deposit_nano"]) == (100, deposit_for(Nano(1000)))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, " open "),
        ({"deposit": Nano(0), "epoch": 0, "claimed": Nano(0)}, " no deposit yet "),
        ({"is_settled": True}, " settled "),
        (
            {"close_at": 1_800_000_000},
            " closing, since 2027-01-14 08:00:00 UTC until 2027-01-15 08:00:00 UTC ",
        ),
    ],
)
async def test_how_a_contract_stands_is_said_in_words(
    tmp_path: Path, fields: dict[str, Any], text: str
) -> None:
    await write(tmp_path, row(**fields))

    assert text in run("channels", "list", "--data", tmp_path).stdout


# ---------------------------------------------------------------- vouchers


async def test_the_newest_voucher_is_exported_and_can_be_read_again(tmp_path: Path) -> None:
    await write(tmp_path, row())

    done = run("channels", "export", "--data", tmp_path)

    (watched,) = read_lines(done.stdout.encode().splitlines())
    assert (watched.deployment, watched.voucher) == (DEPLOYMENT, VOUCHER)
    assert "vouchers: 1" in done.stderr


@pytest.mark.parametrize(
    "other", [row(Side.PAYER), row(is_settled=True), row(voucher=None)], ids=["payer", "settled", "none"]
)
async def test_what_pays_nobody_or_no_more_is_not_exported(tmp_path: Path, other: ChannelRow) -> None:
    await write(tmp_path, other)

    assert run("channels", "export", "--data", tmp_path).stdout == ""


def line(total: int = TOTAL, deployment: Deployment = DEPLOYMENT) -> str:
    channel = channel_id(deployment)
    signature = sign_voucher(CHANNEL_KEY.secret_key, channel, EPOCH, Nano(total))
    return write_line(Watched(deployment, Voucher(channel, EPOCH, total, signature)))


def test_a_file_is_read_again_when_it_has_changed_and_half_a_line_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "vouchers"
    whole = line(TOTAL)
    path.write_text(whole)
    file = VoucherFile(path)

    first, same = file.read(), file.read()
    path.write_text(whole + "\n" + line(TOTAL + 1)[:100])
    with pytest.raises(ConfigurationError, match="line 2"):
        file.read()
    path.write_text(whole + "\n" + line(TOTAL + 1))
    second = file.read()

    assert first is not None
    assert same is None
    assert second is not None
    assert [watched.voucher.total for watched in (*first, *second)] == [TOTAL, TOTAL, TOTAL + 1]


def test_the_network_is_the_vouchers_own_and_has_to_be_one(tmp_path: Path) -> None:
    one = read_lines([line().encode()])

    assert network_of(one, None) == network_of(one, NETWORK_ID) == network_of((), NETWORK_ID) == NETWORK_ID
    with pytest.raises(ConfigurationError, match="no vouchers yet"):
        network_of((), None)
    with pytest.raises(ConfigurationError, match="more than one network"):
        network_of(one, -239)
    with pytest.raises(ConfigurationError, match="another network than this chain"):
        require_network(-239, NETWORK_ID)


def test_a_watch_needs_to_know_whose_vouchers(tmp_path: Path) -> None:
    done = run("channels", "watch", "--chain", tmp_path / "chain.json")

    assert done.exit_code == 2
    assert "whose vouchers" in done.stderr


@pytest.mark.parametrize("text", [None, "not a voucher", "{}"])
def test_a_watch_that_cannot_read_its_vouchers_does_not_begin(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "vouchers"
    if text is not None:
        path.write_text(text)

    found = failure(run("channels", "watch", "--vouchers", path, "--chain", tmp_path / "chain.json"))

    assert exit_code(found) == 2
    assert str(path) in str(found)
    assert "cocoon channels export" in found.hint


@pytest.mark.slow
def test_a_watch_once_without_a_chain_says_so(tmp_path: Path, nobody: Path) -> None:
    path = tmp_path / "vouchers"
    path.write_text(line(deployment=replace(DEPLOYMENT, global_id=GLOBAL_IDS["local"])))

    found = failure(run("channels", "watch", "--once", "--vouchers", path, "--chain", nobody))

    assert exit_code(found) == 3


# ---------------------------------------------------------------- bad input


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """A client's file, without a chain."""
    file = tmp_path / "client.toml"
    file.write_text('[client]\n[network]\nname = "local"\n')
    return file


@pytest.fixture
def nobody(tmp_path: Path) -> Path:
    """The config of a local chain that does not run."""
    file = tmp_path / "chain.json"
    key = base64.b64encode(CHANNEL_KEY.public_key).decode()
    zero = {"root_hash": key, "file_hash": key, "workchain": -1, "shard": -(2**63), "seqno": 0}
    server = {"ip": 2130706433, "port": 1, "id": {"@type": "pub.ed25519", "key": key}}
    file.write_text(json.dumps({"liteservers": [server], "validator": {"zero_state": zero}}))
    return file


def with_chain(client: Path, network: str = "local", wallet: str | None = "local") -> Path:
    text = client.read_text() + f'[chain]\nnetwork = "{network}"\nservers = "chain.json"\n'
    if wallet is not None:
        wallet_file.create(client.parent / "wallet", new_words(), wallet)
        text += '[wallet]\nfile = "wallet"\n'
    client.write_text(text)
    return client


@pytest.mark.parametrize(
    "amount", ["0", "-1", "9223372036.854775808", "0.0000000001", "nan", "much", "1e400"]
)
@pytest.mark.parametrize("verb", [("open",), ("top-up", "ab")], ids=str)
def test_an_amount_that_cannot_be_is_wrong_usage(client: Path, verb: tuple[str, ...], amount: str) -> None:
    done = run("channels", *verb, amount, "--config", client)

    assert done.exit_code == 2
    assert "Invalid value for 'AMOUNT'" in done.stderr
    assert not (client.parent / "data").exists()


def test_the_largest_amount_is_above_what_a_deposit_can_be(client: Path, nobody: Path) -> None:
    # Read all the same: what is wrong with it is said by who knows what comes on top.
    done = run("channels", "open", format_ton(NANO_MAX), "--config", client)

    assert "names no chain" in str(failure(done))


@pytest.mark.parametrize("verb", [("open", "1"), ("close", "--all", "--alone")], ids=str)
def test_without_a_chain_in_the_file_nothing_is_tried(client: Path, verb: tuple[str, ...]) -> None:
    found = failure(run("channels", *verb, "--config", client))

    assert exit_code(found) == 2
    assert "client.toml names no chain" in str(found)
    assert "[chain]" in found.hint


def test_without_a_wallet_in_the_file_nothing_is_tried(client: Path) -> None:
    found = failure(run("channels", "open", "1", "--config", with_chain(client, wallet=None)))

    assert exit_code(found) == 2
    assert "names no wallet" in str(found)


@pytest.mark.slow
def test_a_wallet_of_another_network_is_told_so(client: Path, nobody: Path) -> None:
    with running() as (_, steps):
        nobody.write_text(json.dumps(steps["config"]["config"]))
        found = failure(run("channels", "open", "1", "--config", with_chain(client, wallet="testnet")))

    assert exit_code(found) == 2
    assert "a wallet of another network" in str(found)


@pytest.mark.slow
def test_a_chain_that_cannot_be_reached_is_told_so(client: Path, nobody: Path) -> None:
    found = failure(run("channels", "open", "1", "--config", with_chain(client)))

    assert exit_code(found) == 3


@pytest.mark.parametrize(
    ("role", "section"), [("worker", 'model = "demo"'), ("proxy", ""), ("bootstrap", "")]
)
def test_only_clients_open_channels_by_hand(tmp_path: Path, role: str, section: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'[{role}]\n{section}\n[network]\nname = "local"\n')

    found = failure(run("channels", "open", "1", "--config", file))

    assert exit_code(found) == 2
    assert f"is a {role}'s" in str(found)


@pytest.mark.parametrize("role", ["worker", "proxy"])
@pytest.mark.parametrize(
    "verb", [("top-up", "ab", "1"), ("close", "ab"), ("close", "--all", "--alone")], ids=str
)
def test_a_node_that_does_not_run_is_to_be_started(tmp_path: Path, role: str, verb: tuple[str, ...]) -> None:
    file = tmp_path / "node.toml"
    section = 'model = "demo"' if role == "worker" else ""
    file.write_text(f'[{role}]\n{section}\n[network]\nname = "local"\n')

    found = failure(run("channels", *verb, "--config", file))

    assert exit_code(found) == 3
    assert "does not run" in str(found)
    assert f"cocoon {role}" in found.hint


@pytest.mark.parametrize("peer", ["nobody", "12D3KooWnobody", "", "ab" * 32])
def test_a_proxy_is_named_by_a_peer_id(client: Path, peer: str) -> None:
    found = failure(run("channels", "open", "1", "--proxy", peer, "--config", client))

    assert exit_code(found) == 2
    assert "not a peer id" in str(found)


@pytest.mark.parametrize("words", [(), ("ab", "--all")], ids=str)
def test_one_channel_is_closed_or_all_of_them(client: Path, words: tuple[str, ...]) -> None:
    done = run("channels", "close", *words, "--config", client)

    assert done.exit_code == 2
    assert "name one channel, or --all" in done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "not a channel"),
        ("xyz", "not a channel"),
        ("a" * 65, "not a channel"),
        ("\x1b[2J", "not a channel"),
        ("-1:" + "a" * 64, "not an account of the basechain"),
        ("0:" + "a" * 63, "not a TON address"),
        ("EQ" + "A" * 46, "not a TON address"),
        ("abc", "no channel 'abc'"),
        ("ffff", "no channel 'ffff'"),
        ("0", "several channels begin with '0'"),
    ],
)
def test_what_names_no_channel_or_several_is_told_so(name: str, text: str) -> None:
    channels = [ChannelId(bytes([number]) * 32) for number in range(6)]

    with pytest.raises(ConfigurationError) as caught:
        named(name, channels)

    assert text in str(caught.value)


def test_a_channel_is_named_by_its_first_digits_or_by_its_address_in_any_spelling() -> None:
    one, other = ChannelId(bytes.fromhex("ab" * 32)), ChannelId(bytes.fromhex("ac" * 32))
    spelled = [
        spell_address(AccountId(one), global_id=global_id, bounceable=bounceable)
        for global_id in (-239, -3)
        for bounceable in (False, True)
    ]

    for name in ("ab", "AB", "ab" * 32, "0:" + "ab" * 32, *spelled):
        assert named(name, [other, one, one]) == one


# ---------------------------------------------------------------- the frame


@pytest.mark.slow
def test_a_shell_completes_the_verbs_of_channels() -> None:
    environment = {
        **os.environ,
        "_COCOON_COMPLETE": "bash_complete",
        "COMP_WORDS": "cocoon channels ",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-m", "cocoon_p2p.cli"], capture_output=True, text=True, env=environment, check=True
    )

    for verb in ("open", "list", "top-up", "close", "export", "watch"):
        assert f"plain,{verb}" in done.stdout.splitlines()
