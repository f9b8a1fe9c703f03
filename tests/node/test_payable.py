"""An address that nobody can pay to is found when the file is checked, not when money is due."""

from pathlib import Path

import pytest

from cocoon_p2p.config import WorkerFile, load
from cocoon_p2p.node.payable import check_addresses
from cocoon_p2p.payments.address import GLOBAL_IDS, spell_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.strict_toml import ConfigurationMistakes

LOCAL = spell_address(AccountId(bytes(32)), global_id=GLOBAL_IDS["local"])
FILE = '[worker]\nmodel = "demo"\npayout = "{payout}"\n[network]\nname = "ours"\n'
CHAIN = '[chain]\nnetwork = "{network}"\nservers = "chain.json"\n'


def check(folder: Path, payout: str, network: str = "local", more: str = "", **environment: str) -> None:
    path = folder / "worker.toml"
    path.write_text(FILE.format(payout=payout) + CHAIN.format(network=network) + more)
    check_addresses(load(WorkerFile, path, environment))


def test_an_address_of_the_chain_is_taken(tmp_path: Path) -> None:
    check(tmp_path, LOCAL)


@pytest.mark.parametrize(
    ("payout", "network"), [(LOCAL[:-1] + "A", "local"), ("UQ...", "local"), (LOCAL, "mainnet")]
)
def test_one_that_is_mistyped_or_of_another_network_is_shown_where_it_stands(
    tmp_path: Path, payout: str, network: str
) -> None:
    with pytest.raises(ConfigurationMistakes, match=r"worker\.toml:3:1: `payout`: "):
        check(tmp_path, payout, network)


def test_all_of_them_are_shown_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationMistakes) as caught:
        check(tmp_path, "a", more='[wallet]\nfunder = "b"\nsweep_to = "c"\n')

    assert [mistake.line for mistake in caught.value.mistakes] == [3, 10, 11]


def test_one_from_the_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationMistakes, match="COCOON_WORKER__PAYOUT: `payout`: not a TON address"):
        check(tmp_path, LOCAL, COCOON_WORKER__PAYOUT="a")


def test_without_a_chain_nobody_is_paid_and_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "worker.toml"
    path.write_text(FILE.format(payout="UQ..."))

    check_addresses(load(WorkerFile, path, {}))
