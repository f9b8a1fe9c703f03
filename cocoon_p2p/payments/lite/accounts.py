"""An account's state, read: what it holds, and the contract in it.

Spec: block.tlb, `Account`, `StorageInfo`, `AccountStorage`, `StateInit`.
"""

from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Cell, Slice
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.units import NANO_MAX, Nano

STANDARD_ADDRESS = 0b100
"`addr_std$10` without anycast."


@dataclass(frozen=True, slots=True)
class Holding:
    """What an account holds."""

    balance: Nano
    code: bytes | None
    "A bag; None: nothing is deployed, or it is frozen."

    data: bytes | None


NOTHING = Holding(Nano(0), None, None)
"What is where no account is."


def read_account(root: Cell, account: AccountId) -> Holding:
    """Read an account's state.

    Args:
        root: The state (`Account`), whole.
        account: Whose it should be.

    Raises:
        MalformedMessage: It is none, or another's.
    """
    slice_ = Slice(root)
    if not slice_.uint(1):
        return NOTHING
    if (slice_.uint(3), slice_.sint(8), slice_.octets(32)) != (STANDARD_ADDRESS, 0, account):
        raise MalformedMessage("a state of another account")
    _skip_storage_info(slice_)
    # When it last changed.
    slice_.uint(64)
    balance = read_money(slice_)
    if not slice_.uint(1):
        # Frozen, or never deployed.
        return Holding(balance, None, None)
    if slice_.uint(1):
        # fixed_prefix_length
        slice_.uint(5)
    if slice_.uint(1):
        # special: tick, tock
        slice_.uint(2)
    code, data = slice_.maybe_reference(), slice_.maybe_reference()
    return Holding(balance, _bag(code), _bag(data))


def read_money(slice_: Slice) -> Nano:
    """Read a `CurrencyCollection`, of which TON alone counts.

    Raises:
        MalformedMessage: It is more than there is.
    """
    amount = slice_.coins()
    slice_.maybe_reference()
    return checked(amount)


def checked(amount: int) -> Nano:
    if amount > NANO_MAX:
        raise MalformedMessage(f"an impossible amount (bits={amount.bit_length()})")
    return Nano(amount)


def _skip_storage_info(slice_: Slice) -> None:
    """`StorageInfo`: cells and bits used, the hash of their dictionary, when rent was paid, what is owed."""
    for _ in range(2):
        slice_.uint(8 * slice_.uint(3))
    if slice_.uint(3):
        slice_.octets(32)
    slice_.uint(32)
    if slice_.uint(1):
        slice_.coins()


def _bag(cell: Cell | None) -> bytes | None:
    return None if cell is None else write_boc(cell)
