"""What all attacks share: who attacks whom, and how it goes on after being thrown out."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
from libp2p.exceptions import BaseLibp2pError

from cocoon_p2p.network.libp2p.errors import UPSTREAM_ERRORS
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from tests.attacks.intruder import Intruder, Muxed

RANGES = 40
"Address ranges that the intruder has rented."

LOST = (
    *UPSTREAM_ERRORS,
    BaseLibp2pError,
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    AssertionError,
)
"What it is to be thrown out."


class Attack:
    """One attack under way.

    Args:
        address: Of the node.
        network_name: Of its network.
    """

    def __init__(self, address: str, network_name: str) -> None:
        self.intruder = Intruder(address)
        self.network_name = network_name
        self.kad = KadKeys(network_name).protocol
        self.random = random.Random(20_260_101)
        self.done: Counter[str] = Counter()

    async def over_and_over(self, parallel: int, one: Callable[[int], Awaitable[None]]) -> None:
        """Let `parallel` tasks do `one` thing again and again; being thrown out is only counted."""

        async def repeat(number: int) -> None:
            while True:
                try:
                    await one(number)
                    self.done["done"] += 1
                except LOST:
                    self.done["thrown out"] += 1
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            for number in range(parallel):
                nursery.start_soon(repeat, number)

    async def once(self, one: Callable[[int], Awaitable[None]], number: int) -> None:
        """Do `one` thing; being thrown out is only counted."""
        try:
            await one(number)
        except LOST:
            self.done["thrown out"] += 1


async def swallow(muxed: Muxed) -> None:
    """Read what the node says, and forget it."""
    try:
        while await muxed.conn.read(None):
            pass
    except LOST:
        return
