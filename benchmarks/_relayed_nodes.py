"""The nodes of `relayed.py`: a relay, and one that is reached through it; each in a process of its own.

    python benchmarks/_relayed_nodes.py relay
    python benchmarks/_relayed_nodes.py target ADDRESS-OF-THE-RELAY

Each prints its addresses as a line of JSON and runs until its input ends.
"""

import json
import sys

import trio

from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.addresses import parse_address
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.libp2p.relay_book import RelayLimits
from cocoon_p2p.network.libp2p.relay_client import RelayClient
from cocoon_p2p.network.libp2p.relay_server import Relay
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.nursery import open_service_nursery

ECHO = "/bench/echo/1"
SINK = "/bench/sink/1"
LISTEN = ["/ip4/127.0.0.1/tcp/0"]
NO_LIMITS = RelayLimits(circuit_seconds=0xFFFFFFFF, circuit_bytes=1 << 60, circuit_bytes_per_second=1 << 40)
"What is measured is the way, not what an operator allows on it."


async def echo(stream: Stream) -> None:
    while data := await stream.read(65536):
        await stream.write(data)


async def sink(stream: Stream) -> None:
    while await stream.read(1 << 20):
        pass
    await stream.write(b".")
    await stream.close_write()


async def relay() -> None:
    identity = Identity.from_seed(b"\x61" * 32)
    async with open_transport(identity, listen=LISTEN) as transport:
        Relay(transport, identity, NO_LIMITS)
        await stay({"relay": transport.addresses})


async def target(relay_address: str) -> None:
    identity = Identity.from_seed(b"\x62" * 32)
    async with (
        open_transport(identity, listen=LISTEN, punches_holes=False) as transport,
        open_service_nursery() as nursery,
    ):
        for protocol, acceptor in ((ECHO, echo), (SINK, sink)):
            transport.accept_streams(protocol, acceptor)
        direct = transport.addresses
        nursery.start_soon(RelayClient(transport, [relay_address]).run)
        transport.announced.judge({parse_address(text.partition("/p2p/")[0])[0]: False for text in direct})
        while not any("/p2p-circuit" in text for text in transport.addresses):
            await transport.addresses_changed.wait()
        await stay({"direct": direct, "relayed": transport.addresses})


async def stay(addresses: dict[str, tuple[str, ...]]) -> None:
    print(json.dumps(addresses), flush=True)
    await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    if sys.argv[1] == "relay":
        trio.run(relay)
    else:
        trio.run(target, sys.argv[2])
