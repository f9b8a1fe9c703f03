"""The machine itself: what it runs, what it refuses, and each trap of the library under it."""

import subprocess
import sys

import pytest

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder, Cell, Slice
from cocoon_p2p.payments.devchain import (
    LOCAL_GLOBAL_ID,
    AccountId,
    DevChain,
    MessageRejected,
    address_of,
    external_message,
    local_config,
    method_id,
    state_init,
)
from cocoon_p2p.payments.devchain.account import Status, no_account
from cocoon_p2p.payments.devchain.messages import internal_message, write_address
from cocoon_p2p.payments.devchain.methods import GET_METHOD_GAS, NO_CONTRACT
from cocoon_p2p.payments.devchain.moment import Moment
from cocoon_p2p.payments.devchain.native import cell_hash, from_boc, to_boc
from cocoon_p2p.payments.devchain.stack import DEPTH_MAX, ENTRIES_MAX
from cocoon_p2p.payments.devchain.tvm import Tvm
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import (
    ACCEPTED,
    CODE,
    LOOP,
    NOTE,
    NOW,
    STRANGER,
    arguments,
    bait,
    deployed,
    result,
    say,
)

SEED = bytes(range(32))
MOMENT = Moment(NOW, 1_000_000, SEED)


@pytest.fixture
def chain() -> DevChain:
    return DevChain(now=NOW)


def test_a_transfer_to_nobody_makes_an_account_that_holds_it() -> None:
    message = from_boc(internal_message(STRANGER, AccountId(bytes(32)), 5 * NANO_PER_TON, bounce=False))

    done = Tvm(local_config()).transaction(no_account(), message, MOMENT)

    assert (done.account.status, done.account.balance) == (Status.UNINITIALISED, 5 * NANO_PER_TON)
    assert done.transaction.address == bytes(32)
    assert (done.account.last_lt, done.account.last_hash) == (done.transaction.lt, done.transaction.hash)
    assert done.transaction.hash == read_one(done.transaction.boc).hash


def test_the_same_message_at_the_same_moment_is_the_same_transaction() -> None:
    message = from_boc(internal_message(STRANGER, AccountId(bytes(32)), 1, bounce=False))
    machines = Tvm(local_config()), Tvm(local_config())

    hashes = {machine.transaction(no_account(), message, MOMENT).transaction.hash for machine in machines}

    assert len(hashes) == 1


def test_random_numbers_come_from_the_seed_alone() -> None:
    address, init = bait()
    machine = Tvm(local_config())
    deploying = from_boc(internal_message(STRANGER, address, NANO_PER_TON, body=say(NOTE), init=init))

    noted = [
        machine.transaction(no_account(), deploying, Moment(NOW, 1_000_000, seed)).account.data
        for seed in (SEED, SEED, bytes(32))
    ]

    assert noted[0] == noted[1] != noted[2]


def test_a_contract_reads_the_chains_time_and_id(chain: DevChain) -> None:
    address = deployed(chain)
    chain.now += 7

    chain.give(address, NANO_PER_TON, body=say(NOTE))

    data = chain.account(address).data
    assert data is not None
    reader = Slice(read_one(data))
    reader.uint(256)
    assert (reader.sint(32), reader.uint(32)) == (LOCAL_GLOBAL_ID, NOW + 7)


def test_a_get_method_has_the_environment_of_a_transaction(chain: DevChain) -> None:
    # A library's ready-made c7 has a field too many: GLOBALID and fees then fail with exit code 7.
    address = deployed(chain)

    found = chain.get_method(address, "environment")

    now, lt, balance, own_address, global_id, chance, parameter_19, code, forward_fee = result(found.stack)
    assert found.exit_code == 0
    assert (now, balance, global_id) == (NOW, chain.account(address).balance, LOCAL_GLOBAL_ID)
    assert lt == 2_000_000
    assert chance != 0
    assert isinstance(parameter_19, Cell)
    assert Slice(parameter_19).sint(32) == LOCAL_GLOBAL_ID
    assert isinstance(code, Cell)
    assert code.hash == read_one(CODE).hash
    assert isinstance(own_address, Cell)
    assert own_address.hash == write_address(Builder(), address).cell().hash
    # A lump, a cell, a thousand bits.
    assert forward_fee == 400_000 + 40_000 + 1_000 * 400


