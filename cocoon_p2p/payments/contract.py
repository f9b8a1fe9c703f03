"""The channel contract as seen from outside: where it is, what it is told, what it stores and says.

Everything here is bytes in and bytes out. A *bag* is a bag of cells, as any TON library reads and
writes it; an *account* is its 32-byte id in workchain 0. What is signed for the contract is next
door: `voucher` and `close_terms`.

Spec: payments/contract/channel.tlb, payments/settlement.md (The contract).
Vectors: payments/vectors/contract.json.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import NewType

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import SIGNATURE_SIZE_BYTES
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder, Cell, Slice
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.units import Nano

AccountId = NewType("AccountId", bytes)
"The 32-byte id of an account on TON's basechain: a wallet, say."

CODE_HASH = bytes.fromhex("620ec7a0352fb9274ead0b94c34c4c4ea69d9b19ba40ee179d2fa2edff13336b")
"The hash of the code that every channel runs. Other code is another contract, whatever it says."

STORAGE_RESERVE = Nano(50_000_000)
"What no claim touches: five years of storage. The payer gets what is left of it."

STORAGE_MARGIN = Nano(1_000_000)
"""What a payer leaves unpromised: a month of storage, so that neither storage that was not charged yet, nor
what one side has seen of it and the other has not, makes a voucher worth less than it says."""

ATTACHED_MIN = Nano(20_000_000)
"What a claim and a close must bring along. What is left of it goes to the payee, or to the payer at the end."

CLOSE_DELAY_SECONDS_MAX = (1 << 24) - 1
SALT_SIZE_BYTES = 16
_HASH_SIZE_BYTES = 32
_ADDRESS_TAG = 0b100
"`addr_std$10` without anycast."


class ExitCode(IntEnum):
    """Why the contract did not do what it was told. Nothing has changed then but for fees."""

    SIGNATURE = 101
    "Signed by another key, or for another channel, epoch, total or time."

    STALE = 102
    "Not above what was claimed already; below it, for a close."

    CLOSING = 103
    "The payer has begun to close before."

    EARLY = 104
    "The payer has not begun to close, or the delay is not over."

    SENDER = 105
    "Only the payer begins to close alone."

    NOT_OPEN = 106
    "There was no top-up yet."

    EXPIRED = 107
    "The close terms' time is over."

    EMPTY = 108
    "Nothing is left but the storage reserve. After a top-up the same voucher is good."

    NETWORK = 109
    "Made for another network or workchain."

    ATTACHED = 110
    "The message did not bring along `ATTACHED_MIN`."

    FLOOR = 111
    "An external claim for too little to pay for its gas."

    BULKY = 112
    "An external claim of more than one cell."

    OPERATION = 0xFFFF
    "No operation of this contract."


class _Op(IntEnum):
    TOP_UP = 0x70617901
    CLAIM = 0x70617902
    CLOSE = 0x70617903
    START_CLOSE = 0x70617904
    FINISH_CLOSE = 0x70617905
    PAID = 0x70617910
    RETURNED = 0x70617911


_TOLD = frozenset({_Op.TOP_UP, _Op.CLAIM, _Op.CLOSE, _Op.START_CLOSE, _Op.FINISH_CLOSE})


@dataclass(frozen=True, slots=True)
class Deployment:
    """All that a channel's address follows from."""

    global_id: int
    "The TON network's: -239 for mainnet, -3 for testnet."

    payer: AccountId
    "Alone may begin to close; gets what is left."

    payee: AccountId
    payer_key: bytes
    "Ed25519: signs vouchers, and close terms."

    payee_key: bytes
    "Ed25519: signs close terms."

    close_delay_seconds: int
    "How long the payee may still claim once the payer begins to close."

    salt: bytes
    "16 bytes, so that one pair can have several channels."


@dataclass(frozen=True, slots=True)
class ContractState:
    """What the contract stores."""

    epoch: int
    "The logical time of the first top-up; 0 before that."

    close_at: int
    "When the delay is over, in seconds since the Unix epoch; 0 while the payer has not begun to close."

    claimed: Nano
    deployment: Deployment


@dataclass(frozen=True, slots=True)
class Notice:
    """What comes with the contract's money."""

    query_id: int
    "That of the message that caused it. Nobody signs it."

    total: Nano
    "All that was collected on the channel so far; what it was closed at if it is closed."

    is_rest: bool
    "Whether this is the payer's rest, and not the payee's payment."


# ---------------------------------------------------------------- where it is


@cache
def code() -> bytes:
    """Give the contract's code, a bag."""
    return files("cocoon_p2p.payments").joinpath("channel.boc").read_bytes()


def state_init(deployment: Deployment) -> bytes:
    """Write what a channel is deployed with, a bag: it goes with the first top-up."""
    return write_boc(_state_init(deployment))


def channel_id(deployment: Deployment) -> ChannelId:
    """Say where a channel is: its account, on TON's basechain."""
    return ChannelId(_state_init(deployment).hash)


def claimable(deposit: Nano) -> Nano:
    """Say how much of a deposit, claimed money included, vouchers collect at most."""
    return Nano(max(deposit - STORAGE_RESERVE, 0))


def capacity(deposit: Nano) -> Nano:
    """Say how high a payer should let its vouchers go."""
    return Nano(max(deposit - STORAGE_RESERVE - STORAGE_MARGIN, 0))


def deposit_for(capacity: Nano) -> Nano:
    """Say what must be put in, for vouchers to collect this much."""
    return Nano(capacity + STORAGE_RESERVE + STORAGE_MARGIN)


