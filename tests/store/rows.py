"""Rows and lines to write into ledgers."""

from pathlib import Path
from typing import TypeAlias

import trio

from cocoon_p2p.identity import Identity
from cocoon_p2p.ledger import Account, ChannelName, ChannelRow, ExchangeRow, Line, Side, Status
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.units import Nano

Place: TypeAlias = Path | str
"A ledger's file, or its URL."

PEER = Identity.from_seed(bytes(32)).peer_id
PAYER_END = ChannelName(Side.PAYER, ChannelId(b"\x01" * 32))
PAYEE_END = ChannelName(Side.PAYEE, ChannelId(b"\x01" * 32))


def channel(name: ChannelName = PAYEE_END, *, vouchered: int = 0, charged: int = 0) -> ChannelRow:
    return ChannelRow(
        name=name,
        peer=PEER,
        offer=b"offer",
        seed=b"seed" if name.side is Side.PAYER else None,
        phase=1,
        vouchered=Nano(vouchered),
        charged=Nano(charged),
    )


def exchange(
    number: int,
    *,
    name: ChannelName = PAYEE_END,
    status: Status = Status.ENDED,
    amount: int = 5,
    at: int = 100,
) -> ExchangeRow:
    return ExchangeRow(
        name=name,
        exchange=ExchangeId(number.to_bytes(16)),
        status=status,
        amount=Nano(amount),
        held=Nano(0),
        total=Nano(amount),
        paper=b"paper",
        at=at,
    )


def line(number: int, amount: int = 5, *, name: ChannelName = PAYEE_END) -> Line:
    return Line(name, number, Account.INCOME, Account.OWED, Nano(amount), None, 100)


async def until_the_ledger_ends() -> None:
    """Wait for the ledger's end to cancel the block that this is in."""
    with trio.fail_after(20):
        await trio.sleep_forever()
