"""`cocoon init` writes a file that a node runs on, once what was left open is filled in."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cocoon_p2p.cli import cocoon
from cocoon_p2p.cli.node_folder import load_any, role_of
from cocoon_p2p.errors import ConfigurationError
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
    assert "fill in [wallet] payout" in done.stderr
    with pytest.raises(ConfigurationMistakes) as caught:
        load_any(path)
    assert "`model` is missing in [worker]" in str(caught.value)
    assert "worker.toml:15:1: `payout` in [wallet] is missing" in str(caught.value)

    path.write_text(
        path.read_text().replace('model = ""', 'model = "demo"').replace('out = ""', 'out = "UQ"')
    )
    assert load_any(path).settings.worker.model == "demo"


@pytest.mark.parametrize("role", ROLES)
def test_without_a_network_it_says_what_of_it_is_to_be_filled_in(role: str, tmp_path: Path) -> None:
    path = tmp_path / f"{role}.toml"

    done = init(role, path, "--model", "demo")

    assert "fill in [network] name" in done.stderr
    assert ("fill in [network] bootstrap" in done.stderr) is (role != "bootstrap")
    path.write_text(path.read_text().replace('name = ""', 'name = "mine"'))
    assert load_any(path).settings.network.name == "mine"


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
    path.write_text(path.read_text().replace('name = ""', 'name = "mine"'))

    assert load_any(path).settings.worker.model == model