@pytest.mark.parametrize(
    ("method", "given", "exit_code"),
    [
        ("add", (2, 3), 0),
        ("boom", (), 55),
        ("no_such_method", (), 11),
        ("add", (2,), 2),
        ("burn", (10**9,), 13),
    ],
)
def test_a_get_methods_exit_code_is_told_plainly(
    chain: DevChain, method: str, given: tuple[int, ...], exit_code: int
) -> None:
    # The library gives the code's complement, except when gas ran out.
    found = chain.get_method(deployed(chain), method, arguments(*given))

    assert found.exit_code == exit_code


def test_a_get_method_gets_its_arguments_and_no_more_gas_than_a_lite_server_gives(chain: DevChain) -> None:
    address = deployed(chain)

    added, burned = (
        chain.get_method(address, "add", arguments(2, 3)),
        chain.get_method(address, "burn", arguments(10**9)),
    )

    assert result(added.stack) == [5]
    assert burned.gas_used == GET_METHOD_GAS


def test_a_get_method_where_there_is_no_contract_says_so(chain: DevChain) -> None:
    chain.give(STRANGER, NANO_PER_TON)

    assert chain.get_method(STRANGER, "seqno").exit_code == NO_CONTRACT
    assert chain.get_method(AccountId(bytes(32)), "seqno").exit_code == NO_CONTRACT


def test_method_numbers_are_those_of_compilers() -> None:
    # 85143: every TON wallet's `seqno`.
    assert method_id("seqno") == 85143


def test_a_stack_that_claims_more_than_it_has_is_refused(chain: DevChain) -> None:
    # The library reads it as a shorter one, the slower the more it claims.
    address = deployed(chain)

    for claimed in (1, ENTRIES_MAX, 0xFFFFFF):
        with pytest.raises(MalformedMessage):
            chain.get_method(address, "add", write_boc(Builder().uint(claimed, 24).cell()))


def test_a_stack_that_unfolds_into_billions_is_refused_at_once(chain: DevChain) -> None:
    address = deployed(chain)
    pair = Builder().uint(1, 8).sint(5, 64).cell()
    for _ in range(40):
        pair = Builder().uint(7, 8).uint(2, 16).reference(pair).reference(pair).cell()
    bomb = Builder().uint(1, 24).reference(Builder().cell()).root_of(pair).cell()

    with pytest.raises(MalformedMessage, match="too large"):
        chain.get_method(address, "add", write_boc(bomb))


@pytest.mark.parametrize(
    ("method", "size", "works"),
    [("doubled", 10, True), ("doubled", 60, False), ("nested", 200, True), ("nested", DEPTH_MAX + 1, False)],
)
def test_what_a_get_method_leaves_is_written_only_if_it_is_small(
    chain: DevChain, method: str, size: int, works: bool
) -> None:
    # Sixty cells that hold each other twice are 2**60 entries once they are written out.
    address = deployed(chain)

    if works:
        assert chain.get_method(address, method, arguments(size)).exit_code == 0
    else:
        with pytest.raises(MalformedMessage, match="too much"):
            chain.get_method(address, method, arguments(size))


def test_a_continuation_is_not_written(chain: DevChain) -> None:
    with pytest.raises(MalformedMessage, match="no plain value"):
        chain.get_method(deployed(chain), "code")


