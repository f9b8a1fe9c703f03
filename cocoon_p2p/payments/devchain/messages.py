"""Messages as bytes: what goes into the chain from outside.

Bodies and contracts come as bags of cells too, so that any TON library can make them.

Spec: block.tlb, `int_msg_info`, `ext_in_msg_info`, `message`, `StateInit`.
"""

from dataclasses import dataclass

from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder, Cell
from cocoon_p2p.payments.contract import AccountId as AccountId
from cocoon_p2p.payments.devchain.native import NATIVE_ERRORS, NativeCell, NativeReader

_STANDARD_ADDRESS = 0b100
"`addr_std$10` without anycast."


def write_address(builder: Builder, account: AccountId, workchain: int = 0) -> Builder:
    return builder.uint(_STANDARD_ADDRESS, 3).sint(workchain, 8).octets(account)


def state_init(code: bytes, data: bytes) -> bytes:
    """Write what a contract is deployed with. Its address is `address_of` this."""
    cell = Builder().uint(0b00110, 5).reference(read_one(code)).reference(read_one(data)).cell()
    return write_boc(cell)


def address_of(init: bytes) -> AccountId:
    return AccountId(read_one(init).hash)


def internal_message(
    source: AccountId,
    destination: AccountId,
    amount: int,
    *,
    body: bytes | None = None,
    init: bytes | None = None,
    bounce: bool = True,
) -> bytes:
    """Write a message from one account to another, with money.

    Args:
        source: Who it says it is from.
        destination: Who gets it.
        amount: In nanoTON.
        body: What it says, a bag of cells; empty if None.
        init: What the destination is deployed with, if it is not yet.
        bounce: Whether the money comes back when the destination fails or is not there.
    """
    builder = Builder().uint(0, 1).uint(1, 1).uint(bounce, 1).uint(0, 1)
    write_address(write_address(builder, source), destination).money(amount)
    # No fees for a road it has not travelled; created at no time.
    builder.coins(0).coins(0).uint(0, 64 + 32)
    return write_boc(_finished(builder, body, init))


def external_message(destination: AccountId, body: bytes, *, init: bytes | None = None) -> bytes:
    """Write a message from nowhere, which the destination pays for if it accepts it."""
    builder = write_address(Builder().uint(0b1000, 4), destination).coins(0)
    return write_boc(_finished(builder, body, init))


def _finished(builder: Builder, body: bytes | None, init: bytes | None) -> Cell:
    if init is None:
        builder.uint(0, 1)
    else:
        builder.uint(0b11, 2).reference(read_one(init))
    return builder.maybe_reference(None if body is None else read_one(body)).cell()


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who a message is for, and the money that travels with it."""

    is_external: bool
    workchain: int
    destination: AccountId

    value: int
    "What the destination is credited with, in nanoTON."

    forward_fee: int
    "What the destination's validators get for taking it in, in nanoTON."


def read_envelope(message: NativeCell) -> Envelope | None:
    """Read a message's head. None: it leaves the chain (`ext_out_msg_info`), or for an address not served.

    What is not served: addresses other than `addr_std` without anycast.
    """
    try:
        reader = NativeReader(message)
        if not reader.uint(1):
            return _read_internal(reader)
        if reader.uint(1):
            return None
        _skip_address(reader)
        to = _read_address(reader)
        return None if to is None else Envelope(True, *to, 0, 0)
    except NATIVE_ERRORS:
        return None


def _read_internal(reader: NativeReader) -> Envelope | None:
    reader.skip(3)
    _skip_address(reader)
    to = _read_address(reader)
    if to is None:
        return None
    value = reader.coins()
    reader.maybe_reference()
    # The fee for instant routing comes back to the destination, because nothing is routed instantly.
    value += reader.coins()
    return Envelope(False, *to, value, reader.coins())


def _skip_address(reader: NativeReader) -> None:
    """Skip a source: none, an external name, or a standard address."""
    kind = reader.uint(2)
    if kind == 1:
        reader.skip(reader.uint(9))
    elif kind == 2:
        reader.skip(1 + 8 + 256)


def _read_address(reader: NativeReader) -> tuple[int, AccountId] | None:
    if reader.uint(3) != _STANDARD_ADDRESS:
        return None
    return reader.sint(8), AccountId(reader.octets(32))
