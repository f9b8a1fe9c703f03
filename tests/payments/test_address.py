"""Addresses are read as people spell them, and what would lose money is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core import Address as Theirs

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.address import GLOBAL_IDS, MAINNET_ID, Address, parse_address, spell_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import LOCAL_GLOBAL_ID

TESTNET_ID = GLOBAL_IDS["testnet"]
ACCOUNT = AccountId(bytes(range(32)))


@given(
    st.binary(min_size=32, max_size=32).map(AccountId), st.booleans(), st.sampled_from([*GLOBAL_IDS.values()])
)
def test_what_is_spelled_is_read_again_and_spelled_alike_by_another_library(
    account: AccountId, bounceable: bool, global_id: int
) -> None:
    text = spell_address(account, global_id=global_id, bounceable=bounceable)

    read = parse_address(text, global_id=global_id)

    assert read == Address(account, bounceable, is_test_only=global_id != MAINNET_ID)
    assert text == Theirs((0, account)).to_str(is_bounceable=bounceable, is_test_only=global_id != MAINNET_ID)


def test_an_address_begins_as_its_network_and_kind_say() -> None:
    spelled = [
        spell_address(ACCOUNT, global_id=global_id, bounceable=bounceable)[:2]
        for global_id in (MAINNET_ID, TESTNET_ID)
        for bounceable in (False, True)
    ]

    assert spelled == ["UQ", "EQ", "0Q", "kQ"]


def test_every_spelling_of_an_account_is_read() -> None:
    standard = spell_address(ACCOUNT, global_id=MAINNET_ID).replace("-", "+").replace("_", "/")

    for text in (standard, f" {standard}\n", f"0:{ACCOUNT.hex()}", f"0:{ACCOUNT.hex().upper()}"):
        assert parse_address(text, global_id=MAINNET_ID).account == ACCOUNT


def test_one_wrong_letter_is_noticed_wherever_it_is() -> None:
    text = spell_address(ACCOUNT, global_id=MAINNET_ID)

    for at in range(len(text)):
        wrong = text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :]
        with pytest.raises(ConfigurationError, match="not a TON address") as caught:
            parse_address(wrong, global_id=MAINNET_ID)
        assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "nobody", "0:12", "UQ" * 24, "é" * 48, "=" * 48, "0:" + "g" * 64, "A" * 48]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a TON address"):
        parse_address(text, global_id=MAINNET_ID)


def test_the_masterchain_is_refused_in_both_spellings() -> None:
    for text in (f"-1:{ACCOUNT.hex()}", Theirs((-1, ACCOUNT)).to_str()):
        with pytest.raises(ConfigurationError, match=re.escape("workchain=-1")):
            parse_address(text, global_id=TESTNET_ID)


def test_an_address_for_tests_is_refused_on_mainnet_alone() -> None:
    text = spell_address(ACCOUNT, global_id=TESTNET_ID)

    with pytest.raises(ConfigurationError, match="test network, on mainnet"):
        parse_address(text, global_id=MAINNET_ID)

    assert parse_address(text, global_id=LOCAL_GLOBAL_ID).account == ACCOUNT


def test_local_is_the_local_chains_number() -> None:
    assert GLOBAL_IDS["local"] == LOCAL_GLOBAL_ID
