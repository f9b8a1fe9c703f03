"""A transaction, read: what came, what went, what it cost and how it ended.

    balance before + received - sent - fees = balance after

Spec: block.tlb, `Transaction`, `TransactionDescr`, `TrComputePhase`, `Message`, `CommonMsgInfo`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Cell, Slice
from cocoon_p2p.payments.chain import Payment, Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite.accounts import STANDARD_ADDRESS, checked, read_money
from cocoon_p2p.payments.lite.dictionary import items

_TRANSACTION = 0b0111
_ORDINARY, _STORAGE = 0b0000, 0b0001
_TICK_TOCK = 0b001
_MESSAGE_NUMBER_BITS = 15


@dataclass(frozen=True, slots=True)
class Link:
    """A transaction, and which one was the account's before it."""

    transaction: Transaction
    previous_lt: int
    "0: it was the first."

    previous_hash: bytes


@dataclass(frozen=True, slots=True)
class _Message:
    payment: Payment
    fees: int
    "What its sender paid for its road, beyond what the sender's transaction says."


def read_transaction(root: Cell, account: AccountId) -> Link:
    """Read a transaction.

    Args:
        root: The transaction, whole.
        account: Whose it should be.

    Raises:
        MalformedMessage: It is none, or another's.
    """
    slice_ = Slice(root)
    if slice_.uint(4) != _TRANSACTION or slice_.octets(32) != account:
        raise MalformedMessage("not a transaction of the account that was asked for")
    lt, previous_hash, previous_lt = slice_.uint(64), slice_.octets(32), slice_.uint(64)
    at, sent_count = slice_.uint(32), slice_.uint(_MESSAGE_NUMBER_BITS)
    # The account's status before and after.
    slice_.uint(4)
    messages = Slice(slice_.reference())
    received, sent_root = messages.maybe_reference(), messages.maybe_reference()
    sent = tuple(_read_sent(sent_root))
    if len(sent) != sent_count:
        raise MalformedMessage("a transaction that miscounts its messages")
    fees = read_money(slice_)
    # Of the account's state before and after.
    slice_.reference()
    exit_code, is_aborted = _read_end(Slice(slice_.reference()))
    transaction = Transaction(
        lt=lt,
        hash=root.hash,
        at=at,
        received=None if received is None else _read_message(received, is_sent=False).payment,
        message_hash=None if received is None else received.hash,
        sent=tuple(message.payment for message in sent),
        fees=checked(fees + sum(message.fees for message in sent)),
        exit_code=exit_code,
        is_aborted=is_aborted,
    )
    return Link(transaction, previous_lt, previous_hash)


# ---------------------------------------------------------------- how it ended


def _read_end(description: Slice) -> tuple[int | None, bool]:
    """Read `TransactionDescr`: what the contract ended with, and whether all was undone."""
    kind = description.uint(3)
    if kind == _TICK_TOCK:
        description.uint(1)
        _skip_storage_phase(description)
    else:
        kind = kind << 1 | description.uint(1)
        if kind == _STORAGE:
            return None, False
        if kind != _ORDINARY:
            raise MalformedMessage(f"a transaction of a kind that is not read (kind={kind})")
        # credit_first
        description.uint(1)
        if description.uint(1):
            _skip_storage_phase(description)
        if description.uint(1):
            _skip_credit_phase(description)
    exit_code = _read_compute_phase(description)
    # The action phase.
    description.maybe_reference()
    return exit_code, bool(description.uint(1))


def _skip_storage_phase(slice_: Slice) -> None:
    slice_.coins()
    if slice_.uint(1):
        slice_.coins()
    # Unchanged; or frozen or deleted.
    if slice_.uint(1):
        slice_.uint(1)


def _skip_credit_phase(slice_: Slice) -> None:
    if slice_.uint(1):
        slice_.coins()
    read_money(slice_)


def _read_compute_phase(slice_: Slice) -> int | None:
    if not slice_.uint(1):
        # Skipped, with a reason of two bits, or three for the last.
        if slice_.uint(2) == 0b11:
            slice_.uint(1)
        return None
    slice_.uint(3)
    slice_.coins()
    inside = Slice(slice_.reference())
    # Gas used and its limit, then perhaps what was lent for an external message.
    for _ in range(2):
        inside.uint(8 * inside.uint(3))
    if inside.uint(1):
        inside.uint(8 * inside.uint(2))
    # The mode.
    inside.uint(8)
    return inside.sint(32)


# ---------------------------------------------------------------- what came and went


def _read_sent(root: Cell | None) -> Iterator[_Message]:
    if root is not None:
        for _, slice_ in items(root, _MESSAGE_NUMBER_BITS):
            yield _read_message(slice_.reference(), is_sent=True)


def _read_message(root: Cell, *, is_sent: bool) -> _Message:
    """Read `Message`; as `other`, its destination if it was sent, else its source."""
    slice_ = Slice(root)
    other: AccountId | None = None
    amount = fees = 0
    if not slice_.uint(1):
        # No instant routing; whether it bounces; whether it did.
        slice_.uint(3)
        source, destination = _read_address(slice_), _read_address(slice_)
        other = destination if is_sent else source
        amount = read_money(slice_)
        # Once the fee for instant routing, which nothing uses; in newer networks, flags.
        slice_.coins()
        fees = slice_.coins()
        slice_.uint(64 + 32)
    else:
        is_outward = slice_.uint(1)
        _read_address(slice_)
        _read_address(slice_)
        if is_outward:
            slice_.uint(64 + 32)
        else:
            slice_.coins()
    payment = Payment(other, checked(amount), write_boc(_read_body(slice_)))
    return _Message(payment, fees if is_sent else 0)


def _read_address(slice_: Slice) -> AccountId | None:
    """Read `MsgAddress`. None: it is no account of the basechain's."""
    kind = slice_.uint(2)
    if kind == 0b00:
        return None
    if kind == 0b01:
        slice_.uint(slice_.uint(9))
        return None
    if slice_.uint(1):
        # anycast
        slice_.uint(slice_.uint(5))
        is_plain = False
    else:
        is_plain = kind << 1 == STANDARD_ADDRESS
    if kind == 0b11:
        size = slice_.uint(9)
        slice_.uint(32 + size)
        return None
    workchain, account = slice_.sint(8), AccountId(slice_.octets(32))
    return account if is_plain and workchain == 0 else None


def _read_body(slice_: Slice) -> Cell:
    """Read past `StateInit`, to the body."""
    if slice_.uint(1):
        if slice_.uint(1):
            slice_.reference()
        else:
            _skip_state_init(slice_)
    return slice_.reference() if slice_.uint(1) else slice_.rest()


def _skip_state_init(slice_: Slice) -> None:
    if slice_.uint(1):
        slice_.uint(5)
    if slice_.uint(1):
        slice_.uint(2)
    for _ in range(3):
        slice_.maybe_reference()
