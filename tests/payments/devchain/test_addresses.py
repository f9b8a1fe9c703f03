"""Addresses as people write them, against another library's spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core import Address

from cocoon_p2p.payments.devchain import AccountId
from cocoon_p2p.payments.devchain.addresses import parse_address, spell_address

accounts = st.binary(min_size=32, max_size=32).map(AccountId)


@given(
    account=accounts,
    is_user_friendly=st.booleans(),
    is_bounceable=st.booleans(),
    is_test_only=st.booleans(),
    is_url_safe=st.booleans(),
)
def test_every_spelling_of_another_library_is_read(
    account: AccountId, is_user_friendly: bool, is_bounceable: bool, is_test_only: bool, is_url_safe: bool
) -> None:
    spelled = Address((0, account)).to_str(
        is_user_friendly=is_user_friendly,
        is_bounceable=is_bounceable,
        is_test_only=is_test_only,
        is_url_safe=is_url_safe,
    )

    assert parse_address(spelled) == account
    assert parse_address(f"  {spelled}\n") == account


@given(account=accounts, bounceable=st.booleans())
def test_another_library_reads_our_spelling(account: AccountId, bounceable: bool) -> None:
    read = Address(spell_address(account, bounceable=bounceable))

    assert (read.wc, read.hash_part, read.is_bounceable) == (0, account, bounceable)


@given(account=accounts, at=st.integers(0, 47), letter=st.sampled_from("AZaz09-_"))
def test_an_address_with_one_letter_wrong_is_refused(account: AccountId, at: int, letter: str) -> None:
    spelled = spell_address(account)
    wrong = spelled[:at] + letter + spelled[at + 1 :]

    if wrong != spelled:
        with pytest.raises(ValueError, match="not a TON address"):
            parse_address(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0:",
        "0:" + "a" * 63,
        "0:" + "g" * 64,
        "-1:" + "a" * 64,
        "1:" + "a" * 64,
        Address((-1, b"a" * 32)).to_str(),
        "A" * 48,
        "not an address at all, though it has 48 letters!",
        spell_address(AccountId(bytes(32))) + "A",
        "é" * 48,
    ],
)
def test_what_is_no_address_in_workchain_0_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_address(text)
