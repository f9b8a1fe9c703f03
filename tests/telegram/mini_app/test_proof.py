"""A wallet shows whose it is by a signature over our domain, our nonce and the time, and by nothing else."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage, RecordRejected
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.chain import AccountSeen
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.wallet import code as v5r1_code
from cocoon_p2p.telegram.mini_app.proof import WalletProof, check_proof, read_proof, signed_hash
from cocoon_p2p.telegram.mini_app.wallets import (
    STATE_INIT_MAX_BYTES,
    key_of_account,
    key_of_state_init,
)
from cocoon_p2p.units import Nano
from tests.payments.wallets import KEY, NOW

MAINNET = -239

# A wallet of version 4R2 signed this for TON Connect's demonstration. From tonutils-go (proof_test.go).
REAL: dict[str, Any] = {
    "account": {
        "address": "0:960ab627408d5472d9d125b667cbe00ce17eeaa44e9dc6a86e93cdfef2c480d5",
        "chain": "-239",
        "walletStateInit": (
            "te6cckECFgEAAwQAAgE0AgEAUQAAAAApqaMXp6kMOCJ4z0QdKdtKvLvoflXmJvj/gmw26izx4ImGnYtAART/APSkE/S88sgLAwIB"
            "IAgEBPjygwjXGCDTH9Mf0x8C+CO78mTtRNDTH9Mf0//0BNFRQ7ryoVFRuvKiBfkBVBBk+RDyo/gAJKTIyx9SQMsfUjDL/1IQ9ADJ"
            "7VT4DwHTByHAAJ9sUZMg10qW0wfUAvsA6DDgIcAB4wAhwALjAAHAA5Ew4w0DpMjLHxLLH8v/BwYQBQAK9ADJ7VQAcIEBCNcY+gDT"
            "P8hUIEeBAQj0UfKnghBub3RlcHSAGMjLBcsCUAbPFlAE+gIUy2oSyx/LP8lz+wACAG7SB/oA1NQi+QAFyMoHFcv/ydB3dIAYyMsF"
            "ywIizxZQBfoCFMtrEszMyXP7AMhAFIEBCPRR8qcCAgFIDQkCASALCgBZvSQrb2omhAgKBrkPoCGEcNQICEekk30pkQzmkD6f+YN4"
            "EoAbeBAUiYcVnzGEAgEgEQwAEbjJftRNDXCx+ALm0AHQ0wMhcbCSXwTgItdJwSCSXwTgAtMfIYIQcGx1Z70ighBkc3RyvbCSXwXg"
            "A/pAMCD6RAHIygfL/8nQ7UTQgQFA1yH0BDBcgQEI9ApvoTGzkl8H4AXTP8glghBwbHVnupI4MOMNA4IQZHN0crqSXwbjDQ8OAIpQ"
            "BIEBCPRZMO1E0IEBQNcgyAHPFvQAye1UAXKwjiOCEGRzdHKDHrFwgBhQBcsFUAPPFiP6AhPLassfyz/JgED7AJJfA+IAeAH6APQE"
            "MPgnbyIwUAqhIb7y4FCCEHBsdWeDHrFwgBhQBMsFJs8WWPoCGfQAy2kXyx9SYMs/IMmAQPsABgBsgQEI1xj6ANM/MFIkgQEI9Fny"
            "p4IQZHN0cnB0gBjIywXLAlAFzxZQA/oCE8tqyx8Syz/Jc/sAAgFYFRICASAUEwAZrx32omhAEGuQ64WPwAAZrc52omhAIGuQ64X/"
            "wAA9sp37UTQgQFA1yH0BDACyMoHy//J0AGBAQj0Cm+hMYHrKDBA="
        ),
    },
    "proof": {
        "payload": "1747303885:",
        "signature": (
            "OXNmXOa6Ml5mgx13CXVunl5TjQiIl2oYq8dn9MUcBiS6OjZcuJYccqqVMluy0duyOXkoJYHg4VJCyycwkjdJBA=="
        ),
        "timestamp": 1747303893,
        "domain": {"value": "ton-connect.github.io", "lengthBytes": 21},
    },
}
REAL_AT = 1747303893
SHOWN: dict[str, Any] = {"domain": "ton-connect.github.io", "payload": "1747303885:", "now": REAL_AT}


def altered(**changes: Any) -> dict[str, Any]:
    """Give the real proof with something else in it, at `account_...` or `proof_...`."""
    said = json.loads(json.dumps(REAL))
    for name, value in changes.items():
        part, _, key = name.partition("_")
        said[part][key] = value
    return said


def judged(said: Mapping[str, Any], **expected: Any) -> WalletProof:
    proof = read_proof(said, global_id=MAINNET)
    assert proof.state_init is not None
    key = key_of_state_init(proof.account, proof.state_init)
    check_proof(proof, key, **{**SHOWN, **expected})
    return proof


def state_of(code: bytes, data: Builder) -> tuple[AccountId, bytes]:
    cell = Builder().uint(0b00110, 5).reference(read_one(code)).reference(data.cell()).cell()
    return AccountId(cell.hash), write_boc(cell)


def test_what_a_real_wallet_has_signed_is_believed() -> None:
    proof = judged(REAL)

    assert proof.account.hex() == REAL["account"]["address"][2:]


def test_a_time_may_be_a_text_as_the_specification_has_it() -> None:
    assert judged(altered(proof_timestamp=str(REAL_AT))).signed_at == REAL_AT


@pytest.mark.parametrize(
    "expected",
    [
        {"domain": "evil.example"},
        {"payload": "1747303886:"},
        {"payload": ""},
        {"now": REAL_AT + 301},
        {"now": REAL_AT - 61},
    ],
)
def test_a_proof_is_for_one_domain_one_nonce_and_some_minutes(expected: dict[str, Any]) -> None:
    with pytest.raises(RecordRejected):
        judged(REAL, **expected)


def test_a_proof_that_names_another_time_or_domain_is_not_signed() -> None:
    later = altered(proof_timestamp=REAL_AT + 1)
    elsewhere = altered(proof_domain={"value": "evil.example", "lengthBytes": 12})

    for said, expected in ((later, {}), (elsewhere, {"domain": "evil.example"})):
        with pytest.raises(RecordRejected, match="not signed"):
            judged(said, **expected)


def test_a_key_of_ones_own_does_not_make_anothers_wallet_ones_own() -> None:
    real = read_proof(REAL, global_id=MAINNET)
    forged = altered(proof_signature=base64.b64encode(KEY.sign(signed_hash(real))).decode())

    with pytest.raises(RecordRejected, match="not signed"):
        judged(forged)


def test_a_state_that_does_not_make_the_address_is_refused() -> None:
    mine, state = state_of(v5r1_code(), Builder().uint(1, 1).uint(0, 64).octets(KEY.public_key).uint(0, 1))
    shown = altered(account_walletStateInit=base64.b64encode(state).decode())

    assert key_of_state_init(mine, state) == KEY.public_key
    with pytest.raises(RecordRejected, match="does not follow"):
        judged(shown)


def test_a_contract_that_is_no_known_wallet_is_refused() -> None:
    # Its data look like a wallet's; what its code makes of them, nobody knows.
    code = write_boc(Builder().uint(0, 8).cell())
    account, state = state_of(code, Builder().uint(0, 64).octets(KEY.public_key))

    with pytest.raises(RecordRejected, match="not a wallet"):
        key_of_state_init(account, state)


def test_a_wallet_that_shows_no_state_is_looked_up() -> None:
    data = write_boc(Builder().uint(1, 1).uint(7, 32).uint(0, 32).octets(KEY.public_key).uint(0, 1).cell())
    seen = AccountSeen(AccountId(bytes(32)), Nano(1), v5r1_code(), data, last_lt=1, at=NOW)
    nothing = AccountSeen(AccountId(bytes(32)), Nano(1), None, None, last_lt=0, at=NOW)

    assert key_of_account(seen) == KEY.public_key
    with pytest.raises(RecordRejected, match="nothing is deployed"):
        key_of_account(nothing)
    assert read_proof(altered(account_walletStateInit=None), global_id=MAINNET).state_init is None


def test_a_wallet_on_another_network_is_refused() -> None:
    with pytest.raises(RecordRejected, match="another network"):
        read_proof(altered(account_chain="-3"), global_id=MAINNET)


@pytest.mark.parametrize(
    "said",
    [
        {},
        altered(account_address="nonsense"),
        altered(account_address="-1:" + "0" * 64),
        altered(account_walletStateInit="!"),
        altered(account_walletStateInit="A" * (2 * STATE_INIT_MAX_BYTES + 4)),
        altered(proof_signature="AAAA"),
        altered(proof_timestamp=True),
        altered(proof_timestamp="-1"),
        altered(proof_timestamp=1e9),
        altered(proof_payload="x" * 129),
        altered(proof_payload=None),
        altered(proof_domain={"value": "ton-connect.github.io", "lengthBytes": 20}),
        altered(proof_domain="ton-connect.github.io"),
    ],
)
def test_what_is_not_spelled_as_a_proof_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        read_proof(said, global_id=MAINNET)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["account", "proof"]), st.data())
def test_whatever_a_page_sends_is_judged_with_our_errors(part: str, data: st.DataObject) -> None:
    said = altered()
    key, junk = data.draw(st.sampled_from(sorted(said[part]))), data.draw(JUNK)
    said[part][key] = junk

    if key == "walletStateInit" and junk in (None, ""):
        assert read_proof(said, global_id=MAINNET).state_init is None
        return
    with pytest.raises((MalformedMessage, RecordRejected)) as caught:
        judged(said)
    assert len(str(caught.value)) < 160


@given(st.binary(max_size=200))
def test_whatever_is_shown_as_a_state_is_judged_with_our_errors(bag: bytes) -> None:
    with pytest.raises((MalformedMessage, RecordRejected)):
        key_of_state_init(AccountId(bytes(32)), bag)
    with pytest.raises(MalformedMessage, match="too large"):
        key_of_state_init(AccountId(bytes(32)), bytes(STATE_INIT_MAX_BYTES + 1))


@given(st.binary(min_size=1, max_size=40), st.integers(0, 512))
def test_data_that_end_too_early_hold_no_key(data: bytes, bits: int) -> None:
    cell = Builder().uint(int.from_bytes(data) % (1 << bits or 1), bits).cell()
    account, state = state_of(v5r1_code(), Builder().root_of(cell))

    if bits < 65 + 256:
        with pytest.raises(MalformedMessage):
            key_of_state_init(account, state)
    else:
        assert len(key_of_state_init(account, state)) == 32
