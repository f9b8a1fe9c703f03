"""A chain on disk: what comes back is the chain, or an error that says why not."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError, MalformedMessage
from cocoon_p2p.payments.devchain import DevChain, Limits, load, save
from cocoon_p2p.payments.devchain.saved import FORMAT
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import AGAIN, CODE, NOTE, NOW, STRANGER, arguments, deployed, say


@pytest.fixture
def chain() -> DevChain:
    """A chain with a contract, a library, two blocks of history and messages that wait."""
    chain = DevChain(now=NOW, seed=b"seed" * 8, limits=Limits(cascade=10))
    address = deployed(chain)
    chain.give(STRANGER, NANO_PER_TON)
    chain.make_block()
    chain.now += 100
    chain.add_library(CODE)
    chain.give(address, NANO_PER_TON // 10, body=say(AGAIN))
    chain.make_block()
    return chain


def go_on(chain: DevChain) -> None:
    address = deployed(chain, salt=1)
    chain.now += 7
    chain.give(address, NANO_PER_TON, body=say(NOTE))
    chain.make_block()


def test_a_chain_goes_on_as_if_it_had_never_been_saved(chain: DevChain, tmp_path: Path) -> None:
    save(chain, tmp_path / "chain")

    again = load(tmp_path / "chain", limits=chain.limits)

    assert again.last.master.id == chain.last.master.id
    assert (again.now, again.is_block_due) == (chain.now, chain.is_block_due) == (NOW + 100, True)
    for one in (chain, again):
        go_on(one)
    assert again.last.master.id == chain.last.master.id
    assert again.last.flow == chain.last.flow
    assert again.history.first == chain.history.first


def test_a_chain_can_be_saved_again_and_again(chain: DevChain, tmp_path: Path) -> None:
    for _ in range(3):
        save(chain, tmp_path / "chain")
        chain = load(tmp_path / "chain", limits=chain.limits)

    assert chain.account(STRANGER).balance == NANO_PER_TON
    go_on(chain)


def test_transactions_libraries_and_accounts_are_kept(chain: DevChain, tmp_path: Path) -> None:
    before = list(chain.history.all_transactions())
    save(chain, tmp_path / "chain")

    again = load(tmp_path / "chain")

    assert list(again.history.all_transactions())[: len(before)] == before
    assert dict(again.libraries) == dict(chain.libraries)
    address = before[0].transaction.address
    assert again.account(address).state == chain.account(address).state
    assert again.get_method(address, "add", arguments(2, 3)) == chain.get_method(
        address, "add", arguments(2, 3)
    )


def test_what_is_in_no_block_yet_gets_into_one(tmp_path: Path) -> None:
    chain = DevChain(now=NOW)
    chain.give(STRANGER, 5)

    save(chain, tmp_path / "chain")

    assert load(tmp_path / "chain").account(STRANGER).balance == 5
    assert chain.account(STRANGER).balance == 5


def test_a_fresh_chain_can_be_saved(tmp_path: Path) -> None:
    save(DevChain(now=NOW), tmp_path / "chain")

    assert load(tmp_path / "chain").last.accounts is None


def test_only_the_owner_can_read_the_file_and_nothing_else_is_left(chain: DevChain, tmp_path: Path) -> None:
    for _ in range(2):
        save(chain, tmp_path / "chain")

    assert stat.S_IMODE((tmp_path / "chain").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["chain"]


def test_time_goes_on_from_where_it_was(chain: DevChain, tmp_path: Path) -> None:
    save(chain, tmp_path / "chain")
    ticks = 1000.0

    again = load(tmp_path / "chain", clock=lambda: ticks)
    ticks += 4

    assert again.now == NOW + 104


def test_a_smaller_memory_keeps_the_newest(chain: DevChain, tmp_path: Path) -> None:
    newest = list(chain.history.all_transactions())[-2:]
    # Saving closes a block, and what waits runs in it.
    chain.limits = Limits(cascade=0)
    save(chain, tmp_path / "chain")

    again = load(tmp_path / "chain", limits=Limits(transactions=2))

    assert list(again.history.all_transactions()) == newest


def test_where_there_is_no_file_the_caller_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "chain")


def test_a_folder_that_is_not_there_or_is_a_file_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be saved"):
        save(DevChain(now=NOW), tmp_path / "nowhere" / "chain")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"something else", b"cocoon local chain", b"cocoon local chain\x01zzz"]
)
def test_another_file_is_not_taken_for_a_chain(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "chain").write_bytes(data)

    with pytest.raises(ConfigurationError, match="no chain can be read"):
        load(tmp_path / "chain")


def test_another_format_is_refused_by_its_number(chain: DevChain, tmp_path: Path) -> None:
    save(chain, tmp_path / "chain")
    data = (tmp_path / "chain").read_bytes()
    (tmp_path / "chain").write_bytes(
        data.replace(b"chain" + bytes((FORMAT,)), b"chain" + bytes((FORMAT + 1,)), 1)
    )

    with pytest.raises(ConfigurationError, match=f"format is not {FORMAT}"):
        load(tmp_path / "chain")


def test_a_file_in_which_one_amount_was_changed_is_refused(chain: DevChain) -> None:
    snapshot = chain.snapshot()
    other = DevChain(now=NOW)
    other.give(STRANGER, NANO_PER_TON + 1)
    richer = dict(other.snapshot().accounts)[STRANGER]
    accounts = tuple(
        (address, richer if address == STRANGER else state) for address, state in snapshot.accounts
    )

    with pytest.raises(MalformedMessage, match="do not hash"):
        DevChain.restored(replace(snapshot, accounts=accounts))
    without = tuple(pair for pair in snapshot.accounts if pair[0] != STRANGER)
    with pytest.raises(MalformedMessage, match="do not hash"):
        DevChain.restored(replace(snapshot, accounts=without))


@pytest.mark.slow
def test_a_file_with_any_byte_changed_is_refused_or_is_the_same_chain(
    chain: DevChain, tmp_path: Path
) -> None:
    file = tmp_path / "chain"
    save(chain, file)
    data = file.read_bytes()

    for at in range(0, len(data), max(1, len(data) // 60)):
        file.write_bytes(data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :])

        with pytest.raises(ConfigurationError):
            load(file)
