"""A relay and nodes that it serves, on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.addresses import parse_address
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.relay_book import RelayLimits
from cocoon_p2p.network.libp2p.relay_client import RelayClient
from cocoon_p2p.network.libp2p.relay_server import Relay
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.nursery import open_service_nursery

ECHO = "/test/echo/1"
LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]
RELAY = Identity.from_seed(b"\x51" * 32)
OTHER_RELAY = Identity.from_seed(b"\x52" * 32)
PROXY = Identity.from_seed(b"\x53" * 32)
CLIENT = Identity.from_seed(b"\x54" * 32)


async def echo(stream: Stream) -> None:
    while data := await stream.read(65536):
        await stream.write(data)
    await stream.close_write()


@asynccontextmanager
async def open_relay(
    identity: Identity = RELAY, limits: RelayLimits | None = None
) -> AsyncIterator[tuple[Libp2pTransport, Relay]]:
    """A node that relays."""
    async with open_transport(identity, listen=LOOPBACK) as transport:
        yield transport, Relay(transport, identity, limits or RelayLimits())


@asynccontextmanager
async def open_private(
    *relays: Libp2pTransport, identity: Identity = PROXY, punches_holes: bool = False
) -> AsyncIterator[Libp2pTransport]:
    """A node of which others say that they cannot dial it; it has reserved with the relays."""
    async with (
        open_transport(identity, listen=LOOPBACK, punches_holes=punches_holes) as transport,
        open_service_nursery() as nursery,
    ):
        transport.accept_streams(ECHO, echo)
        addresses = [address for relay in relays for address in relay.addresses]
        nursery.start_soon(RelayClient(transport, addresses).run)
        judge_unreachable(transport)
        while len(transport.addresses) < len(relays):
            await transport.addresses_changed.wait()
        yield transport


def judge_unreachable(transport: Libp2pTransport) -> None:
    """Have others say that they cannot dial a node."""
    listening = transport.announced.offered("listening")
    transport.announced.judge({parse_address(text)[0]: False for text in listening})


async def say(stream: Stream, text: bytes) -> bytes:
    """Write on an echoing stream, and give what comes back."""
    await stream.write(text)
    answer = b""
    while len(answer) < len(text):
        piece = await stream.read(65536)
        assert piece, "the stream ended"
        answer += piece
    return answer


async def until_direct(transport: Libp2pTransport, peer: Identity) -> None:
    """Wait until a connection stands that needs no relay."""
    with trio.fail_after(30):
        await transport.swarm.wait_direct(peer.peer_id)
