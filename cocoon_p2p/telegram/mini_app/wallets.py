"""Whose key a wallet on TON obeys: read off what it was, or is to be, deployed with, or off its account.

A wallet's address is the hash of its first code and data, and the key is in the data. So whoever shows
code and data with the right hash has shown the key, if the code is one that obeys the key in that place
and never changes it. Those are the wallets of versions 3, 4 and 5 as they were published; what another
code makes of its data nobody here knows, so it is refused.

Spec: TON's wallet contracts; docs.ton.org (How wallets work).
"""

from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage, RecordRejected
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.cells import Cell, Slice
from cocoon_p2p.payments.chain import AccountSeen
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.wallet import CODE_HASH as V5R1_CODE_HASH

STATE_INIT_MAX_BYTES = 8 * 1024
"Of a wallet's code and data as a bag. The largest published one has 1.2 KB."

_CODE_AND_DATA = 0b00110
"A StateInit's five bits where there are code and data, and nothing else."


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a wallet's data begin."""

    version: str
    before_key: int
    "Bits: the seqno, the wallet's id, and in version 5 whether signatures are taken."


_LAYOUTS = {
    bytes.fromhex("b61041a58a7980b946e8fb9e198e3c904d24799ffa36574ea4251c41a566f581"): _Layout("v3r1", 64),
    bytes.fromhex("84dafa449f98a6987789ba232358072bc0f76dc4524002a5d0918b9a75d2d599"): _Layout("v3r2", 64),
    bytes.fromhex("64dd54805522c5be8a9db59cea0105ccf0d08786ca79beb8cb79e880a8d7322d"): _Layout("v4r1", 64),
    bytes.fromhex("feb5ff6820e2ff0d9483e7e0d62c817d846789fb4ae580c878866d959dabd5c0"): _Layout("v4r2", 64),
    V5R1_CODE_HASH: _Layout("v5r1", 65),
}
"By the hash of the code, as it is published."


def key_of_state_init(account: AccountId, bag: bytes) -> bytes:
    """Read the key of the wallet that is deployed with this, if the account's address follows from it.

    Args:
        account: The wallet's.
        bag: Its StateInit, from outside.

    Raises:
        MalformedMessage: It is too large, no bag, or not code and data.
        RecordRejected: The account's address does not follow from it, or it is none of the wallets that
            are known here.
    """
    if len(bag) > STATE_INIT_MAX_BYTES:
        raise MalformedMessage(
            f"a wallet's state is too large (size={len(bag)} limit={STATE_INIT_MAX_BYTES} bytes)"
        )
    state = read_one(bag)
    if state.hash != account:
        raise RecordRejected("the wallet's address does not follow from its state")
    slice_ = Slice(state)
    if slice_.bits_left != 5 or slice_.uint(5) != _CODE_AND_DATA or len(state.references) != 2:
        raise MalformedMessage("a wallet's state is not code and data")
    code, data = state.references
    return _key(code, data)


def key_of_account(seen: AccountSeen) -> bytes:
    """Read the key of a wallet that is deployed, off its account as a proven block has it.

    Raises:
        MalformedMessage: Its data end too early.
        RecordRejected: Nothing is deployed, or it is none of the wallets that are known here.
    """
    if seen.code is None or seen.data is None:
        raise RecordRejected("nothing is deployed at the wallet's address, and the wallet shows no state")
    return _key(read_one(seen.code), read_one(seen.data))


def _key(code: Cell, data: Cell) -> bytes:
    layout = _LAYOUTS.get(code.hash)
    if layout is None:
        raise RecordRejected(f"not a wallet that is known here (code hash={code.hash.hex()[:16]})")
    slice_ = Slice(data)
    slice_.uint(layout.before_key)
    return slice_.octets(32)
