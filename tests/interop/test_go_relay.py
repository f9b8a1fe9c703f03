"""Circuit relay v2 with go-libp2p as the relay, as who dials through ours, and as who is dialled."""

import os
from contextlib import AsyncExitStack

import trio

from cocoon_p2p.identity import Identity, peer_id_text
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.relay_server import Relay
from cocoon_p2p.network.libp2p.swarm import is_relayed
from tests.interop.go_peer import go_peer
from tests.network.libp2p.relaying import CLIENT, ECHO, PROXY, open_private, open_relay, say

PUBLIC = "-forceReachabilityPublic"
"Without it the daemon relays for nobody until others have told it that it can be dialled."


PRIVATE = ("-autoRelay", "-dht", "-forceReachabilityPrivate")
RELAYS_THAT_IT_WANTS_TO_KNOW = 4
"With fewer it looks on for three minutes before it reserves."


async def test_its_relay_carries_our_connections() -> None:
    async with (
        go_peer("noise", PUBLIC) as relay,
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        peer = await client.dial(proxy.addresses)
        stream = await client.open_stream(peer, ECHO)

        assert peer == PROXY.peer_id
        assert await say(stream, b"hello" * 10_000) == b"hello" * 10_000
        assert [is_relayed(conn) for conn in client.swarm.open_connections(peer)] == [True]


async def test_it_reaches_us_through_our_relay() -> None:
    async with open_relay() as (relay, _), open_private(relay) as proxy, go_peer() as client:
        await client.connect(PROXY.peer_id, proxy.addresses)
        (conn,) = proxy.swarm.open_connections(client.peer)

        assert is_relayed(conn)
        assert PROXY.peer_id in await client.connected()


async def test_we_reach_it_through_our_relay() -> None:
    async with AsyncExitStack() as nodes:
        relays = [
            await nodes.enter_async_context(open_relay(Identity.from_seed(bytes([number]) * 32)))
            for number in range(RELAYS_THAT_IT_WANTS_TO_KNOW)
        ]
        addresses = ",".join(node.addresses[0] for node, _ in relays)
        proxy = await nodes.enter_async_context(go_peer("noise", *PRIVATE, f"-trustedRelays={addresses}"))
        client = await nodes.enter_async_context(open_transport(CLIENT, punches_holes=False))
        relay = await one_with_a_reservation(relays)
        peer = await client.dial([f"{relay.addresses[0]}/p2p-circuit/p2p/{peer_id_text(proxy.peer)}"])
        stream = await client.open_stream(peer, "/ipfs/ping/1.0.0")
        payload = os.urandom(32)

        assert peer == proxy.peer
        assert await say(stream, payload) == payload
        assert [is_relayed(conn) for conn in client.swarm.open_connections(peer)] == [True]


async def one_with_a_reservation(relays: list[tuple[Libp2pTransport, Relay]]) -> Libp2pTransport:
    """Wait until the daemon has reserved with one of them."""
    with trio.fail_after(60):
        while True:
            for node, relay in relays:
                if relay.book.reservations:
                    return node
            await trio.sleep(0.05)
