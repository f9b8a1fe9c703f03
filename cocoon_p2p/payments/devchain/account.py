"""What the chain reads of an account.

Spec: block.tlb, `ShardAccount`, `Account`, `AccountStorage`, `StorageInfo`, `StateInit`.
"""

from dataclasses import dataclass, field
from enum import Enum

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.devchain.native import (
    NATIVE_ERRORS,
    NativeCell,
    NativeReader,
    cell_hash,
    from_boc,
    to_boc,
)
from cocoon_p2p.units import Nano

_STANDARD_ADDRESS = 0b100


class Status(Enum):
    """What an account is (`AccountStatus`, and NONE where there is none)."""

    NONE = "nonexist"
    UNINITIALISED = "uninit"
    FROZEN = "frozen"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it stands. It is the native cell that counts; the rest was read from it."""

    shard_account: NativeCell = field(repr=False)

    root_hash: bytes
    "The hash of its state (`Account`): what a proof leads to."

    root_depth: int
    status: Status
    balance: Nano

    last_lt: int
    "The logical time of its last transaction, 0 if it had none."

    last_hash: bytes
    "That transaction's hash."

    @property
    def state(self) -> bytes:
        """Its state (`Account`) as a bag of cells."""
        return to_boc(NativeReader(self.shard_account).reference())

    @property
    def code(self) -> bytes | None:
        """The contract's code as a bag of cells, if there is a contract."""
        contract = contract_of(self)
        return None if contract is None or contract.code is None else to_boc(contract.code)

    @property
    def data(self) -> bytes | None:
        """The contract's data as a bag of cells, if it has any."""
        contract = contract_of(self)
        return None if contract is None or contract.data is None else to_boc(contract.data)


@dataclass(frozen=True, slots=True)
class Contract:
    """An active account's code and data."""

    code: NativeCell | None
    data: NativeCell | None


def read_account(shard_account: NativeCell) -> Account:
    """Read a `ShardAccount`.

    Raises:
        MalformedMessage: It is none, or its address is not a standard one.
    """
    try:
        reader = NativeReader(shard_account)
        root = reader.reference()
        last_hash, last_lt = reader.octets(32), reader.uint(64)
        inside = NativeReader(root)
        status, balance = Status.NONE, 0
        if inside.uint(1):
            balance = _read_balance(inside)
            status = _read_status(inside)
    except NATIVE_ERRORS as exc:
        raise MalformedMessage("not an account") from exc
    return Account(
        shard_account, cell_hash(root), root.get_depth(), status, Nano(balance), last_lt, last_hash
    )


def contract_of(account: Account) -> Contract | None:
    """Read an active account's code and data; None if it is not active."""
    if account.status is not Status.ACTIVE:
        return None
    reader = NativeReader(NativeReader(account.shard_account).reference())
    reader.skip(1)
    _read_balance(reader)
    reader.skip(1)
    if reader.uint(1):
        reader.skip(5)
    if reader.uint(1):
        reader.skip(2)
    return Contract(reader.maybe_reference(), reader.maybe_reference())


def _read_balance(reader: NativeReader) -> int:
    """Read from the address to the balance, behind which the state follows."""
    if reader.uint(3) != _STANDARD_ADDRESS:
        raise MalformedMessage("an account's address is not a standard one")
    reader.skip(8 + 256)
    # Used: cells and bits; then a hash of the dictionary of cells, if there is one.
    reader.short()
    reader.short()
    if reader.uint(3):
        reader.skip(256)
    reader.skip(32)
    if reader.uint(1):
        reader.coins()
    reader.skip(64)
    balance = reader.coins()
    reader.maybe_reference()
    return balance


def _read_status(reader: NativeReader) -> Status:
    if reader.uint(1):
        return Status.ACTIVE
    return Status.FROZEN if reader.uint(1) else Status.UNINITIALISED


def no_account() -> Account:
    """Give what stands where there is no account yet (`account_none`)."""
    none = Builder().uint(0, 1).cell()
    return read_account(from_boc(write_boc(Builder().reference(none).uint(0, 256 + 64).cell())))
