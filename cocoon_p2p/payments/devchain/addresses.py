"""Addresses as people write them: `0:` and 64 hexadecimal digits, or 48 letters with a checksum.

Spec: TEP-2 (smart contract addresses).
"""

import base64
import binascii
import re

from cocoon_p2p.payments.devchain.messages import AccountId

_RAW = re.compile(r"(-?\d{1,3}):([0-9a-fA-F]{64})")
_FRIENDLY_LETTERS = 48
_BOUNCEABLE, _NOT_BOUNCEABLE = 0x11, 0x51
_TEST_ONLY = 0x80


def parse_address(text: str) -> AccountId:
    """Read an address in workchain 0.

    Raises:
        ValueError: It is none, is mistyped, or is in another workchain.
    """
    text = text.strip()
    raw = _RAW.fullmatch(text)
    if raw:
        workchain, account = int(raw[1]), bytes.fromhex(raw[2])
    else:
        workchain, account = _read_friendly(text)
    if workchain:
        raise ValueError(f"not an address in workchain 0: {text!r}")
    return AccountId(account)


def _read_friendly(text: str) -> tuple[int, bytes]:
    try:
        data = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_"))
    except (binascii.Error, ValueError):
        data = b""
    # The checksum over data and checksum together is zero.
    if len(text) != _FRIENDLY_LETTERS or len(data) != 36 or binascii.crc_hqx(data, 0):
        raise ValueError(f"not a TON address: {text[:80]!r}")
    if data[0] & ~_TEST_ONLY not in (_BOUNCEABLE, _NOT_BOUNCEABLE):
        raise ValueError(f"not a TON address: {text!r}")
    return int.from_bytes(data[1:2], "big", signed=True), data[2:34]


def spell_address(account: AccountId, *, bounceable: bool = False) -> str:
    """Spell an address with its checksum. Wallets that are not deployed yet need one that does not bounce."""
    body = bytes((_BOUNCEABLE if bounceable else _NOT_BOUNCEABLE, 0)) + account
    return base64.urlsafe_b64encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "big")).decode()
