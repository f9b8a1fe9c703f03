"""The chain: messages, time, blocks, and what comes of them, without a socket."""

import pytest
from pytoniq_core import Cell as TheirCell
from pytoniq_core.tlb.transaction import Transaction as TheirTransaction

from cocoon_p2p.errors import LocalProtocolError, MalformedMessage
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.devchain import (
    FAUCET,
    LOCAL_GLOBAL_ID,
    AccountId,
    DevChain,
    Limits,
    MessageRejected,
    Status,
    external_message,
    internal_message,
    local_config,
)
from cocoon_p2p.payments.devchain.augmap import find
from cocoon_p2p.payments.devchain.clock import TIME_MAX
from cocoon_p2p.payments.devchain.layouts import key_of
from cocoon_p2p.payments.devchain.messages import write_address
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import (
    ACCEPTED,
    AGAIN,
    CARRY_ALL,
    NOTE,
    NOW,
    STRANGER,
    THROW,
    bait,
    deployed,
    say,
    say_destroy,
    say_send,
)


@pytest.fixture
def chain() -> DevChain:
    return DevChain(now=NOW)


def test_a_chain_begins_with_one_empty_block(chain: DevChain) -> None:
    assert chain.last.master.id.seqno == chain.last.shard.id.seqno == 0
    assert chain.last.accounts is None
    assert (chain.now, chain.global_id) == (NOW, LOCAL_GLOBAL_ID)
    assert not chain.is_block_due


