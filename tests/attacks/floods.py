"""Attackers who are many: handshakes, connections and streams without end."""

import trio

from cocoon_p2p.network.libp2p.kad_wire import encode, find_node
from cocoon_p2p.network.libp2p.yamux_frames import DATA, FIN, RST, SYN, WINDOW_UPDATE
from cocoon_p2p.network.libp2p.yamux_frames import encode as yamux
from cocoon_p2p.protocols.ids import EXCHANGE
from tests.attacks.attack import RANGES, Attack, swallow
from tests.attacks.intruder import Muxed

STREAMS = 100_000
STREAMS_A_WRITE = 500


class Floods(Attack):
    """Who comes in numbers."""

    async def handshakes(self) -> None:
        """Prove a key, hang up, and come again as another; eighty at once, as fast as they are let."""

        async def prove(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number % RANGES)
            await muxed.conn.close()

        await self.over_and_over(80, prove)

    async def connections(self) -> None:
        """Keep 2,000 connections, each of another key and with a stream; sixteen arrive at once."""
        arriving = trio.Semaphore(16)

        async def hold(number: int) -> None:
            async with arriving:
                muxed = await self.intruder.as_another().muxed(number % RANGES)
                self.done["connected"] += 1
                await muxed.open(EXCHANGE, b"\x00")
            await swallow(muxed)
            self.done["let go"] += 1
            await muxed.conn.close()

        async with trio.open_nursery() as nursery:
            for number in range(2_000):
                nursery.start_soon(self.once, hold, number)

    async def streams(self) -> None:
        """Open 100,000 streams and reset each when the next ones are opened; told to go, come again."""

        async def churn(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(swallow, muxed)
                before: list[int] = []
                while self.done["streams"] < STREAMS:
                    ids = [next(muxed.ids) for _ in range(STREAMS_A_WRITE)]
                    resets = b"".join(yamux(WINDOW_UPDATE, RST, each, 0) for each in before)
                    opens = b"".join(yamux(DATA, SYN, each, 1) + b"\x13" for each in ids)
                    await muxed.send(resets + opens)
                    self.done["streams"] += len(ids)
                    before = ids
                nursery.cancel_scope.cancel()
            # Only who is still connected has its question answered.
            await muxed.open(self.kad, encode(find_node(b"anybody")))
            self.done["connections kept"] += bool(await muxed.conn.read(None))
            await muxed.conn.close()

        async def come_again(number: int) -> None:
            while self.done["streams"] < STREAMS:
                await self.once(churn, number)
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(come_again, number)

    async def half_open(self) -> None:
        """Open streams and say nothing on them, or close our side at once, and leave all of them there."""

        async def leave(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number % RANGES)
            for _ in range(50):
                await muxed.send(b"".join(self._half_open(muxed) for _ in range(20)))
                self.done["streams"] += 20
            await swallow(muxed)

        await self.over_and_over(20, leave)

    def _half_open(self, muxed: Muxed) -> bytes:
        number = next(muxed.ids)
        if self.random.random() < 0.5:
            return yamux(WINDOW_UPDATE, SYN, number, 0)
        return yamux(DATA, SYN, number, 1) + b"\x13" + yamux(WINDOW_UPDATE, FIN, number, 0)
