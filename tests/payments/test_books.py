"""What the chain shows, in the books: rows and lines must add up after each step."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.ledger import Account, Change, ChannelRow, Side, audit, balances
from cocoon_p2p.payments.books import Page, name_of
from cocoon_p2p.payments.channel import Backing, Phase
from cocoon_p2p.payments.events import SaveBacking, SaveCharge
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.testing.store import MemoryDisk
from cocoon_p2p.units import Nano
from tests.payments.parties import (
    BACKED,
    BACKED_OFFER,
    CHANNEL_KEY,
    NETWORK,
    ONE,
    PAYEE,
    PAYER,
    backed_voucher,
    receipt,
    sign,
)

SIDES = pytest.mark.parametrize("side", list(Side))


class Book:
    """One end's books, audited whenever something is written."""

    def __init__(self, side: Side) -> None:
        peer, seed = (PAYEE, CHANNEL_KEY.seed) if side is Side.PAYER else (PAYER, None)
        offer = encode_signed(sign(PAYER, NETWORK, BACKED_OFFER))
        self.disk = MemoryDisk()
        self.page = Page(ChannelRow(name_of(BACKED, side), peer.peer_id, offer, seed, Phase.OPEN), BACKED)
        self.write(self.page.open(0))

    def write(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            self.disk.write(change)
        assert audit(self.disk.channels.values(), self.disk.lines.values()) == ()

    def see(self, deposit: int, claimed: int = 0) -> None:
        self.write(self.page.back(SaveBacking(Backing(7, Nano(deposit), Nano(claimed))), 1))

    def balance(self, account: Account) -> int:
        return balances(self.disk.lines.values()).get((self.page.name, account), 0)


@SIDES
def test_a_channel_s_life_adds_up(side: Side) -> None:
    book = Book(side)

    book.see(1000)
    book.write(book.page.voucher(backed_voucher(300), 1))
    book.write(book.page.charge(SaveCharge(ONE, Nano(200), receipt(ONE, 200)), 1))
    book.see(990)
    book.see(1990, claimed=300)
    book.write(book.page.voucher(backed_voucher(500), 1))
    book.write(book.page.settle(Nano(350), 1))

    is_payer = side is Side.PAYER
    assert book.balance(Account.WALLET) == (-360 if is_payer else 350)
    assert book.balance(Account.FEES) == (10 if is_payer else 0)
    assert book.balance(Account.DEPOSIT) == book.balance(Account.VOUCHERS) == 0
    assert book.page.row.claimed == 350


@SIDES
def test_a_claim_by_an_unknown_voucher_adds_up(side: Side) -> None:
    book = Book(side)

    book.see(1000, claimed=400)

    assert (book.page.row.vouchered, book.page.row.claimed) == (400, 400)


def test_a_deposit_that_was_never_seen_has_paid_all_the_same() -> None:
    book = Book(Side.PAYER)
    book.see(100)

    book.write(book.page.settle(Nano(250), 1))

    assert book.balance(Account.WALLET) == -250
    assert book.balance(Account.DEPOSIT) == 0


@SIDES
def test_a_stopped_channel_stays_stopped_when_it_is_settled(side: Side) -> None:
    book = Book(side)
    book.see(100)
    book.write((book.page._update(phase=Phase.STOPPED),))

    book.write(book.page.settle(Nano(50), 1))

    assert (book.page.row.phase, book.page.row.is_settled) == (Phase.STOPPED, True)


@SIDES
def test_a_lapse_moves_no_money(side: Side) -> None:
    book = Book(side)
    book.see(100)
    lines = len(book.disk.lines)

    book.write(book.page.reopen())

    assert len(book.disk.lines) == lines
    assert book.page.row.phase is Phase.DRAINING


MOVES: dict[str, Callable[[Book, int], None]] = {
    "deposit": lambda book, amount: book.see(book.page.row.deposit + amount, book.page.row.claimed),
    "storage": lambda book, amount: book.see(max(book.page.row.deposit - amount, 0), book.page.row.claimed),
    "claim": lambda book, amount: book.see(book.page.row.deposit, book.page.row.claimed + amount),
    "voucher": lambda book, amount: book.write(
        book.page.voucher(backed_voucher(book.page.row.vouchered + amount), 1)
    ),
}


@SIDES
@given(
    st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.integers(1, 50)), max_size=12), st.integers(0, 999)
)
def test_books_add_up_whatever_the_chain_shows(side: Side, moves: list[tuple[str, int]], total: int) -> None:
    book = Book(side)

    for name, amount in moves:
        MOVES[name](book, amount)
    claimed = book.page.row.claimed
    book.write(book.page.settle(Nano(total), 1))

    paid = max(total, claimed)
    wallet, fees = book.balance(Account.WALLET), book.balance(Account.FEES)
    assert wallet == (paid if side is Side.PAYEE else -paid - fees)
