"""Strangers that come and go: newcomers that read the directory, and peers that talk garbage.

    python -m tests.soak.strangers NETWORK ADDRESS ...

Each has a key of its own; those that mean harm come from many address ranges. Runs until
SIGTERM, then prints what came.
"""

import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import trio

from cocoon_p2p import lifeline
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.libp2p.kad import open_directory
from cocoon_p2p.protocols.ids import EXCHANGE, SESSION
from tests.attacks.attacks import LOST, RANGES
from tests.attacks.intruder import Intruder

AT_ONCE = 4
PAUSE_MAX_SECONDS = 0.5
STAY_MAX_SECONDS = 15.0
HURRY_SECONDS = 30.0


class Strangers:
    """Whoever comes to some nodes."""

    def __init__(self, network: str, addresses: Sequence[str]) -> None:
        self._network = network
        self._addresses = addresses
        self._intruders = [Intruder(address) for address in addresses]
        self.done = Counter[str]()

    async def come_and_go(self) -> None:
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "newcomers": self._newcomer,
            "garbage in a socket": self._garbage_in_a_socket,
            "garbage in a secure channel": self._garbage_in_a_channel,
            "garbage in streams": self._garbage_in_streams,
            "streams reset": self._resets,
        }
        while True:
            kind = random.choice(list(kinds))
            try:
                with trio.move_on_after(HURRY_SECONDS):
                    await kinds[kind]()
                self.done[kind] += 1
            except (*LOST, CocoonError) as exc:
                self.done[f"{kind}: {type(exc).__name__}"] += 1
            await trio.sleep(random.uniform(0, PAUSE_MAX_SECONDS))

    async def _newcomer(self) -> None:
        identity = Identity.from_seed(os.urandom(32))
        async with (
            open_transport(identity) as transport,
            open_directory(
                transport, network_name=self._network, mode="client", bootstrap=self._addresses[:1]
            ) as directory,
        ):
            await transport.dial(self._addresses[-1:])
            if not await directory.find_proxies():
                self.done["newcomers that found nobody"] += 1
            await trio.sleep(random.uniform(0, STAY_MAX_SECONDS))

    def _intruder(self) -> Intruder:
        return random.choice(self._intruders).as_another()

    async def _garbage_in_a_socket(self) -> None:
        async with await self._intruder().socket(random.randrange(RANGES)) as socket:
            await socket.send_all(os.urandom(random.randint(1, 5000)))
            await trio.sleep(random.uniform(0, 1))

    async def _garbage_in_a_channel(self) -> None:
        conn = await self._intruder().secured(random.randrange(RANGES))
        try:
            await conn.write(os.urandom(random.randint(1, 5000)))
        finally:
            await conn.close()

    async def _garbage_in_streams(self) -> None:
        muxed = await self._intruder().muxed(random.randrange(RANGES))
        try:
            for protocol in (EXCHANGE, SESSION, "/ipfs/id/1.0.0", f"/cocoon/{self._network}/kad/1"):
                await muxed.open(protocol, os.urandom(random.randint(1, 500)))
            await trio.sleep(random.uniform(0, 1))
        finally:
            await muxed.conn.close()

    async def _resets(self) -> None:
        muxed = await self._intruder().muxed(random.randrange(RANGES))
        try:
            for _ in range(20):
                await muxed.reset(await muxed.open(EXCHANGE, b"\x00"))
        finally:
            await muxed.conn.close()


async def main(network: str, addresses: Sequence[str]) -> None:
    strangers = Strangers(network, addresses)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(strangers.come_and_go)
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()
    print(json.dumps(strangers.done))


if __name__ == "__main__":
    lifeline.hold()
    trio.run(main, sys.argv[1], sys.argv[2:])
