"""A network's configuration as a user gives it, and what is wrong with it."""

import base64
import copy
import json
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.devchain.network_config import global_config
from cocoon_p2p.payments.lite.networks import LOCAL, MAINNET, TESTNET, Network, read_directory

Change = Callable[[Any], object]


def key(number: int) -> str:
    return base64.b64encode(Identity.from_seed(bytes((number,)) * 32).public_key).decode()


def entry(number: int, ip: str = "127.0.0.1", **more: object) -> dict[str, object]:
    address = int.from_bytes(IPv4Address(ip).packed, "big", signed=True)
    return {"ip": address, "port": 4000 + number, "id": {"@type": "pub.ed25519", "key": key(number)}, **more}


def public(network: Network, *entries: dict[str, object]) -> Any:
    zero = network.zero_state
    assert zero is not None
    return {
        "@type": "config.global",
        "dht": {"anything": "else"},
        "liteservers": list(entries) or [entry(1, "5.9.10.47"), entry(2, "135.181.177.59")],
        "validator": {
            "zero_state": {
                "workchain": -1,
                "shard": -(1 << 63),
                "seqno": 0,
                "root_hash": base64.b64encode(zero.root_hash).decode(),
                "file_hash": base64.b64encode(zero.file_hash).decode(),
            }
        },
    }


def local() -> Any:
    first = DevChain(now=1).history.first
    config: Any = dict(global_config(IPv4Address("127.0.0.1"), 4001, base64.b64decode(key(1)), first))
    return config


def written(folder: Path, config: object) -> Path:
    path = folder / "global.config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def test_a_public_networks_configuration_is_read_as_published(tmp_path: Path) -> None:
    directory = read_directory(written(tmp_path, public(MAINNET)), MAINNET)

    assert [str(server) for server in directory.servers] == ["5.9.10.47:4001", "135.181.177.59:4002"]
    assert [server.operator for server in directory.servers] == ["5.9.0.0/16", "135.181.0.0/16"]
    assert directory.zero_state == MAINNET.zero_state


def test_the_local_chains_own_configuration_is_read(tmp_path: Path) -> None:
    (server,) = read_directory(written(tmp_path, local()), LOCAL).servers

    assert str(server) == "127.0.0.1:4001"


def test_who_runs_a_server_is_what_the_user_says(tmp_path: Path) -> None:
    entries = entry(1, "5.9.10.47", operator="a"), entry(2, "5.9.10.48", operator="b")

    directory = read_directory(written(tmp_path, public(TESTNET, *entries)), TESTNET)

    assert [server.operator for server in directory.servers] == ["a", "b"]


@pytest.mark.parametrize(
    "entries",
    [
        (entry(1, "5.9.10.47"),),
        (entry(1, "5.9.10.47"), entry(2, "5.9.200.1")),
        (entry(1, "5.9.10.47", operator="a"), entry(2, "8.8.8.8", operator="a")),
    ],
    ids=["one server", "one data centre", "one operator"],
)
def test_a_public_network_takes_two_operators(tmp_path: Path, entries: tuple[dict[str, object], ...]) -> None:
    with pytest.raises(ConfigurationError, match="too few operators") as caught:
        read_directory(written(tmp_path, public(MAINNET, *entries)), MAINNET)

    assert "operator" in caught.value.hint


@pytest.mark.parametrize(
    ("config", "network", "named"),
    [
        (local(), MAINNET, "another network"),
        (local(), TESTNET, "another network"),
        (public(TESTNET), MAINNET, "testnet"),
        (public(MAINNET), TESTNET, "mainnet"),
        (public(MAINNET), LOCAL, "mainnet"),
        (public(TESTNET), LOCAL, "testnet"),
    ],
)
def test_one_networks_configuration_is_not_taken_for_anothers(
    tmp_path: Path, config: object, network: Network, named: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"of {network.name} but of {named}"):
        read_directory(written(tmp_path, config), network)


def changed(change: Change) -> object:
    config = copy.deepcopy(public(MAINNET))
    change(config)
    return config


WRONG: dict[str, object] = {
    "nothing": "",
    "no json": "{",
    "deep": "[" * 100_000,
    "a list": [],
    "a number": 5,
    "large": " " * (1 << 21),
    "no servers": changed(lambda config: config.pop("liteservers")),
    "empty": changed(lambda config: config.update(liteservers=[])),
    "many": changed(lambda config: config.update(liteservers=[entry(number) for number in range(65)])),
    "servers of another kind": changed(lambda config: config.update(liteservers=5)),
    "no zero state": changed(lambda config: config["validator"].pop("zero_state")),
    "a short hash": changed(lambda config: config["validator"]["zero_state"].update(root_hash="AAAA")),
    "no base64": changed(lambda config: config["validator"]["zero_state"].update(root_hash="!" * 44)),
    "a port of text": changed(lambda config: config["liteservers"][0].update(port="80")),
    "port 0": changed(lambda config: config["liteservers"][0].update(port=0)),
    "port 65536": changed(lambda config: config["liteservers"][0].update(port=65536)),
    "an address of text": changed(lambda config: config["liteservers"][0].update(ip="127.0.0.1")),
    "a broken key": changed(lambda config: config["liteservers"][0]["id"].update(key="A" * 43 + "=")),
    "the same key": changed(lambda config: config["liteservers"][1]["id"].update(key=key(1))),
    "no operator": changed(lambda config: config["liteservers"][0].update(operator="")),
    "an operator of numbers": changed(lambda config: config["liteservers"][0].update(operator=5)),
}


@pytest.mark.parametrize("what", list(WRONG))
def test_what_is_no_configuration_is_told_with_what_to_do(tmp_path: Path, what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_directory(written(tmp_path, WRONG[what]), MAINNET)

    assert "global.config.json" in str(caught.value)
    assert caught.value.hint


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_directory(tmp_path / "none.json", MAINNET)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(["liteservers", "validator"]), JSON, JSON)
@settings(max_examples=50, deadline=None)
def test_no_json_whatever_raises_anything_else(
    tmp_path_factory: Any, part: str, value: Any, inner: Any
) -> None:
    config = public(MAINNET)
    config[part] = value
    if part == "validator":
        config[part] = {"zero_state": value}
    else:
        config[part] = [entry(1, "5.9.10.47"), {"ip": inner, "port": value, "id": inner}]
    path = tmp_path_factory.mktemp("any") / "config.json"
    path.write_text(json.dumps(config))

    with pytest.raises(ConfigurationError):
        read_directory(path, MAINNET)
