"""The local chain as payments see it: every figure adds up, and it fails when told to."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.chain import Chain, MessageRefused, Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import DevChain, Limits, Status, external_message
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import (
    ACCEPTED,
    AGAIN,
    CARRY_ALL,
    CARRY_REST,
    CODE,
    LOOP,
    NOTE,
    NOW,
    PLAIN_MODE,
    SEND,
    STRANGER,
    THROW,
    bait,
    deployed,
    say,
    say_destroy,
    say_send,
)

NOBODY = AccountId(bytes(32))
BAIT, _ = bait()
ACCOUNT = AccountId(BAIT)
PLACE = AccountId(STRANGER)
YEAR_SECONDS = 366 * 24 * 3600


@pytest.fixture
def chain() -> LocalChain:
    return LocalChain(DevChain(now=NOW))


def deploy(chain: LocalChain, amount: int = 10 * NANO_PER_TON) -> AccountId:
    return AccountId(deployed(chain.chain, amount=amount))


async def only(chain: LocalChain, account: AccountId, since_lt: int = 0) -> Transaction:
    (transaction,) = await chain.transactions(account, since_lt=since_lt)
    return transaction


async def test_it_is_a_chain(chain: LocalChain) -> None:
    port: Chain = chain

    assert port.global_id == chain.chain.global_id


async def test_what_was_given_is_seen_at_once(chain: LocalChain) -> None:
    chain.chain.give(STRANGER, 5 * NANO_PER_TON)

    seen = await chain.account(PLACE)

    assert (seen.balance, seen.code, seen.data) == (5 * NANO_PER_TON, None, None)
    assert seen.last_lt == (await only(chain, PLACE)).lt
    assert seen.at == NOW


async def test_a_contract_is_seen_with_its_code_and_data(chain: LocalChain) -> None:
    seen = await chain.account(deploy(chain))

    assert seen.code is not None
    assert seen.data is not None
    assert read_one(seen.code).hash == read_one(CODE).hash
    assert read_one(seen.data).hash == Builder().uint(0, 64).cell().hash


async def test_an_account_that_never_was_holds_nothing(chain: LocalChain) -> None:
    seen = await chain.account(NOBODY)

    assert (seen.balance, seen.code, seen.data, seen.last_lt) == (0, None, None, 0)
    assert await chain.transactions(NOBODY) == ()


async def test_a_frozen_account_has_no_code() -> None:
    # Its rent is so low that it takes decades to owe enough.
    chain = LocalChain(DevChain(now=1))
    account = deploy(chain, NANO_PER_TON // 100)
    # One that still is as it was deployed is forgotten instead.
    chain.chain.give(BAIT, NANO_PER_TON // 50, body=say(NOTE))
    chain.chain.now += 60 * YEAR_SECONDS
    chain.chain.give(BAIT, 0)

    seen = await chain.account(account)

    assert chain.chain.account(BAIT).status is Status.FROZEN
    assert (seen.code, seen.data) == (None, None)
    assert seen.last_lt > 0


async def test_a_destroyed_account_is_as_if_it_had_never_been(chain: LocalChain) -> None:
    account = deploy(chain)
    chain.chain.give(BAIT, NANO_PER_TON, body=say_destroy(STRANGER))

    seen = await chain.account(account)

    assert (seen.balance, seen.code, seen.last_lt) == (0, None, 0)
    assert await chain.transactions(account) == ()


async def test_an_account_that_came_back_has_what_happened_since(chain: LocalChain) -> None:
    account = deploy(chain)
    chain.chain.give(BAIT, NANO_PER_TON, body=say_destroy(STRANGER))
    await chain.time()
    chain.chain.give(BAIT, 7)
    chain.chain.give(BAIT, 8)

    told = await chain.transactions(account)

    assert [one.received.amount for one in told if one.received] == [7, 8]


async def test_a_payment_names_who_sent_it_how_much_and_what_was_said(chain: LocalChain) -> None:
    body = write_boc(Builder().uint(0xC0C0, 16).cell())
    chain.chain.give(STRANGER, 7, body=body, source=BAIT)

    transaction = await only(chain, PLACE)

    assert transaction.received is not None
    assert transaction.received.other == ACCOUNT
    assert transaction.received.amount == 7
    assert read_one(transaction.received.body).hash == read_one(body).hash
    assert transaction.exit_code is None
    assert transaction.is_aborted


async def test_what_was_sent_names_who_gets_it(chain: LocalChain) -> None:
    account = deploy(chain)
    before = await only(chain, account)
    chain.chain.give(BAIT, NANO_PER_TON, body=say_send(STRANGER, NANO_PER_TON // 4, times=2))

    (sending,) = await chain.transactions(account, since_lt=before.lt)

    assert [one.other for one in sending.sent] == [PLACE, PLACE]
    arrived = [one.received.amount for one in await chain.transactions(PLACE) if one.received]
    assert [one.amount for one in sending.sent] == arrived


async def test_a_payment_of_nothing_is_one(chain: LocalChain) -> None:
    chain.chain.give(STRANGER, 1)
    first = await only(chain, PLACE)
    chain.chain.give(STRANGER, 0)

    transaction = await only(chain, PLACE, since_lt=first.lt)

    assert transaction.received is not None
    assert transaction.received.amount == 0


async def test_an_external_message_is_known_again_by_its_hash(chain: LocalChain) -> None:
    account = deploy(chain)
    before = (await only(chain, account)).lt
    message = external_message(BAIT, say(ACCEPTED))

    await chain.send(message)

    transaction = await only(chain, account, since_lt=before)
    assert transaction.message_hash == read_one(message).hash
    assert transaction.received is not None
    assert (transaction.received.other, transaction.received.amount) == (None, 0)
    assert (transaction.exit_code, transaction.is_aborted) == (0, False)
    assert transaction.fees > 0


async def test_transactions_are_told_oldest_first_and_only_newer_ones(chain: LocalChain) -> None:
    for amount in (1, 2, 3):
        chain.chain.give(STRANGER, amount)

    told = await chain.transactions(PLACE)
    later = await chain.transactions(PLACE, since_lt=told[0].lt)

    assert [one.received.amount for one in told if one.received] == [1, 2, 3]
    assert later == told[1:]


async def test_what_the_contract_rejects_is_refused_with_its_exit_code(chain: LocalChain) -> None:
    deploy(chain)
    message = external_message(BAIT, say(THROW))

    with pytest.raises(MessageRefused) as caught:
        await chain.send(message)

    assert caught.value.exit_code is not None
    assert chain.sent == []


async def test_what_is_no_message_is_refused(chain: LocalChain) -> None:
    with pytest.raises(MessageRefused):
        await chain.send(b"noise")


async def test_a_contract_that_throws_is_seen_to_have_thrown(chain: LocalChain) -> None:
    account = deploy(chain)
    before = await only(chain, account)
    chain.chain.give(BAIT, NANO_PER_TON, body=say(THROW), bounce=True)

    last = (await chain.transactions(account, since_lt=before.lt))[-1]

    assert last.is_aborted
    assert last.exit_code not in (None, 0)
    assert len(last.sent) == 1


async def test_time_is_the_chains(chain: LocalChain) -> None:
    chain.chain.now += 3600

    assert await chain.time() == NOW + 3600


async def test_a_chain_that_is_down_says_so_and_comes_back(chain: LocalChain) -> None:
    chain.is_down = True
    with pytest.raises(Unavailable):
        await chain.account(PLACE)

    chain.is_down = False

    assert (await chain.account(PLACE)).balance == 0


async def test_a_silent_chain_never_answers(chain: LocalChain, autojump_clock: MockClock) -> None:
    chain.is_silent = True

    with trio.move_on_after(1e6) as scope:
        await chain.time()

    assert scope.cancelled_caught


async def test_a_slow_chain_takes_its_time(chain: LocalChain, autojump_clock: MockClock) -> None:
    chain.delay_seconds = 30

    began = trio.current_time()
    await chain.time()

    assert trio.current_time() - began == 30


async def test_a_lost_message_is_taken_and_never_carried_out(chain: LocalChain) -> None:
    account = deploy(chain)
    chain.loses_messages = True

    await chain.send(external_message(BAIT, say(ACCEPTED)))

    assert len(chain.sent) == 1
    assert all(one.message_hash != read_one(chain.sent[0]).hash for one in await chain.transactions(account))


def actions() -> st.SearchStrategy[bytes]:
    modes = st.sampled_from([PLAIN_MODE, CARRY_REST, CARRY_ALL])
    amounts = st.integers(0, 20 * NANO_PER_TON)
    sends = st.builds(
        lambda amount, times, mode: say_send(STRANGER, amount, times=times, mode=mode),
        amounts,
        st.integers(0, 3),
        modes,
    )
    return st.one_of(
        st.sampled_from([say(op) for op in (THROW, NOTE, LOOP, AGAIN, SEND, 77)]),
        sends,
        st.just(say_destroy(STRANGER)),
    )


@pytest.mark.slow
@given(
    steps=st.lists(
        st.tuples(actions(), st.integers(0, 5 * NANO_PER_TON), st.booleans(), st.integers(0, YEAR_SECONDS)),
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_an_accounts_balance_is_what_its_transactions_leave_of_it(
    steps: list[tuple[bytes, int, bool, int]],
) -> None:
    async def attempt() -> None:
        chain = LocalChain(DevChain(now=NOW, limits=Limits(cascade=30)))
        account = deploy(chain)
        for body, amount, bounce, seconds in steps:
            chain.chain.now += seconds
            chain.chain.give(BAIT, amount, body=body, bounce=bounce)
        while chain.chain.is_block_due:
            chain.chain.make_block()

        balance = 0
        for one in await chain.transactions(account):
            balance += one.received.amount if one.received else 0
            balance -= one.fees + sum(payment.amount for payment in one.sent)

        assert balance == (await chain.account(account)).balance

    trio.run(attempt)
