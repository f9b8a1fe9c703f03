"""What is done to the node. Each attack goes on until it is cancelled, and counts what it did in `done`.

    python -m tests.attacks.attacks NAME ADDRESS NETWORK SECONDS

An attack in a process of its own leaves the honest client's clock alone.
"""

import json
import sys
import time

import trio

from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_wire import add_provider, encode, find_node, put_value
from cocoon_p2p.network.libp2p.routing_table import Entry
from cocoon_p2p.network.libp2p.yamux_frames import ACK, DATA, PING, SYN
from cocoon_p2p.network.libp2p.yamux_frames import encode as yamux
from cocoon_p2p.protocols.ids import EXCHANGE, SESSION, Role
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.records import make_record, make_statement
from tests.attacks.attack import LOST, RANGES, swallow
from tests.attacks.floods import Floods

LIBP2P_PING = "/ipfs/ping/1.0.0"


class Attacks(Floods):
    """All of them, by name."""

    # ------------------------------------------------------------ who is slow

    async def slow_tcp(self) -> None:
        """Hold silent sockets, from many ranges, and take a new one for each that is closed."""

        async def hold(number: int) -> None:
            async with await self.intruder.socket(number % RANGES) as stream:
                await stream.receive_some()  # The node's own header.
                await stream.receive_some()

        await self.over_and_over(400, hold)

    async def slow_multistream(self) -> None:
        """Say the first header a byte a second."""

        async def drip(number: int) -> None:
            async with await self.intruder.socket(number % RANGES) as stream:
                for byte in b"\x13/multistream/1.0.0\n":
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(1)

        await self.over_and_over(400, drip)

    async def slow_noise(self) -> None:
        """Announce a long handshake message, and send it a byte a second."""

        async def drip(number: int) -> None:
            async with await self.intruder.negotiated(number % RANGES) as stream:
                await stream.send_all(b"\xff\xff")
                while True:
                    await stream.send_all(b"\x00")
                    await trio.sleep(1)

        await self.over_and_over(300, drip)

    async def slow_muxer(self) -> None:
        """Prove a key, and then take for ever to agree on a muxer."""

        async def drip(number: int) -> None:
            conn = await self.intruder.as_another().secured(number % RANGES)
            try:
                for _ in range(30):
                    await conn.write(b"\x13")
                    await trio.sleep(1)
            finally:
                await conn.close()

        await self.over_and_over(150, drip)

    async def slow_protocols(self) -> None:
        """Open streams of every protocol, send half of what they expect, and wait."""

        async def hold(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number % RANGES)
            try:
                for _ in range(40):
                    await muxed.open(self.kad, b"\x40\x08")
                    await muxed.open(EXCHANGE, b"\x00\x00\x10\x00\xa1")
                    await muxed.open(SESSION, b"\x00\x00\x10\x00\xa1")
                    await muxed.open(LIBP2P_PING, bytes(31))
                    await muxed.send(yamux(DATA, SYN, next(muxed.ids), 3) + b"\x13/m")
                await trio.sleep_forever()
            finally:
                await muxed.conn.close()

        await self.over_and_over(20, hold)

    # ------------------------------------------------------------ who sends too much

    async def window(self) -> None:
        """Send a megabyte into a window of a quarter."""

        async def overrun(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number)
            stream = await muxed.open(EXCHANGE)
            for _ in range(16):
                await muxed.say(stream, bytes(65_000))
            await muxed.conn.close()

        await self.over_and_over(4, overrun)

    async def unread_answers(self) -> None:
        """Ask for echoes on hundreds of streams of many connections, and never take one."""

        async def ask(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number % RANGES)
            self.done["connected"] += 1
            ids = [await muxed.open(LIBP2P_PING) for _ in range(400)]
            for _ in range(16):
                for stream in ids:
                    await muxed.say(stream, bytes(32 * 900))
                    self.done["kilobytes"] += 28
            await trio.sleep_forever()

        await self.over_and_over(20, ask)

    async def pings(self) -> None:
        """Ask for answers of the muxer itself, and take none."""

        async def ask(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number)
            while True:
                await muxed.send(yamux(PING, SYN, 0, 7) * 1000)

        await self.over_and_over(4, ask)

    async def splinters(self) -> None:
        """Send a byte a record: what it costs to open one is what it costs."""

        async def send(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number)
            noise = muxed.conn.conn  # type: ignore[attr-defined]  # below it one write is many records
            raw = noise.read_writer.read_write_closer
            while True:
                ping = yamux(PING, ACK, 0, 7) * 400
                records = (noise.noise_state.encrypt(ping[at : at + 1]) for at in range(len(ping)))
                await raw.write(b"".join(len(each).to_bytes(2, "big") + each for each in records))
                self.done["records"] += len(ping)

        await self.over_and_over(4, send)

    # ------------------------------------------------------------ who sends nonsense

    async def garbage(self) -> None:
        """Random bytes, and bytes with one bit flipped, at each layer in turn."""
        layers = (
            self._garbage_tcp,
            self._garbage_noise,
            self._garbage_record,
            self._garbage_yamux,
            self._garbage_streams,
        )

        async def one(number: int) -> None:
            await layers[number % len(layers)](number)

        await self.over_and_over(10, one)

    def _flipped(self, data: bytes) -> bytes:
        position = self.random.randrange(len(data) * 8)
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        return bytes(changed)

    async def _garbage_tcp(self, number: int) -> None:
        async with await self.intruder.socket(number) as stream:
            await stream.send_all(
                self.random.choice(
                    (self.random.randbytes(500), self._flipped(b"\x13/multistream/1.0.0\n\x07/noise\n"))
                )
            )
            await _until_closed(stream)

    async def _garbage_noise(self, number: int) -> None:
        async with await self.intruder.negotiated(number) as stream:
            await stream.send_all(self.random.randbytes(self.random.randrange(1, 400)))
            await _until_closed(stream)

    async def _garbage_record(self, number: int) -> None:
        conn = await self.intruder.as_another().secured(number)
        raw = conn.conn.read_writer.read_write_closer  # type: ignore[attr-defined]  # below the cipher
        await raw.write(b"\x00\x20" + self.random.randbytes(32))
        await conn.close()

    async def _garbage_yamux(self, number: int) -> None:
        muxed = await self.intruder.as_another().muxed(number)
        for _ in range(20):
            await muxed.send(self._flipped(yamux(DATA, SYN, next(muxed.ids), 20) + self.random.randbytes(20)))
        await muxed.send(self.random.randbytes(1000))
        await muxed.conn.close()

    async def _garbage_streams(self, number: int) -> None:
        muxed = await self.intruder.as_another().muxed(number)
        question = encode(find_node(self.random.randbytes(38)))
        for protocol in (self.kad, EXCHANGE, SESSION, LIBP2P_PING, "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0"):
            await muxed.open(protocol, self.random.randbytes(200))
            await muxed.open(protocol, self._flipped(question))
        await trio.sleep(0.05)
        await muxed.conn.close()

    async def cbor(self) -> None:
        """Frames that are too long, nest too deep, or promise more than they hold."""
        bodies = [
            b"\x81" * 16_000,
            b"\xa1\x01" * 8_000,
            b"\x9f" * 16_000,
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xbb\x00\x00\x00\x01\x00\x00\x00\x00",
            b"\x5a\x7f\xff\xff\xff",
            b"\xc2\x59\x3e\x00" + b"\xff" * 15_000,
            b"\x82\x01" + b"\x9a\x00\x00\x3c\x00" + b"\x01" * 15_360,
        ]

        async def send(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(swallow, muxed)
                for protocol in (EXCHANGE, SESSION):
                    for body in bodies:
                        await muxed.open(protocol, len(body).to_bytes(4, "big") + body)
                    await muxed.open(protocol, b"\x7f\xff\xff\xff" + bytes(60_000))
                await trio.sleep(0.05)
                nursery.cancel_scope.cancel()
            await muxed.conn.close()

        await self.over_and_over(6, send)

    # ------------------------------------------------------------ who fills the directory

    async def records(self) -> None:
        """Put valid records of fresh keys, old ones, and ones of others, as fast as they are answered."""

        async def put(number: int) -> None:
            muxed = await self.intruder.as_another().muxed(number)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(swallow, muxed)
                while True:
                    stream = await muxed.open(self.kad)
                    for _ in range(20):
                        await muxed.say(stream, self._put())
                    self.done["records"] += 20
                    await trio.sleep(0.02)
                    await muxed.reset(stream)

        await self.over_and_over(4, put)

    def _put(self) -> bytes:
        identity = Identity.from_seed(self.random.randbytes(32))
        value = signed_record(identity, self.network_name, age_seconds=self.random.choice((0, 0, 7_200)))
        return encode(put_value(KadKeys(self.network_name).record_of(identity.peer_id), value))

    async def providers(self) -> None:
        """Announce proxies that are none: a fresh key each time, and every address that a message holds."""

        async def announce(number: int) -> None:
            intruder = self.intruder.as_another()
            muxed = await intruder.muxed(number % RANGES)
            peer = Identity.from_seed(intruder.keys.private_key.to_bytes()[:32]).peer_id
            await muxed.open(
                self.kad, encode(add_provider(KadKeys(self.network_name).shard_of(peer), Entry(peer, ())))
            )
            while b"\x08\x02" not in await muxed.conn.read(None):
                pass
            self.done["announced"] += 1
            await muxed.conn.close()

        await self.over_and_over(10, announce)


def signed_record(identity: Identity, network_name: str, *, age_seconds: int = 0, sequence: int = 1) -> bytes:
    """Sign a proxy's record as it was due some time ago."""
    network, now = network_id(network_name), time.time() - age_seconds
    statement = make_statement(
        identity, network, role=Role.PROXY, sealing_key=bytes(32), now=now, nonce=bytes(16)
    )
    return encode_signed(
        make_record(
            identity,
            network,
            role=Role.PROXY,
            statement=statement,
            addresses=[],
            models=[],
            now=now,
            sequence=sequence,
        )
    )


async def _until_closed(stream: trio.SocketStream) -> None:
    with trio.move_on_after(1):
        while await stream.receive_some():
            pass


NAMES = (
    "slow_tcp", "slow_multistream", "slow_noise", "slow_muxer", "slow_protocols", "handshakes", "connections",
    "streams", "half_open", "window", "unread_answers", "pings", "splinters", "garbage", "cbor", "records",
    "providers",
)  # fmt: skip


async def _main(name: str, address: str, network_name: str, seconds: str) -> None:
    attack = Attacks(address, network_name)
    with trio.move_on_after(float(seconds)):
        try:
            await getattr(attack, name)()
        except* LOST as lost:
            attack.done["gave up"] += len(lost.exceptions)
    print(json.dumps(attack.done))


if __name__ == "__main__":
    trio.run(_main, *sys.argv[1:])
