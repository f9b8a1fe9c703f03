"""The TON virtual machine: runs a message on an account, or a get-method, and remembers nothing.

What comes out depends on what goes in and on nothing else: the configuration, the account,
the message and the moment.

    tvm = Tvm(local_config())
    moment = Moment(now=1_800_000_000, lt=1_000_000, seed=bytes(32))
    done = tvm.transaction(no_account(), from_boc(message), moment)
    done.account.balance, done.transaction.boc

Spec: TVM; block.tlb, `Transaction`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cocoon_p2p.errors import MalformedMessage, Refused
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Cell
from cocoon_p2p.payments.devchain.account import Account, read_account
from cocoon_p2p.payments.devchain.augmap import References, Tree, put, whole
from cocoon_p2p.payments.devchain.config import Config
from cocoon_p2p.payments.devchain.messages import AccountId
from cocoon_p2p.payments.devchain.methods import GetMethods, MethodResult
from cocoon_p2p.payments.devchain.moment import Moment
from cocoon_p2p.payments.devchain.native import (
    NATIVE_ERRORS,
    NativeCell,
    NativeReader,
    cell_hash,
    from_boc,
    to_boc,
    tonpy,
)
from cocoon_p2p.units import Nano

_VM_VERSION = 0
"tonpy's flag for replaying the blocks of an old bug; the configuration tells the real version."

_LIBRARIES = References(key_bits=256)
_MESSAGE_NUMBER_BITS = 15
_EXIT_MARK = "terminating vm with exit code "


class MessageRejected(Refused):
    """The contract did not accept an external message: no transaction took place.

    Attributes:
        exit_code: What its code ended with; None if it did not get to run.
    """

    def __init__(self, exit_code: int | None) -> None:
        told = "it did not run" if exit_code is None else f"exit code {exit_code}"
        super().__init__(f"the contract did not accept the message ({told})", code="message-rejected")
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message run on one account."""

    address: AccountId
    lt: int
    hash: bytes
    depth: int

    fees: Nano
    "What the validators took, from the account and from what it sent."

    boc: bytes = field(repr=False)
    "The transaction as a bag of cells: its phases, messages and fees."


@dataclass(frozen=True, slots=True)
class Executed:
    """A transaction, and what came of it."""

    transaction: Transaction

    account: Account
    "The account after it."

    out_messages: tuple[NativeCell, ...] = field(repr=False)
    "What it sent, in order."


class Tvm:
    """A machine under one configuration. Not for more than one thread at a time."""

    def __init__(self, config: bytes) -> None:
        """Set the machine up.

        Args:
            config: The network's configuration, a bag of cells.

        Raises:
            MalformedMessage: It is no configuration.
            ConfigurationError: tonpy is not installed.
        """
        self.config = Config(config)
        native_config = from_boc(config)
        try:
            self._emulator = tonpy().PyEmulator(native_config)
        except NATIVE_ERRORS as exc:
            raise MalformedMessage("not a configuration that the machine can run with") from exc
        self._methods = GetMethods(self.config, native_config)
        self._libraries: NativeCell | None = None

    def set_libraries(self, libraries: Mapping[bytes, bytes]) -> None:
        """Set what library cells refer to: each code's bag of cells under its hash. At least one."""
        tree: Tree[Cell] | None = None
        for name, code in libraries.items():
            tree = put(_LIBRARIES, tree, int.from_bytes(name, "big"), read_one(code))
        assert tree is not None
        self._libraries = from_boc(write_boc(whole(_LIBRARIES, tree)))
        self._emulator.set_libs(self._libraries)

    def transaction(self, account: Account, message: NativeCell, moment: Moment) -> Executed:
        """Run a message on the account that it is for.

        Args:
            account: The account as it stands.
            message: Internal or external.
            moment: When. Its `lt` is the least that the transaction may have.

        Raises:
            MessageRejected: The message is external and the contract did not accept it.
            MalformedMessage: The machine cannot read the message, or cannot run it on this account (an
                external message where there is no contract, for one).
        """
        emulator = self._emulator
        emulator.set_rand_seed(moment.seed.hex().upper())
        try:
            accepted = emulator.emulate_transaction(
                account.shard_account, message, str(moment.now), str(moment.lt), _VM_VERSION, False
            )
        except NATIVE_ERRORS as exc:
            raise MalformedMessage("the machine cannot run the message") from exc
        if not accepted:
            raise MessageRejected(_exit_code(emulator.vm_log))
        return _read_executed(emulator.transaction_cell, read_account(emulator.account_cell))

    def get_method(
        self, account: Account, address: AccountId, method: int, stack: bytes, moment: Moment
    ) -> MethodResult:
        """Run a get-method.

        Args:
            account: The account as it stands.
            address: Where it is.
            method: Its number; see `method_id`.
            stack: The arguments (`VmStack`), a bag of cells; no bytes for none.
            moment: When.

        Raises:
            MalformedMessage: The stack cannot be read, or what the method left cannot be written.
        """
        return self._methods.run(account, address, method, stack, moment, self._libraries)


def _read_executed(cell: NativeCell, account: Account) -> Executed:
    """Read a transaction that the machine has made."""
    reader = NativeReader(cell)
    reader.skip(4)
    address, lt = AccountId(reader.octets(32)), reader.uint(64)
    # The last transaction's hash and lt; now.
    reader.skip(256 + 64 + 32)
    sent = reader.uint(_MESSAGE_NUMBER_BITS)
    reader.skip(4)
    messages = _read_out_messages(reader.reference(), sent)
    fees = Nano(reader.coins())
    transaction = Transaction(address, lt, cell_hash(cell), cell.get_depth(), fees, to_boc(cell))
    return Executed(transaction, account, messages)


def _read_out_messages(cell: NativeCell, count: int) -> tuple[NativeCell, ...]:
    if not count:
        return ()
    reader = NativeReader(cell)
    reader.maybe_reference()
    reader.skip(1)
    root = NativeReader(reader.reference()).slice
    messages = tonpy().PyDict(bit_len=_MESSAGE_NUMBER_BITS, signed=False, cs_root=root)
    return tuple(messages.lookup_ref_str(str(number), 0, False) for number in range(count))


def _exit_code(log: str) -> int | None:
    """Find the code in the machine's log, the only place where a rejection leaves it."""
    _, mark, rest = log.rpartition(_EXIT_MARK)
    return int(rest.split(maxsplit=1)[0]) if mark else None
