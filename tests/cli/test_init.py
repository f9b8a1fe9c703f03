"""`cocoon init` writes a file that a node runs on, once what was left open is filled in."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cocoon_p2p.cli import cocoon
from cocoon_p2p.cli.node_folder import load_any, role_of
from cocoon_p2p.config.network_file import read_network_file
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.strict_toml import ConfigurationMistakes

ROLES = ("worker", "proxy", "bootstrap", "client")
BOOTSTRAP = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWE6eMZQob7bqHGnwby6UW7xH3sj1FEwRhoASqLwWUFvj6"
OTHER = f"""
[client]
[network]
name = "my-network"
bootstrap = ["{BOOTSTRAP}"]
[chain]
network = "local"
servers = "chain.json"
"""

NETWORK = f"""
[network]
name = "mine"
bootstrap = ["{BOOTSTRAP}"]
[chain]
network = "local"
servers = "chain.json"
"""


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other" / "client.toml"
    path.parent.mkdir()
    path.write_text(OTHER)
    return path


def init(*arguments: object) -> Any:
    return CliRunner().invoke(cocoon, ["init", *map(str, arguments)])


@pytest.mark.parametrize("role", ROLES)
def test_a_file_of_each_role_joins_the_network_of_another(role: str, tmp_path: Path, other: Path) -> None:
    path = tmp_path / f"{role}.toml"

    done = init(role, path, "--join", other, "--model", "demo", "--payout", "UQ")

    assert done.exit_code == 0
    assert "fill in" not in done.stderr
    assert role_of(path) == role
    settings = load_any(path).settings
    assert (settings.network.name, settings.network.bootstrap) == ("my-network", [BOOTSTRAP])
    if role != "bootstrap":
        assert (settings.chain.network, settings.chain.servers) == ("local", "other/chain.json")


def test_what_is_left_open_is_named_and_refused_until_it_is_filled_in(tmp_path: Path, other: Path) -> None:
    path = tmp_path / "worker.toml"

    done = init("worker", path, "--join", other)

    assert "fill in [worker] model" in done.stderr
    assert "fill in [worker] payout" in done.stderr
    with pytest.raises(ConfigurationMistakes) as caught:
        load_any(path)
    assert "`model` is missing in [worker]" in str(caught.value)
    assert "worker.toml:6:1: `payout` is missing in [worker]" in str(caught.value)

    path.write_text(
        path.read_text().replace('model = ""', 'model = "demo"').replace('out = ""', 'out = "UQ"')
    )
    assert load_any(path).settings.worker.model == "demo"


def test_a_workers_file_leaves_three_keys_open_and_a_newcomers_three_edits_are_all(tmp_path: Path) -> None:
    path, network = tmp_path / "worker.toml", tmp_path / "network.toml"
    network.write_text(NETWORK)

    done = init("worker", path)

    keys = ["[worker] model", "[worker] payout", "[network] bootstrap"]
    assert [line.strip() for line in done.stderr.splitlines()[1:4]] == [f"fill in {key}" for key in keys]
    edits = {"model": "demo", "payout": "UQ", "bootstrap": "network.toml"}
    text = path.read_text()
    assert text.count('""') == len(edits)
    for key, value in edits.items():
        text = text.replace(f'{key} = ""', f'{key} = "{value}"')
    path.write_text(text)
    settings = load_any(path).settings
    assert (settings.worker.model, settings.wallet.payout, settings.network.name) == ("demo", "UQ", "mine")


@pytest.mark.parametrize("role", ["worker", "proxy", "client"])
def test_a_file_names_the_networks_file_that_it_was_told_to_join(role: str, tmp_path: Path) -> None:
    path, network = tmp_path / f"{role}.toml", tmp_path / "network.toml"
    network.write_text(NETWORK)

    done = init(role, path, "--join", network, "--model", "demo", "--payout", "UQ")

    assert "fill in" not in done.stderr
    assert 'bootstrap = "network.toml"' in path.read_text()
    assert (f"cocoon wallet new {tmp_path / role}.wallet --network local" in done.stderr) is (
        role != "worker"
    )
    assert load_any(path).settings.network.bootstrap == [BOOTSTRAP]


def test_the_first_nodes_file_says_the_networks_name_itself(tmp_path: Path) -> None:
    path = tmp_path / "bootstrap.toml"

    done = init("bootstrap", path)

    assert "fill in [network] name" in done.stderr
    path.write_text(path.read_text().replace('name = ""', 'name = "mine"'))
    assert load_any(path).settings.network.name == "mine"


def test_a_network_is_published_as_a_node_of_it_knows_it(tmp_path: Path, other: Path) -> None:
    path = other.with_name("network.toml")

    done = init("network", path, "--join", other)

    found = read_network_file(path)
    assert (found.facts.network.name, found.facts.network.bootstrap) == ("my-network", [BOOTSTRAP])
    assert found.servers == str(other.with_name("chain.json"))
    assert f"publish {path}, and chain.json beside it" in done.stderr


def test_a_bootstrap_node_that_does_not_run_cannot_say_where_it_is(tmp_path: Path) -> None:
    boot, path = tmp_path / "bootstrap.toml", tmp_path / "network.toml"
    boot.write_text('[bootstrap]\n[network]\nname = "mine"\nlisten = ["/ip4/0.0.0.0/tcp/4001"]\n')

    done = init("network", path, "--join", boot)

    assert isinstance(done.exception, Unavailable)
    assert done.exception.hint == f"start it: cocoon bootstrap {boot}"
    assert not path.exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "worker.toml"
    path.write_text("mine")

    done = init("worker", path)

    assert isinstance(done.exception, ConfigurationError)
    assert path.read_text() == "mine"


def test_a_name_that_would_break_out_of_its_line_is_one_value(tmp_path: Path) -> None:
    path = tmp_path / "worker.toml"
    model = 'a"\n[network]\nname = "evil'

    init("worker", path, "--model", model)
    (tmp_path / "network.toml").write_text(NETWORK)
    text = path.read_text().replace('payout = ""', 'payout = "UQ"')
    path.write_text(text.replace('bootstrap = ""', 'bootstrap = "network.toml"'))

    assert load_any(path).settings.worker.model == model