def test_an_external_message_runs_only_if_the_contract_accepts_it(chain: DevChain) -> None:
    address = deployed(chain)
    before = chain.account(address)

    with pytest.raises(MessageRejected) as caught:
        chain.send(external_message(address, say(8)))

    assert caught.value.exit_code == 33
    assert chain.account(address) == before
    assert len(chain.send(external_message(address, say(ACCEPTED)))) == 1


def test_an_external_message_to_nobody_is_refused(chain: DevChain) -> None:
    with pytest.raises(MalformedMessage):
        chain.send(external_message(STRANGER, say(ACCEPTED)))


def test_an_endless_loop_ends_when_its_gas_does(chain: DevChain) -> None:
    address = deployed(chain)

    (transaction,) = chain.give(address, NANO_PER_TON, body=say(LOOP))

    assert transaction.fees >= 400 * 1_000_000


def test_a_deployment_that_fails_leaves_an_active_account_all_the_same(chain: DevChain) -> None:
    # Contracts must guard every operation against it; the channel contract does.
    address, init = bait()

    chain.give(address, NANO_PER_TON, body=say(1), init=init)

    account = chain.account(address)
    assert account.status is Status.ACTIVE
    assert account.data is not None
    assert read_one(account.data).hash == Builder().uint(0, 64).cell().hash


def test_instructions_that_came_with_version_12_are_unknown_to_this_machine(chain: DevChain) -> None:
    # What Tolk 1.2 and newer write; the channel's contract is compiled by 1.0. NEWC, BTOS.
    code = write_boc(Builder().octets(bytes.fromhex("30c8cf50")).cell())
    init = state_init(code, write_boc(Builder().cell()))
    chain.give(address_of(init), NANO_PER_TON, init=init)

    assert chain.get_method(address_of(init), 1).exit_code == 6


def test_a_library_cell_runs_once_its_library_is_public(chain: DevChain) -> None:
    code = read_one(CODE)
    stand_in = Builder().uint(2, 8).octets(code.hash).cell()
    library_cell = Cell(stand_in.bits, stand_in.data, kind=2)
    init = Builder().uint(0b00110, 5).reference(library_cell).reference(Builder().cell()).cell()
    address = AccountId(init.hash)
    chain.give(address, NANO_PER_TON, init=write_boc(init))

    without = chain.get_method(address, "add", arguments(2, 3))
    assert chain.add_library(CODE) == code.hash
    with_it = chain.get_method(address, "add", arguments(2, 3))
    (transaction,) = chain.give(address, NANO_PER_TON, body=say(NOTE))

    assert (without.exit_code, with_it.exit_code) == (9, 0)
    data = chain.account(address).data
    assert data is not None
    assert read_one(data).bits == 256 + 32 + 32
    assert transaction.fees > 0


@pytest.mark.parametrize("data", [b"", b"abc", b"\xb5\xee\x9c\x72" + bytes(40), bytes(1000)])
def test_bytes_that_are_no_cells_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        from_boc(data)
    with pytest.raises(MalformedMessage):
        Tvm(data)


def test_cells_that_are_no_configuration_are_refused() -> None:
    with pytest.raises(MalformedMessage):
        Tvm(write_boc(Builder().uint(0, 8).cell()))


def test_the_librarys_complaints_do_not_reach_stderr() -> None:
    program = (
        "from cocoon_p2p.payments.devchain.native import from_boc, MalformedMessage\n"
        "try: from_boc(b'abc')\nexcept MalformedMessage: print('refused')"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert (done.stdout, done.stderr) == (b"refused\n", b"")


def test_native_cells_and_ours_have_the_same_hash_both_ways() -> None:
    # Large enough for the library to put hashes into the bag.
    tree = Builder().cell()
    for number in range(100):
        tree = Builder().octets(number.to_bytes(2, "big") * 50).reference(tree).cell()

    for boc in (local_config(), write_boc(tree)):
        native = from_boc(boc)

        assert cell_hash(native) == read_one(boc).hash == read_one(to_boc(native)).hash
        assert native.get_depth() == read_one(boc).depth
