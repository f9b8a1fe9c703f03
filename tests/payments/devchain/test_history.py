"""What a chain remembers has limits, whatever happens on it."""

import gc

import pytest

from cocoon_p2p.payments.devchain import AccountId, DevChain, Limits, internal_message
from cocoon_p2p.payments.devchain.chain import FAUCET
from cocoon_p2p.payments.devchain.history import History, PastTransaction
from cocoon_p2p.payments.devchain.tvm import Transaction
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.payments.devchain.bait import NOW, STRANGER, deployed, say_send

EVER = 2**63 - 1


def test_blocks_that_are_too_old_are_forgotten_and_the_first_ones_name_is_not() -> None:
    chain = DevChain(now=NOW, limits=Limits(blocks=3))
    first = chain.last.master.id

    for _ in range(5):
        chain.make_block()

    assert [pair.master.id.seqno for pair in chain.history.pairs()] == [3, 4, 5]
    assert [chain.history.pair(seqno) is None for seqno in range(-1, 7)] == [True] * 4 + [False] * 3 + [True]
    assert chain.history.first == first


def test_transactions_that_are_too_old_are_forgotten_whoever_had_them() -> None:
    chain = DevChain(now=NOW, limits=Limits(transactions=4))
    others = [AccountId(bytes((number,)) * 32) for number in range(3)]

    for account in (others[0], others[0], *others, others[2]):
        chain.give(account, 1000)
    chain.make_block()

    assert [len(chain.history.transactions(account, up_to_lt=EVER, count=99)) for account in others] == [
        1,
        1,
        2,
    ]
    kept = [past.transaction.lt for past in chain.history.all_transactions()]
    assert kept == sorted(kept)
    assert len(kept) == 4


def test_an_accounts_transactions_come_newest_first_up_to_the_one_that_is_asked() -> None:
    chain = DevChain(now=NOW)
    lts = [chain.give(STRANGER, 1000)[0].lt for _ in range(5)]
    chain.make_block()

    def found(up_to_lt: int, count: int) -> list[int]:
        pasts = chain.history.transactions(STRANGER, up_to_lt=up_to_lt, count=count)
        return [past.transaction.lt for past in pasts]

    assert found(EVER, 2) == [lts[4], lts[3]]
    assert found(lts[2], 99) == [lts[2], lts[1], lts[0]]
    assert found(lts[0] - 1, 99) == []
    assert found(EVER, 0) == []


def test_nothing_is_kept_for_an_account_of_which_all_is_forgotten() -> None:
    history = History(Limits(transactions=10))
    block = DevChain(now=NOW).last.shard.id

    def remember(count: int) -> int:
        for number in range(count):
            address = AccountId(number.to_bytes(32, "big"))
            transaction = Transaction(address, number, bytes(32), 0, Nano(0), b"")
            history.add_transaction(PastTransaction(transaction, block))
        gc.collect()
        return len(gc.get_objects())

    few = remember(20)

    assert remember(2000) < few + 20


@pytest.mark.slow
def test_a_chain_that_runs_for_long_has_no_more_objects_in_the_end_than_in_the_middle() -> None:
    limits = Limits(blocks=10, transactions=100)
    chain = DevChain(now=NOW, limits=limits)
    contract = deployed(chain, amount=1000 * NANO_PER_TON)
    places = [AccountId(bytes((number,)) * 32) for number in range(20)]

    def run(rounds: int) -> int:
        for number in range(rounds):
            place = places[number % len(places)]
            chain.deliver(internal_message(FAUCET, contract, NANO_PER_TON, body=say_send(place, 1000)))
            chain.now += 1
            chain.make_block()
        gc.collect()
        return len(gc.get_objects())

    run(100)
    in_the_middle = run(200)
    in_the_end = run(400)

    # Dictionaries' shapes differ a little with what is in them.
    assert in_the_end < in_the_middle + 200
    assert len(list(chain.history.all_transactions())) == limits.transactions
    assert len(list(chain.history.pairs())) == limits.blocks
