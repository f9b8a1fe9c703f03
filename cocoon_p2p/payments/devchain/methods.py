"""Get-methods: a contract's code run by itself, to be asked what it knows.

Spec: lite_api.tl, `liteServer.runSmcMethod`; for the environment (c7) TVM, section 4.4, and
what later versions of the machine added to it.
"""

from binascii import crc_hqx
from collections.abc import Iterable
from dataclasses import dataclass

from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder, Cell
from cocoon_p2p.payments.devchain.account import Account, contract_of
from cocoon_p2p.payments.devchain.config import Config
from cocoon_p2p.payments.devchain.messages import AccountId, write_address
from cocoon_p2p.payments.devchain.moment import Moment
from cocoon_p2p.payments.devchain.native import (
    NativeCell,
    NativeEntry,
    NativeMachine,
    NativeReader,
    from_boc,
    tonpy,
)
from cocoon_p2p.payments.devchain.stack import read_stack, write_stack

GET_METHOD_GAS = 1_000_000
"What a get-method may burn: what public lite servers allow."

NO_CONTRACT = -256
"The exit code of a get-method on an account without code, as lite servers give it."

_C7_MAGIC = 0x076EF1EA
_UNPACKED_PARAMETERS = (19, 20, 21, 24, 25, 43)


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What a get-method left behind."""

    exit_code: int
    "0 or 1: it ended well."

    gas_used: int

    stack: bytes
    "The stack it left (`VmStack`), a bag of cells."


def method_id(name: str) -> int:
    """Compute the number under which compilers put a get-method."""
    return crc_hqx(name.encode(), 0) | 0x10000


class GetMethods:
    """Runs get-methods under one configuration."""

    def __init__(self, config: Config, native_config: NativeCell) -> None:
        self._config = config
        self._native_config = native_config
        self._parameters = [_maybe_slice(config.parameter(number)) for number in _UNPACKED_PARAMETERS]
        self._storage_prices: tuple[Cell | None, NativeEntry] = (None, _null())

    def run(
        self,
        account: Account,
        address: AccountId,
        method: int,
        stack: bytes,
        moment: Moment,
        libraries: NativeCell | None,
    ) -> MethodResult:
        """Run one.

        Raises:
            MalformedMessage: The stack cannot be read, or what the method left cannot be written.
        """
        contract = contract_of(account)
        if contract is None or contract.code is None:
            return MethodResult(NO_CONTRACT, 0, b"")
        arguments = read_stack(stack)
        arguments.push(_number(method))
        data = contract.data or from_boc(write_boc(Builder().cell()))
        machine = tonpy().PyTVM(0, contract.code, data, False, True, False, False)
        if libraries is not None:
            machine.set_libs(libraries)
        machine.set_c7(self._environment(account, address, contract.code, moment))
        machine.set_stack(arguments)
        machine.set_gasLimit(str(GET_METHOD_GAS), str(GET_METHOD_GAS))
        left = machine.run_vm()
        return MethodResult(_exit_code(machine), machine.gas_used, write_stack(left))

    def _environment(
        self, account: Account, address: AccountId, code: NativeCell, moment: Moment
    ) -> NativeEntry:
        """Build c7. tonpy has a class for it, whose fields are off by one from the fourteenth on."""
        own_address = NativeReader(from_boc(write_boc(write_address(Builder(), address).cell())))
        return _tuple(
            (
                _number(_C7_MAGIC),
                _number(0),  # Actions so far,
                _number(0),  # and messages sent.
                _number(moment.now),
                _number(moment.lt),  # The block's,
                _number(moment.lt),  # and the transaction's.
                _number(int.from_bytes(moment.seed, "big")),
                _tuple((_number(account.balance), _null())),
                tonpy().PyStackEntry(cell_slice=own_address.slice),
                tonpy().PyStackEntry(cell=self._native_config),
                tonpy().PyStackEntry(cell=code),
                _tuple((_number(0), _null())),  # What came with the message.
                _number(0),  # Storage fees.
                _null(),  # Previous blocks.
                _tuple((self._prices_at(moment.now), *self._parameters)),
                _number(0),  # Due payment.
                _null(),  # Precompiled gas.
            )
        )

    def _prices_at(self, now: int) -> NativeEntry:
        """Give the storage prices in force, which change with the configuration's table, if at all."""
        prices = self._config.storage_prices(now)
        if prices is not self._storage_prices[0]:
            self._storage_prices = prices, _maybe_slice(prices)
        return self._storage_prices[1]


def _exit_code(machine: NativeMachine) -> int:
    """Undo the complement that the machine puts on the code of a normal end."""
    return ~machine.exit_code if machine.exit_code < 0 else machine.exit_code


def _number(value: int) -> NativeEntry:
    return tonpy().PyStackEntry(big_int=str(value))


def _null() -> NativeEntry:
    return tonpy().PyStackEntry()


def _tuple(items: Iterable[NativeEntry]) -> NativeEntry:
    return tonpy().make_tuple(list(items))


def _maybe_slice(cell: Cell | None) -> NativeEntry:
    if cell is None:
        return _null()
    return tonpy().PyStackEntry(cell_slice=NativeReader(from_boc(write_boc(cell))).slice)
