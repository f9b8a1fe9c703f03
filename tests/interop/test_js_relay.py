"""Circuit relay v2 with js-libp2p: as the relay between nodes of ours, and at either end of ours."""

from cocoon_p2p.identity import Identity, parse_peer_id, peer_id_text
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.relay_client import RelayClient
from cocoon_p2p.network.libp2p.swarm import is_relayed
from cocoon_p2p.nursery import open_service_nursery
from tests.interop.scene import ECHO, JsPeer, js_peer, our_node, read_all
from tests.interop.test_js import SECURED
from tests.network.libp2p.relaying import judge_unreachable, open_relay

CLIENT = Identity.from_seed(b"\x56" * 32)


async def wait_relayed(node: Libp2pTransport) -> None:
    """Have others say that they cannot dial a node, and wait until it is reached through a relay."""
    judge_unreachable(node)
    while not any("/p2p-circuit" in text for text in node.addresses):
        await node.addresses_changed.wait()


async def echoed(node: Libp2pTransport, js: JsPeer, text: bytes) -> bytes:
    stream = await node.open_stream(parse_peer_id(js.peer), ECHO)
    await stream.write(text)
    await stream.close_write()
    return await read_all(stream)


@SECURED
async def test_it_reserves_with_our_relay_and_we_reach_it_there(security: str) -> None:
    async with (
        open_relay() as (relay, served),
        js_peer(security, relaying=True, through=relay.addresses[0]) as js,
        open_transport(CLIENT) as node,
    ):
        circuits = (await js.tell("circuits"))["addresses"]
        await node.dial(circuits)

        assert await echoed(node, js, b"hello through ours" * 1000) == b"hello through ours" * 1000
        assert [is_relayed(each) for each in node.swarm.open_connections(parse_peer_id(js.peer))] == [True]
        assert await js.tell("limited", peer=peer_id_text(CLIENT.peer_id)) == {"limited": [True]}
        assert (served.book.reservations, served.book.circuits) == (1, 1)


@SECURED
async def test_it_reaches_us_through_our_relay(security: str) -> None:
    async with (
        open_relay() as (relay, _),
        our_node() as node,
        open_service_nursery() as nursery,
        js_peer(security, relaying=True, through=relay.addresses[0]) as js,
    ):
        nursery.start_soon(RelayClient(node, relay.addresses).run)
        await wait_relayed(node)
        await js.tell("dial", address=node.addresses[0])

        us = peer_id_text(node.peer_id)
        assert await js.tell("echo", peer=us, text="hello from js") == {"text": "hello from js"}
        assert True in (await js.tell("limited", peer=us))["limited"]


@SECURED
async def test_its_relay_passes_us_on_to_each_other(security: str) -> None:
    async with (
        js_peer(security, relaying=True) as js,
        our_node() as node,
        open_transport(CLIENT, punches_holes=False) as client,
        open_service_nursery() as nursery,
    ):
        nursery.start_soon(RelayClient(node, js.addresses).run)
        await wait_relayed(node)
        await client.dial(node.addresses)
        stream = await client.open_stream(node.peer_id, ECHO)
        await stream.write(b"hello through js" * 1000)
        await stream.close_write()

        assert await read_all(stream) == b"hello through js" * 1000
        (conn,) = client.swarm.open_connections(node.peer_id)
        relayed = client.relayed.find(conn)
        assert relayed is not None
        # Two minutes: js-libp2p says milliseconds where the specification has seconds.
        assert relayed.limit.seconds in (120, 120_000)
        assert relayed.limit.size_bytes == 1 << 17


async def test_two_of_it_reach_us_through_a_third() -> None:
    async with (
        js_peer(relaying=True) as relay,
        our_node() as node,
        open_service_nursery() as nursery,
        js_peer(relaying=True, through=relay.addresses[0]) as dialler,
    ):
        nursery.start_soon(RelayClient(node, relay.addresses).run)
        await wait_relayed(node)
        await dialler.tell("dial", address=node.addresses[0])

        us = peer_id_text(node.peer_id)
        assert await dialler.tell("echo", peer=us, text="hello") == {"text": "hello"}
