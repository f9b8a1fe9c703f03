"""What `cocoon explorer` is told, before it looks at anything."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cocoon_p2p.cli import cocoon
from cocoon_p2p.cli.explorer import _joined, _network_of
from cocoon_p2p.errors import ConfigurationError

BOOTSTRAP = "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"


@pytest.mark.parametrize("arguments", [(), ("client.toml", "--join", "mainnet")])
def test_the_network_is_named_once(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cocoon, ["explorer", *arguments])

    assert done.exit_code == 2
    assert "name the network" in done.stderr


def test_without_the_pages_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("starlette", "cocoon_p2p.web"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.setitem(sys.modules, "starlette.types", None)

    done = CliRunner().invoke(cocoon, ["explorer", "--join", "net", "--bootstrap", BOOTSTRAP])

    assert isinstance(done.exception, ConfigurationError)
    assert "cocoon-p2p[page]" in done.exception.hint


@pytest.mark.parametrize(
    ("bootstrap", "chain", "servers"),
    [((), None, None), ((BOOTSTRAP,), "mainnet", None), ((BOOTSTRAP,), None, Path("global.config.json"))],
)
def test_a_network_that_is_named_by_half_is_refused(
    bootstrap: tuple[str, ...], chain: str | None, servers: Path | None
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _joined("mainnet", bootstrap, chain, servers)

    assert caught.value.hint


def test_a_network_is_taken_from_the_file_of_any_node_and_nothing_of_the_nodes_is(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(
        f'[network]\nname = "net"\nbootstrap = ["{BOOTSTRAP}"]\nlisten = ["/ip4/0.0.0.0/tcp/4002"]\n'
        '[proxy]\n[chain]\nnetwork = "testnet"\nservers = "global.config.json"\n'
        '[wallet]\nfile = "proxy.wallet"\n[trust]\ndemo = true\n'
    )

    loaded = _network_of(file)

    settings = loaded.settings
    assert (settings.network.name, settings.network.bootstrap) == ("net", [BOOTSTRAP])
    assert settings.network.listen == []
    assert settings.wallet.file == ""
    assert settings.trust.demo
    assert settings.chain is not None
    assert loaded.resolve(settings.chain.servers) == tmp_path / "global.config.json"
