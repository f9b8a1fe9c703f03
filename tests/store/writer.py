"""A process that writes a ledger until it is killed, and says what it was promised.

    python -m tests.store.writer WHERE

Eight callers charge exchange after exchange, each on a channel of its own. A line of output, `caller
number`, means that the caller was told that its exchange of this number is on disk.
"""

import itertools
import sys

import trio

from cocoon_p2p.ledger import Account, Change, ChannelName, ChannelRow, ExchangeRow, Line, Side, Status
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.store import DatabaseStore, open_store
from cocoon_p2p.units import Nano
from tests.store.rows import PEER, Place

CALLERS = 8
PRICE = 5


def channel_of(caller: int) -> ChannelName:
    return ChannelName(Side.PAYEE, ChannelId(caller.to_bytes(32)))


def exchange_of(number: int) -> ExchangeId:
    return ExchangeId(number.to_bytes(16))


def charge(caller: int, number: int) -> tuple[Change, ...]:
    """What belongs together: a channel's row after its exchange of this number, its books, its paper."""
    name, exchange, total = channel_of(caller), exchange_of(number), Nano(PRICE * number)
    return (
        Line(name, 2 * number, Account.OWED, Account.VOUCHERS, Nano(PRICE), None, number),
        Line(name, 2 * number + 1, Account.INCOME, Account.OWED, Nano(PRICE), exchange, number),
        ExchangeRow(name, exchange, Status.ENDED, Nano(PRICE), Nano(0), total, bytes(300), number),
        ChannelRow(name, PEER, b"offer", None, 1, vouchered=total, charged=total, lines=2 * number + 2),
    )


async def call(store: DatabaseStore, caller: int) -> None:
    for number in itertools.count(1):
        await store.submit(*charge(caller, number)).wait()
        print(caller, number, flush=True)


async def main(where: Place) -> None:
    async with open_store(where) as store, trio.open_nursery() as nursery:
        print("open", flush=True)
        for caller in range(CALLERS):
            nursery.start_soon(call, store, caller)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
