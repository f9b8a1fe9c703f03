"""What of tonpy is used, spelled as types. tonpy has none of its own; this is its only door.

The names are tonpy's. A native cell is opaque here: it has a hash, a depth and bytes. Numbers
cross the door as decimal text.

Traps, each with a test in tests/payments/devchain/test_tvm.py:

* A bad argument raises RuntimeError, or UnicodeDecodeError when tonpy's own message is not
  UTF-8, and writes to the process's stderr unless its verbosity is 0.
* A malformed stack is not refused: it is read as a shorter one, after a time that grows with
  the length that it claims.
* `exit_code` is the complement of the code when the machine ended by itself, and plain when
  it ran out of gas.
* `PyTVM` takes c7's inner tuple and wraps it itself.
* The GIL is held while a contract runs (some 23 ms for a million gas).
"""

import base64
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from cocoon_p2p.errors import ConfigurationError, MalformedMessage

NATIVE_ERRORS = (RuntimeError, UnicodeDecodeError)
"What tonpy raises for what it cannot read."

_SILENT = 0


class NativeCell(Protocol):
    def get_hash(self) -> str: ...
    def get_depth(self) -> int: ...
    def to_boc(self) -> str: ...


class NativeSlice(Protocol):
    @property
    def bits(self) -> int: ...
    @property
    def refs(self) -> int: ...
    def load_uint(self, bit_len: int, /) -> str: ...
    def load_int(self, bit_len: int, /) -> str: ...
    def load_var_integer_str(self, bit_len: int, sgnd: bool, /) -> str: ...
    def preload_uint(self, bit_len: int, /) -> str: ...
    def skip_bits(self, bits: int, last: bool, /) -> bool: ...
    def fetch_ref(self) -> NativeCell: ...


class NativeDict(Protocol):
    def lookup_ref_str(self, key: str, key_len: int, signed: bool, /) -> NativeCell: ...


class NativeEntry(Protocol):
    """An entry of the machine's stack."""

    def type(self) -> int: ...
    def as_tuple(self) -> "list[NativeEntry]": ...


class NativeStack(Protocol):
    def depth(self) -> int: ...
    def at(self, index: int, /) -> NativeEntry: ...
    def push(self, entry: NativeEntry, /) -> None: ...
    def serialize(self, mode: int, /) -> NativeCell: ...


class NativeEmulator(Protocol):
    """Runs whole transactions."""

    transaction_cell: NativeCell
    account_cell: NativeCell
    vm_log: str

    def set_rand_seed(self, seed_hex: str, /) -> bool: ...
    def set_libs(self, libraries: NativeCell, /) -> bool: ...
    def emulate_transaction(
        self,
        shard_account: NativeCell,
        message: NativeCell,
        unixtime: str,
        lt: str,
        vm_ver: int,
        force_uninit: bool,
        /,
    ) -> bool: ...


class NativeMachine(Protocol):
    """Runs code by itself, which is what a get-method is."""

    exit_code: int
    gas_used: int

    def set_libs(self, libraries: NativeCell, /) -> None: ...
    def set_c7(self, inner: NativeEntry, /) -> None: ...
    def set_stack(self, stack: NativeStack, /) -> None: ...
    def set_gasLimit(self, limit: str, most: str, /) -> None: ...
    def run_vm(self) -> NativeStack: ...


class _Tonpy(Protocol):
    def globalSetVerbosity(self, verbosity: int, /) -> None: ...
    def parse_string_to_cell(self, boc_base64: str, /) -> NativeCell: ...
    def load_as_cell_slice(self, cell: NativeCell, allow_special: bool, /) -> NativeSlice: ...
    def deserialize_stack(self, cell_slice: NativeSlice, /) -> NativeStack: ...
    def method_name_to_id(self, name: str, /) -> int: ...
    def make_tuple(self, items: Sequence[NativeEntry], /) -> NativeEntry: ...
    def PyStack(self) -> NativeStack: ...
    def PyEmulator(self, config: NativeCell, /) -> NativeEmulator: ...
    def PyStackEntry(
        self,
        *,
        cell: NativeCell | None = None,
        cell_slice: NativeSlice | None = None,
        big_int: str = "",
    ) -> NativeEntry: ...
    def PyDict(self, *, bit_len: int, signed: bool, cs_root: NativeSlice) -> NativeDict: ...
    def PyTVM(
        self,
        log_level: int,
        code: NativeCell,
        data: NativeCell,
        allow_debug: bool,
        same_c3: bool,
        skip_c7: bool,
        enable_vm_dump: bool,
        /,
    ) -> NativeMachine: ...


@cache
def tonpy() -> _Tonpy:
    """Load the library, silenced.

    Raises:
        ConfigurationError: It is not installed, or there is none for this machine.
    """
    try:
        library = cast(_Tonpy, import_module("tonpy.libs.python_ton"))
    except ImportError as exc:
        raise ConfigurationError(
            f"the local chain needs tonpy: {exc}",
            hint="pip install 'cocoon-p2p[devchain]' (tonpy has no wheel for Linux on arm64)",
        ) from exc
    # A stranger's bad message would otherwise be a red line on our stderr.
    library.globalSetVerbosity(_SILENT)
    return library


def from_boc(boc: bytes) -> NativeCell:
    """Read a bag of one tree.

    Raises:
        MalformedMessage: It is not one.
    """
    try:
        return tonpy().parse_string_to_cell(base64.b64encode(boc).decode())
    except NATIVE_ERRORS as exc:
        raise MalformedMessage("not a bag of cells") from exc


def to_boc(cell: NativeCell) -> bytes:
    return base64.b64decode(cell.to_boc())


def cell_hash(cell: NativeCell) -> bytes:
    return bytes.fromhex(cell.get_hash())


class NativeReader:
    """Reads a native cell's fields in order. Raises one of `NATIVE_ERRORS` where they end too early."""

    __slots__ = ("slice",)

    def __init__(self, cell: NativeCell) -> None:
        self.slice = tonpy().load_as_cell_slice(cell, True)

    def uint(self, bits: int) -> int:
        return int(self.slice.load_uint(bits))

    def sint(self, bits: int) -> int:
        return int(self.slice.load_int(bits))

    def octets(self, size: int) -> bytes:
        return int(self.slice.load_uint(8 * size)).to_bytes(size, "big")

    def skip(self, bits: int) -> None:
        self.slice.skip_bits(bits, False)

    def coins(self) -> int:
        return int(self.slice.load_var_integer_str(16, False))

    def short(self) -> int:
        """Read a `VarUInteger 7`."""
        return int(self.slice.load_var_integer_str(7, False))

    def reference(self) -> NativeCell:
        return self.slice.fetch_ref()

    def maybe_reference(self) -> NativeCell | None:
        return self.slice.fetch_ref() if self.uint(1) else None