def test_what_a_message_causes_runs_with_it(chain: DevChain) -> None:
    address = deployed(chain)

    transactions = chain.give(address, NANO_PER_TON, body=say_send(STRANGER, NANO_PER_TON // 10, times=3))

    assert [one.address for one in transactions] == [address, STRANGER, STRANGER, STRANGER]
    assert [one.lt for one in transactions] == sorted({one.lt for one in transactions})
    assert chain.account(STRANGER).status is Status.UNINITIALISED


def test_money_for_a_contract_that_fails_bounces_to_where_it_came_from(chain: DevChain) -> None:
    address = deployed(chain)

    transactions = chain.give(address, NANO_PER_TON, body=say(THROW), bounce=True, source=STRANGER)

    assert [one.address for one in transactions] == [address, STRANGER]
    assert chain.account(STRANGER).balance > NANO_PER_TON * 99 // 100


def test_the_faucets_money_stays_where_it_was_sent_if_nobody_is_there(chain: DevChain) -> None:
    chain.give(STRANGER, NANO_PER_TON)

    assert chain.account(STRANGER).balance == NANO_PER_TON
    assert chain.account(FAUCET).status is Status.NONE


def test_an_account_that_sends_all_it_has_and_destroys_itself_is_gone(chain: DevChain) -> None:
    address = deployed(chain)
    chain.make_block()
    kept = chain.last

    chain.give(address, NANO_PER_TON, body=say_destroy(STRANGER))
    chain.make_block()

    assert chain.account(address).status is Status.NONE
    assert chain.account(STRANGER).balance > 10 * NANO_PER_TON
    assert find(chain.last.accounts, key_of(address)) is None
    assert find(kept.accounts, key_of(address)) is not None


def test_what_ran_is_seen_at_once_and_is_in_the_next_block(chain: DevChain) -> None:
    before = chain.last.accounts

    (transaction,) = chain.give(STRANGER, 5)

    assert chain.account(STRANGER).balance == 5
    assert chain.last.accounts is before
    assert chain.is_block_due
    pair = chain.make_block()
    assert not chain.is_block_due
    (past,) = chain.history.transactions(STRANGER, up_to_lt=transaction.lt, count=16)
    assert (past.transaction, past.block) == (transaction, pair.shard.id)
    change = find(pair.changes, key_of(STRANGER))
    assert change is not None
    assert change.after == chain.account(STRANGER).root_hash != change.before


def test_another_library_reads_a_transaction(chain: DevChain) -> None:
    address = deployed(chain)

    first, _ = chain.give(address, NANO_PER_TON, body=say_send(STRANGER, 7, mode=1), source=STRANGER)

    read = TheirTransaction.deserialize(TheirCell.one_from_boc(first.boc).begin_parse())
    assert (read.account_addr, read.lt, read.total_fees.grams) == (address, first.lt, first.fees)
    assert read.description.compute_ph.exit_code == 0
    (sent,) = read.out_msgs
    assert (sent.info.dest.hash_part, sent.info.value_coins) == (STRANGER, 7)


def test_each_block_has_a_seed_of_its_own(chain: DevChain) -> None:
    address = deployed(chain)
    noted: list[bytes | None] = []
    for _ in range(2):
        chain.give(address, NANO_PER_TON, body=say(NOTE))
        noted.append(chain.account(address).data)
        chain.make_block()

    assert noted[0] != noted[1]


def test_an_endless_cascade_waits_for_the_next_block() -> None:
    chain = DevChain(now=NOW, limits=Limits(cascade=10))
    address = deployed(chain)
    chain.make_block()

    first = chain.give(address, NANO_PER_TON, body=say(AGAIN))

    assert len(first) == 10
    assert chain.is_block_due
    chain.make_block()
    assert len(chain.history.transactions(address, up_to_lt=2**63, count=1000)) == 1 + 20
    assert chain.is_block_due
    rounds = 0
    while chain.is_block_due:
        chain.make_block()
        rounds += 1
    # A TON buys some 760 turns, ten a block.
    assert 60 < rounds < 90


def test_a_message_for_another_workchain_leaves_and_takes_its_money_along(chain: DevChain) -> None:
    address = deployed(chain)

    transactions = chain.give(address, NANO_PER_TON, body=say_send(STRANGER, NANO_PER_TON, workchain=-1))

    assert [one.address for one in transactions] == [address]
    flow = chain.make_block().flow
    assert NANO_PER_TON * 99 // 100 < flow.exported < NANO_PER_TON


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"not cells",
        write_boc(Builder().cell()),
        write_boc(Builder().uint(0b11, 2).uint(0, 200).cell()),
        internal_message(FAUCET, STRANGER, 5),
        # Workchain -1; an address with a shard prefix; none; a variable one.
        write_boc(write_address(Builder().uint(0b1000, 4), STRANGER, -1).coins(0).uint(0, 2).cell()),
        write_boc(Builder().uint(0b1000, 4).uint(0b101, 3).uint(0, 280).coins(0).uint(0, 2).cell()),
        write_boc(Builder().uint(0b1000, 4).uint(0b00, 2).coins(0).uint(0, 2).cell()),
        write_boc(Builder().uint(0b1000, 4).uint(0b11, 2).uint(0, 300).cell()),
        external_message(STRANGER, say(ACCEPTED)),
    ],
    ids=[
        "nothing",
        "noise",
        "empty",
        "outward",
        "internal",
        "masterchain",
        "anycast",
        "none",
        "var",
        "nobody",
    ],
)
def test_what_no_network_takes_from_outside_is_refused_and_changes_nothing(
    chain: DevChain, message: bytes
) -> None:
    with pytest.raises(MalformedMessage):
        chain.send(message)

    assert not chain.is_block_due
    assert chain.make_block().accounts is None


@pytest.mark.parametrize(
    "message", [b"", external_message(STRANGER, say(ACCEPTED))], ids=["noise", "external"]
)
def test_only_internal_messages_are_delivered(chain: DevChain, message: bytes) -> None:
    with pytest.raises(MalformedMessage):
        chain.deliver(message)

    assert chain.make_block().flow.minted == 0


def test_a_message_that_is_not_accepted_leaves_no_trace(chain: DevChain) -> None:
    address = deployed(chain)
    chain.make_block()
    before = chain.account(address)

    with pytest.raises(MessageRejected):
        chain.send(external_message(address, say(8)))

    assert chain.account(address) == before
    assert not chain.is_block_due


def test_an_external_message_may_deploy_its_contract(chain: DevChain) -> None:
    address, init = bait()
    chain.give(address, NANO_PER_TON)

    chain.send(external_message(address, say(ACCEPTED), init=init))

    assert chain.account(address).status is Status.ACTIVE


