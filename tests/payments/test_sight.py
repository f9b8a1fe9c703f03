"""What a look at a contract shows, and what its notices say that it paid."""

from dataclasses import replace

import pytest

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.chain import AccountSeen, Payment, Transaction
from cocoon_p2p.payments.channel import NOTHING_SEEN, Backing
from cocoon_p2p.payments.contract import AccountId, Deployment, claimable
from cocoon_p2p.payments.treasury.sight import (
    CLAIM_COSTS,
    CLAIM_COSTS_SHARE,
    Gone,
    NotOpened,
    due,
    is_claim_due,
    paid_total,
    read_sight,
)
from cocoon_p2p.units import Nano

PAYER, PAYEE = AccountId(b"\x01" * 32), AccountId(b"\x02" * 32)
TERMS = Deployment(-239, PAYER, PAYEE, b"\x03" * 32, b"\x04" * 32, 86400, b"\x05" * 16)
CHANNEL = contract.channel_id(TERMS)
PAID, RETURNED = 0x70617910, 0x70617911


def data(terms: Deployment = TERMS, *, epoch: int = 7, close_at: int = 0, claimed: int = 0) -> bytes:
    more = (
        Builder()
        .sint(terms.global_id, 32)
        .octets(terms.payer)
        .octets(terms.payee)
        .uint(terms.close_delay_seconds, 24)
        .octets(terms.salt)
    )
    state = Builder().uint(epoch, 64).uint(close_at, 32).uint(claimed, 64)
    return write_boc(state.octets(terms.payer_key).octets(terms.payee_key).reference(more.cell()).cell())


def seen(stored: bytes | None, *, balance: int = 1000) -> AccountSeen:
    code = None if stored is None else contract.code()
    return AccountSeen(AccountId(CHANNEL), Nano(balance), code, stored, 8, 9)


def came(op: int, total: int, *, sender: bytes = CHANNEL) -> Transaction:
    body = write_boc(Builder().uint(op, 32).uint(0, 64).uint(total, 64).cell())
    return Transaction(9, b"", 9, Payment(AccountId(sender), Nano(1), body), None, (), Nano(0), 0, False)


def test_what_was_claimed_is_still_counted_as_put_in() -> None:
    sight = read_sight(TERMS, NOTHING_SEEN, seen(data(claimed=300, close_at=5), balance=700))

    assert sight == Backing(epoch=7, deposit=Nano(1000), claimed=Nano(300), close_at=5)


@pytest.mark.parametrize("stored", [None, data(epoch=0)], ids=["nothing", "not open"])
def test_nothing_there_means_not_yet_or_not_any_more(stored: bytes | None) -> None:
    assert read_sight(TERMS, NOTHING_SEEN, seen(stored)) == NotOpened()
    assert read_sight(TERMS, Backing(epoch=7), seen(stored)) == Gone()


def test_another_life_at_the_same_address_is_not_ours() -> None:
    assert read_sight(TERMS, Backing(epoch=7), seen(data(epoch=8))) == Gone()
    assert isinstance(read_sight(TERMS, Backing(epoch=8), seen(data(epoch=8))), Backing)


def test_an_account_that_holds_other_terms_is_a_lie() -> None:
    with pytest.raises(MalformedMessage):
        read_sight(TERMS, NOTHING_SEEN, seen(data(replace(TERMS, close_delay_seconds=1))))


def test_a_payer_goes_by_the_notice_that_came_with_its_rest() -> None:
    past = [came(PAID, 900), came(RETURNED, 500), came(RETURNED, 800, sender=b"\x09" * 32)]

    assert paid_total(CHANNEL, TERMS, past, to=PAYER) == 500
    assert paid_total(CHANNEL, TERMS, [came(PAID, 900)], to=PAYER) is None


def test_a_payee_goes_by_the_last_notice_that_it_was_paid_with() -> None:
    past = [came(PAID, 100), came(PAID, 300), came(0, 900), came(PAID, 800, sender=b"\x09" * 32)]

    assert paid_total(CHANNEL, TERMS, past, to=PAYEE) == 300


def test_no_more_is_due_than_stands_behind_the_channel_and_was_not_claimed() -> None:
    backing = Backing(epoch=7, deposit=Nano(80_000_000), claimed=Nano(10_000_000))

    assert due(Nano(15_000_000), backing) == 5_000_000
    assert due(Nano(10**9), backing) == claimable(backing.deposit) - 10_000_000
    assert due(Nano(1), backing) == 0


@pytest.mark.parametrize(
    ("amount", "close_at", "is_old", "is_due"),
    [
        (10**9, 0, False, True),
        (10**9 - 1, 0, False, False),
        (CLAIM_COSTS * CLAIM_COSTS_SHARE, 0, True, True),
        (CLAIM_COSTS * CLAIM_COSTS_SHARE - 1, 0, True, False),
        (CLAIM_COSTS + 1, 5, False, True),
        (CLAIM_COSTS, 5, True, False),
    ],
)
def test_a_claim_is_due_when_it_is_worth_it_or_late(
    amount: int, close_at: int, is_old: bool, is_due: bool
) -> None:
    backing = Backing(epoch=7, close_at=close_at)

    assert is_claim_due(Nano(amount), backing, above=Nano(10**9), is_old=is_old) is is_due
