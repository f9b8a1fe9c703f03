"""A node's file leaves to the network's what is the same for all; what that says is checked, not trusted."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.config import BootstrapFile, ClientFile, WorkerFile, load
from cocoon_p2p.config.network_file import ADDRESSES_MAX, SIZE_MAX_BYTES, read_network_file
from cocoon_p2p.config.reference import in_effect, write_toml
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.strict_toml import ConfigurationMistakes

ADDRESS = "/dns4/boot.example.org/tcp/4001/p2p/12D3KooWE6eMZQob7bqHGnwby6UW7xH3sj1FEwRhoASqLwWUFvj6"
NETWORK = f"""\
[network]
name = "ours"
bootstrap = ["{ADDRESS}"]

[chain]
network = "testnet"
servers = "testnet.json"
"""
WORKER = """\
[worker]
model = "demo"
payout = "UQ"

[network]
bootstrap = "network.toml"
"""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "network.toml"
    path.write_text(NETWORK)
    return path


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    path = tmp_path / "worker.toml"
    path.write_text(WORKER)
    return path


def mistakes(path: Path, text: str, environment: dict[str, str] | None = None) -> str:
    path.write_text(text)
    with pytest.raises(ConfigurationMistakes) as caught:
        load(WorkerFile, path, environment or {})
    return str(caught.value)


@pytest.mark.usefixtures("network")
def test_three_keys_are_a_workers_whole_file(worker: Path) -> None:
    settings = load(WorkerFile, worker, {}).settings

    assert (settings.network.name, settings.network.bootstrap) == ("ours", [ADDRESS])
    assert settings.chain is not None
    assert settings.chain.network == "testnet"
    assert settings.chain.servers == str(worker.parent / "testnet.json")
    assert settings.wallet.payout == "UQ"


def test_what_the_networks_file_names_lies_beside_that_file(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "network.toml").write_text(NETWORK)
    worker = tmp_path / "worker.toml"
    worker.write_text(WORKER.replace('"network.toml"', '"net/network.toml"'))

    chain = load(WorkerFile, worker, {}).settings.chain

    assert chain is not None
    assert chain.servers == str(tmp_path / "net" / "testnet.json")


@pytest.mark.usefixtures("network")
def test_each_key_is_shown_with_the_file_that_says_so(worker: Path) -> None:
    lines = write_toml(in_effect(load(WorkerFile, worker, {}))).splitlines()

    assert next(line for line in lines if line.startswith("name = ") and "ours" in line).endswith(
        "# network.toml:2"
    )
    assert [line.split("# ")[1] for line in lines if line.startswith("payout")] == ["worker.toml:3"] * 2


@pytest.mark.usefixtures("network")
def test_a_variable_can_name_the_networks_file(worker: Path) -> None:
    worker.write_text(WORKER.replace('bootstrap = "network.toml"', ""))

    loaded = load(WorkerFile, worker, {"COCOON_NETWORK__BOOTSTRAP": "network.toml"})

    assert loaded.settings.network.name == "ours"


@pytest.mark.usefixtures("network")
def test_who_has_no_money_takes_no_chain(tmp_path: Path) -> None:
    path = tmp_path / "bootstrap.toml"
    path.write_text('[network]\nbootstrap = "network.toml"\nlisten = ["/ip4/0.0.0.0/tcp/4001"]\n')

    assert load(BootstrapFile, path, {}).settings.network.name == "ours"


@pytest.mark.usefixtures("network")
def test_servers_of_ones_own_go_before_those_that_the_network_names(worker: Path) -> None:
    worker.write_text(f'{WORKER}[chain]\nservers = "mine.json"\nclaim_days = 3\n')

    chain = load(WorkerFile, worker, {}).settings.chain

    assert chain is not None
    assert (chain.network, chain.servers, chain.claim_days) == ("testnet", "mine.json", 3)


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('name = "theirs"\n', "worker.toml:7:1: `name` is 'ours' by network.toml"),
        ('[chain]\nnetwork = "mainnet"\n', "worker.toml:8:1: `network` is 'testnet' by network.toml"),
    ],
)
def test_who_contradicts_the_networks_file_is_told_where(worker: Path, added: str, said: str) -> None:
    assert said in mistakes(worker, WORKER + added)


def test_every_mistake_of_both_files_is_told_at_once(worker: Path, network: Path) -> None:
    network.write_text(NETWORK.replace("name =", "nmae =").replace("testnet.json", "/etc/passwd"))

    told = mistakes(worker, WORKER.replace("model =", "modle ="))

    assert "worker.toml:2:1: unknown key `modle` in [worker], did you mean `model`?" in told
    assert "worker.toml:6:1: `bootstrap`: the network's file is wrong" in told
    assert "network.toml:2:1: unknown key `nmae` in [network], did you mean `name`?" in told


def test_a_file_of_the_network_that_is_not_there_is_one_mistake(worker: Path) -> None:
    told = mistakes(worker, WORKER)

    assert told.count("worker.toml:") == 1
    assert "worker.toml:6:1: `bootstrap`: cannot read" in told


def test_all_that_is_left_open_is_named_at_once(worker: Path) -> None:
    told = mistakes(worker, WORKER.replace('"demo"', '""').replace('"UQ"', '""').replace("network.toml", ""))

    places = [line.split("worker.toml:")[1][:4] for line in told.splitlines() if "worker.toml:" in line]
    assert places == ["2:1:", "3:1:", "6:1:"]


@pytest.mark.parametrize(
    "servers", ["/etc/passwd", "../chain.json", "a/../../chain.json", "link/chain.json", "a\\u0000b", ""]
)
def test_the_networks_file_names_no_file_that_does_not_lie_with_it(network: Path, servers: str) -> None:
    (network.parent / "link").symlink_to("/etc")
    network.write_text(NETWORK.replace("testnet.json", servers))

    with pytest.raises(ConfigurationMistakes, match=r"network\.toml:7:1: `servers`"):
        read_network_file(network)


def test_servers_lie_beside_the_file_itself_and_not_beside_a_link_to_it(network: Path) -> None:
    (network.parent / "net").mkdir()
    (network.parent / "net" / "testnet.json").symlink_to("/etc/passwd")
    network.write_text(NETWORK)
    network.rename(network.parent / "net" / "network.toml")
    network.symlink_to("net/network.toml")

    with pytest.raises(ConfigurationMistakes, match=r"network\.toml:7:1: `servers`"):
        read_network_file(network)


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        ["/dns4/boot.example.org/tcp/4001"],
        ["http://boot.example.org"],
        [ADDRESS + "\\n" + ADDRESS],
        [ADDRESS] * (ADDRESSES_MAX + 1),
        ["/dns4/" + "a" * 400 + "/tcp/1/p2p/12D3"],
        [ADDRESS.replace("boot", "b\\u001b[2Jt")],
        [ADDRESS.replace("boot", "b\u043e\u043et")],
        [ADDRESS.replace("boot", "b\\u202eoot")],
    ],
)
def test_what_is_no_list_of_nodes_addresses_is_refused(network: Path, addresses: list[str]) -> None:
    quoted = ", ".join(f'"{address}"' for address in addresses)
    network.write_text(NETWORK.replace(f'"{ADDRESS}"', quoted))

    with pytest.raises(ConfigurationMistakes, match=r"network\.toml:3:1: `bootstrap`"):
        read_network_file(network)


def test_a_networks_file_sets_nothing_but_what_all_nodes_share(network: Path) -> None:
    network.write_text(f'{NETWORK}claim_days = 365\n[wallet]\npayout = "theirs"\n')

    with pytest.raises(ConfigurationMistakes) as caught:
        read_network_file(network)

    assert "unknown key `claim_days` in [chain]" in str(caught.value)
    assert "unknown section [wallet]" in str(caught.value)


def test_a_networks_file_without_end_is_not_read(worker: Path, network: Path) -> None:
    network.write_text(NETWORK + "#" * SIZE_MAX_BYTES)
    assert f"is too large (limit={SIZE_MAX_BYTES} bytes)" in mistakes(worker, WORKER)

    assert "is too large" in mistakes(worker, WORKER.replace("network.toml", "/dev/zero"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "1" * 5000, "a number has too many digits"),
        ("a = " + "[" * 30_000, "too deeply nested"),
        ("a" + ".a" * 30_000 + " = 1", "network.toml:1:1: too many dots in one line"),
        ("[a" + ".a" * 30_000 + "]", "network.toml:1:1: too many dots in one line"),
        ("[network]\n" + "".join(f"a{n}=1\n" for n in range(7000)), "6980 more unknown keys in [network]"),
        ("".join(f"[a{n}]\n" for n in range(7000)), "6980 more unknown sections"),
        ("[network]\n" + "a" * 60_000 + "=1", f"unknown key `{'a' * 64}...` in [network]"),
        ("[" + "a" * 60_000 + "]", f"unknown section [{'a' * 64}...]"),
    ],
    ids=["digits", "depth", "dotted key", "dotted section", "keys", "sections", "long key", "long section"],
)
@pytest.mark.timeout(20)  # (each took half a minute, but for those that ended in a traceback)
def test_a_file_that_is_made_to_cost_much_costs_little_and_is_told_shortly(
    network: Path, text: str, said: str
) -> None:
    network.write_text(text)

    with pytest.raises(ConfigurationMistakes) as caught:
        read_network_file(network)

    assert said in str(caught.value)
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 30_000])
@pytest.mark.usefixtures("network")
def test_a_variable_that_tomls_reader_cannot_bear_is_text(worker: Path, text: str) -> None:
    told = mistakes(worker, WORKER, {"COCOON_WORKER__SLOTS": text})

    assert "COCOON_WORKER__SLOTS: `slots`: " in told
    assert text not in told


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_a_networks_file_holds_it_is_read_or_refused(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.toml"
    path.write_bytes(data)

    with pytest.raises(ConfigurationError):
        read_network_file(path)


@pytest.mark.parametrize(
    ("worker_says", "wallet_says", "is_right"),
    [("UQ", "UQ", True), ("UQ", "", True), ("", "UQ", True), ("UQ", "EQ", False), ("", "", False)],
)
@pytest.mark.usefixtures("network")
def test_the_payout_is_written_in_one_place_or_alike(
    worker: Path, worker_says: str, wallet_says: str, *, is_right: bool
) -> None:
    text = WORKER.replace('"UQ"', f'"{worker_says}"') + f'[wallet]\npayout = "{wallet_says}"\n'

    if is_right:
        worker.write_text(text)
        assert load(WorkerFile, worker, {}).settings.wallet.payout == "UQ"
    else:
        assert "worker.toml:3:1: `payout`" in mistakes(worker, text)


def test_a_bootstrap_that_is_no_address_is_shown_in_a_nodes_own_file_too(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    path.write_text('[network]\nname = "ours"\nbootstrap = ["boot.example.org:4001"]\n')

    with pytest.raises(ConfigurationMistakes, match=r"client\.toml:3:1: .* is no node's address"):
        load(ClientFile, path, {})


def test_no_password_is_echoed_that_somebody_wrote_into_an_address(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    path.write_text('[network]\nname = "ours"\nbootstrap = ["https://me:SECRET@boot.example.org"]\n')

    with pytest.raises(ConfigurationMistakes, match=r"https://me:\.\.\.@boot") as caught:
        load(ClientFile, path, {})
    assert "SECRET" not in str(caught.value)


def test_without_a_networks_file_a_node_says_all_itself(worker: Path) -> None:
    told = mistakes(worker, f'[worker]\nmodel = "demo"\n[network]\nbootstrap = ["{ADDRESS}"]\n[chain]\n')

    assert "`name` is missing in [network]" in told
    assert "`network` is missing in [chain]" in told
    assert "`servers` is missing in [chain]" in told