def test_time_stands_still_until_it_is_moved(chain: DevChain) -> None:
    chain.now += 3600

    assert chain.now == NOW + 3600
    assert chain.is_block_due
    pair = chain.make_block()
    assert (pair.shard.utime, pair.master.utime) == (NOW + 3600, NOW + 3600)
    assert not chain.is_block_due


def test_time_never_goes_back_nor_past_what_can_be_spelled(chain: DevChain) -> None:
    chain.now = NOW

    for wanted in (NOW - 1, TIME_MAX + 1):
        with pytest.raises(LocalProtocolError):
            chain.now = wanted


def test_time_stops_where_lite_servers_can_no_longer_spell_it() -> None:
    ticks = 0.0
    chain = DevChain(now=TIME_MAX - 1, clock=lambda: ticks)

    ticks = 1e9

    assert chain.now == TIME_MAX
    assert chain.make_block().shard.utime == TIME_MAX


def test_time_runs_with_a_clock_and_can_be_moved_ahead_of_it() -> None:
    ticks = 50.0
    chain = DevChain(now=NOW, clock=lambda: ticks)

    ticks += 2.5
    assert chain.now == NOW + 2
    chain.now += 100
    ticks += 3.0
    assert chain.now == NOW + 2 + 100 + 3


def test_storage_is_paid_for_as_time_goes_by(chain: DevChain) -> None:
    address = deployed(chain)
    before = chain.account(address).balance

    chain.now += 365 * 86_400
    chain.give(address, 0)

    # A nanoTON a bit and 500 a cell for each 65,536 seconds: some 0.005 TON a year for this contract.
    assert 1_000_000 < before - chain.account(address).balance < 10_000_000


def test_watchers_are_told_of_every_change_until_they_leave(chain: DevChain) -> None:
    told: list[int] = []

    def watcher() -> None:
        told.append(chain.last.master.id.seqno)

    chain.watch(watcher)
    chain.give(STRANGER, 5)
    chain.make_block()
    chain.now += 1
    assert told == [0, 1, 1]

    chain.unwatch(watcher)
    chain.make_block()
    assert told == [0, 1, 1]


def test_another_configuration_makes_another_network() -> None:
    chain = DevChain(now=NOW, config=local_config(-77))
    address = deployed(chain)

    assert chain.global_id == -77
    assert chain.get_method(address, "environment").exit_code == 0
    with pytest.raises(MalformedMessage):
        DevChain(now=NOW, config=b"")


def test_a_contract_that_sends_two_hundred_messages_has_them_all_delivered(chain: DevChain) -> None:
    address = deployed(chain)

    transactions = chain.give(address, NANO_PER_TON, body=say_send(STRANGER, 1000, times=200, mode=1))

    assert len(transactions) == 201
    assert chain.account(STRANGER).balance == 200 * 1000


def test_all_that_a_contract_has_can_be_sent_on(chain: DevChain) -> None:
    address = deployed(chain)

    chain.give(address, NANO_PER_TON, body=say_send(STRANGER, 0, mode=CARRY_ALL))

    assert chain.account(address).balance == 0
    assert chain.account(address).status is Status.ACTIVE


def test_a_fee_for_instant_routing_comes_back_to_the_destination(chain: DevChain) -> None:
    # Nothing is routed instantly. No wallet pays it; a message from outside may say that it was paid.
    builder = Builder().uint(0b0000, 4)
    write_address(write_address(builder, FAUCET), STRANGER).money(1000).coins(77).coins(5).uint(0, 96 + 2)

    chain.deliver(write_boc(builder.cell()))
    flow = chain.make_block().flow

    assert (flow.minted, flow.after, flow.fees) == (1000 + 77 + 5, 1000 + 77, 5)


def test_any_address_can_be_given_money(chain: DevChain) -> None:
    for address in (AccountId(bytes(32)), AccountId(b"\xff" * 32)):
        chain.give(address, 1)

    pair = chain.make_block()

    assert pair.accounts is not None
    assert pair.accounts.weight == 2