def _state_init(deployment: Deployment) -> Cell:
    terms = (
        Builder()
        .sint(deployment.global_id, 32)
        .octets(_sized(deployment.payer))
        .octets(_sized(deployment.payee))
        .uint(deployment.close_delay_seconds, 24)
        .octets(_sized(deployment.salt, SALT_SIZE_BYTES))
    )
    data = (
        Builder()
        .uint(0, 64 + 32 + 64)
        .octets(_sized(deployment.payer_key))
        .octets(_sized(deployment.payee_key))
        .reference(terms.cell())
    )
    return Builder().uint(0b00110, 5).reference(_code()).reference(data.cell()).cell()


@cache
def _code() -> Cell:
    return read_one(code())


def _sized(part: bytes, size: int = _HASH_SIZE_BYTES) -> bytes:
    assert len(part) == size, (len(part), size)
    return part


# ---------------------------------------------------------------- what it is told


def top_up(query_id: int = 0) -> bytes:
    """Write the body that adds to the deposit, and opens the channel. An empty body does the same."""
    return write_boc(_operation(_Op.TOP_UP, query_id).cell())


def claim(total: Nano, signature: bytes, query_id: int = 0) -> bytes:
    """Write the body that collects with a voucher. Anybody may send it; the payee is paid."""
    return write_boc(_claim(total, signature, query_id).cell())


def external_claim(channel: ChannelId, total: Nano, signature: bytes) -> bytes:
    """Write the whole external message that collects with a voucher, paid for out of what is due.

    It is one cell, as the contract insists.
    """
    message = Builder().uint(0b1000, 4).uint(_ADDRESS_TAG, 3).sint(0, 8).octets(_sized(channel)).coins(0)
    # No StateInit; the body is in this very cell.
    body = _claim(total, signature, query_id=0).cell()
    return write_boc(message.uint(0b00, 2).root_of(body).cell())


def close(
    total: Nano, valid_until: int, *, payer_signature: bytes, payee_signature: bytes, query_id: int = 0
) -> bytes:
    """Write the body that closes at a total to which both have agreed. Anybody may send it."""
    body = _operation(_Op.CLOSE, query_id).uint(total, 64).uint(valid_until, 32)
    other = Builder().octets(_sized(payee_signature, SIGNATURE_SIZE_BYTES)).cell()
    return write_boc(body.octets(_sized(payer_signature, SIGNATURE_SIZE_BYTES)).reference(other).cell())


def start_close(query_id: int = 0) -> bytes:
    """Write the body that begins the delay after which the payer gets the rest. Only the payer may."""
    return write_boc(_operation(_Op.START_CLOSE, query_id).cell())


def finish_close(query_id: int = 0) -> bytes:
    """Write the body that closes at what was claimed, once the delay is over. Anybody may send it."""
    return write_boc(_operation(_Op.FINISH_CLOSE, query_id).cell())


def _claim(total: Nano, signature: bytes, query_id: int) -> Builder:
    signature = _sized(signature, SIGNATURE_SIZE_BYTES)
    return _operation(_Op.CLAIM, query_id).uint(total, 64).octets(signature)


def _operation(op: _Op, query_id: int) -> Builder:
    return Builder().uint(op, 32).uint(query_id, 64)


# ---------------------------------------------------------------- what it stores and says


def read_state(code: bytes, data: bytes) -> ContractState:
    """Read a channel's account, as a chain told it.

    Whether the account is the one that follows from `deployment`, and whether that is what was
    agreed on, is the caller's to check.

    Args:
        code: The account's code, a bag.
        data: Its data, a bag.

    Raises:
        MalformedMessage: It runs other code, or stores something else.
    """
    found = read_one(code).hash
    if found != CODE_HASH:
        raise MalformedMessage(f"the account runs other code (hash={found.hex()[:16]})")
    slice_ = Slice(read_one(data))
    epoch, close_at, claimed = slice_.uint(64), slice_.uint(32), Nano(slice_.uint(64))
    payer_key, payee_key = slice_.octets(_HASH_SIZE_BYTES), slice_.octets(_HASH_SIZE_BYTES)
    terms = Slice(slice_.reference())
    deployment = Deployment(
        global_id=terms.sint(32),
        payer=AccountId(terms.octets(_HASH_SIZE_BYTES)),
        payee=AccountId(terms.octets(_HASH_SIZE_BYTES)),
        payer_key=payer_key,
        payee_key=payee_key,
        close_delay_seconds=terms.uint(24),
        salt=terms.octets(SALT_SIZE_BYTES),
    )
    if slice_.bits_left or terms.bits_left:
        raise MalformedMessage("the account stores something else than a channel")
    return ContractState(epoch, close_at, claimed, deployment)


def is_operation(body: bytes) -> bool:
    """Say whether a message's body, a bag, begins like one that the contract is told. Anybody may write one.

    Raises:
        MalformedMessage: It is no bag.
    """
    slice_ = Slice(read_one(body))
    return slice_.bits_left >= 32 and slice_.uint(32) in _TOLD


def read_notice(body: bytes) -> Notice | None:
    """Read what came with a payment from a channel. None: it is none of the contract's notices.

    Args:
        body: The payment's body, a bag.

    Raises:
        MalformedMessage: It is no bag, or a notice cut short.
    """
    slice_ = Slice(read_one(body))
    if slice_.bits_left < 32:
        return None
    op = slice_.uint(32)
    if op not in (_Op.PAID, _Op.RETURNED):
        return None
    return Notice(query_id=slice_.uint(64), total=Nano(slice_.uint(64)), is_rest=op == _Op.RETURNED)
