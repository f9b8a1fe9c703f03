"""Accounts' addresses as people write them: `UQ...` with a checksum, or `0:` and 64 hexadecimal digits.

Only TON's basechain: channels and wallets live there, and what is meant for the masterchain is refused.

Spec: TEP-2 (smart contract addresses).
"""

import base64
import binascii
import re
from dataclasses import dataclass

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.contract import AccountId

MAINNET_ID = -239
GLOBAL_IDS = {"mainnet": MAINNET_ID, "testnet": -3, "local": int.from_bytes(b"coco")}
"The number of each TON network by its name here. `local` is what `cocoon devchain` runs."

_RAW = re.compile(r"(-?\d{1,3}):([0-9a-fA-F]{64})")
_LETTERS = 48
_BOUNCEABLE, _NOT_BOUNCEABLE = 0x11, 0x51
_TEST_ONLY = 0x80
_HINT = "copy the address again, whole: it begins with UQ or EQ (0Q or kQ on a test network), or with 0:"


@dataclass(frozen=True, slots=True)
class Address:
    """An account, and what its spelling says about how to send it money."""

    account: AccountId

    is_bounceable: bool = False
    "Whether money is to come back if the account fails to take it. Wallets' addresses say no."

    is_test_only: bool = False
    "Whether mainnet's wallets must not send there."


def parse_address(text: str, *, global_id: int) -> Address:
    """Read an address that a person wrote, for use on one network.

    Args:
        text: In any of its spellings.
        global_id: The network it will be used on.

    Raises:
        ConfigurationError: It is none, is mistyped, is on the masterchain, or is of a test network where
            `global_id` is mainnet's.
    """
    text = text.strip()
    raw = _RAW.fullmatch(text)
    if raw:
        workchain, address = int(raw[1]), Address(AccountId(bytes.fromhex(raw[2])))
    else:
        workchain, address = _read_friendly(text)
    if workchain:
        raise ConfigurationError(
            f"not an account of the basechain: {text!r} (workchain={workchain})",
            hint="money is sent and received in workchain 0 only",
        )
    if address.is_test_only and global_id == MAINNET_ID:
        raise ConfigurationError(
            f"an address of a test network, on mainnet: {text!r}",
            hint="ask for the address that its owner uses on mainnet; it begins with UQ or EQ",
        )
    return address


def _read_friendly(text: str) -> tuple[int, Address]:
    try:
        data = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # The checksum over data and checksum together is zero.
    if len(text) != _LETTERS or len(data) != 36 or binascii.crc_hqx(data, 0):
        raise ConfigurationError(f"not a TON address: {text[:80]!r}", hint=_HINT)
    kind = data[0] & ~_TEST_ONLY
    if kind not in (_BOUNCEABLE, _NOT_BOUNCEABLE):
        raise ConfigurationError(f"not a TON address: {text!r}", hint=_HINT)
    workchain = int.from_bytes(data[1:2], signed=True)
    return workchain, Address(AccountId(data[2:34]), kind == _BOUNCEABLE, bool(data[0] & _TEST_ONLY))


def spell_address(account: AccountId, *, global_id: int, bounceable: bool = False) -> str:
    """Spell an account's address with its checksum; on any network but mainnet, as one for tests."""
    tag = (_BOUNCEABLE if bounceable else _NOT_BOUNCEABLE) | (_TEST_ONLY if global_id != MAINNET_ID else 0)
    body = bytes((tag, 0)) + account
    return base64.urlsafe_b64encode(body + binascii.crc_hqx(body, 0).to_bytes(2)).decode()
