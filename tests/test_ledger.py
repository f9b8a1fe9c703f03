from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.ledger import Account, Line, audit, balances
from cocoon_p2p.units import Nano
from tests.store.rows import PAYEE_END, PAYER_END, channel

accounts = st.sampled_from(Account)
lines = st.builds(
    Line,
    st.sampled_from([PAYER_END, PAYEE_END]),
    st.integers(0, 9),
    accounts,
    accounts,
    st.integers(0, 10**9).map(Nano),
    st.none(),
    st.just(0),
)


def line(number: int, source: Account, target: Account, amount: int) -> Line:
    return Line(PAYEE_END, number, source, target, Nano(amount), None, 0)


EARNED = [
    line(0, Account.OWED, Account.VOUCHERS, 300),
    line(1, Account.INCOME, Account.OWED, 120),
]


@given(st.lists(lines))
def test_what_leaves_one_account_arrives_on_another(entries: list[Line]) -> None:
    replayed = balances(entries)

    for name in (PAYER_END, PAYEE_END):
        assert sum(amount for (owner, _), amount in replayed.items() if owner == name) == 0


def test_replaying_the_lines_gives_the_balances() -> None:
    assert balances(EARNED) == {
        (PAYEE_END, Account.VOUCHERS): 300,
        (PAYEE_END, Account.INCOME): -120,
        # 180 more was vouchered than charged: an advance.
        (PAYEE_END, Account.OWED): -180,
    }


def test_an_audit_finds_nothing_where_rows_and_lines_agree() -> None:
    assert audit([channel(vouchered=300, charged=120)], EARNED) == ()


def test_an_audit_names_each_number_that_differs() -> None:
    found = audit([channel(vouchered=301, charged=100)], EARNED)

    assert found == (
        f"vouchered differs (channel={'01' * 8} side=payee row=301 books=300 nanoTON)",
        f"charged differs (channel={'01' * 8} side=payee row=100 books=120 nanoTON)",
    )


def test_a_settled_channel_holds_no_vouchers() -> None:
    closing = [line(2, Account.VOUCHERS, Account.OWED, 300), line(3, Account.OWED, Account.WALLET, 120)]
    closed = replace(channel(vouchered=300, charged=120), is_settled=True)

    assert audit([closed], EARNED + closing) == ()
    assert balances(EARNED + closing)[PAYEE_END, Account.OWED] == 0
    assert audit([closed], EARNED) != ()


def test_a_payer_s_books_mirror_the_payee_s() -> None:
    spent = [
        Line(PAYER_END, 0, Account.VOUCHERS, Account.OWED, Nano(300), None, 0),
        Line(PAYER_END, 1, Account.OWED, Account.EXPENSE, Nano(120), None, 0),
    ]

    assert audit([channel(PAYER_END, vouchered=300, charged=120)], spent) == ()
    assert audit([channel(PAYER_END, vouchered=300, charged=120)], spent[:1]) != ()
