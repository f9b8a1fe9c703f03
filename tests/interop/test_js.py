"""js-libp2p as a peer that nobody here wrote: what it and a node of ours say to each other."""

import json
import os
import time

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import parse_peer_id, peer_id_text
from tests.interop.scene import (
    ECHO,
    MEGABYTES,
    SINK,
    SOURCE,
    US,
    drink,
    js_peer,
    our_node,
    pour,
    read_all,
    streams_of,
)

US_TEXT = peer_id_text(US.peer_id)
SECURED = pytest.mark.parametrize("security", ["noise", "tls"])


@SECURED
async def test_it_dials_us_and_both_learn_who_the_other_is(security: str) -> None:
    async with our_node() as node, js_peer(security) as js:
        connection = await js.tell("dial", address=node.addresses[0])
        echoed = await js.tell("echo", peer=US_TEXT, text="hello from js")
        pinged = await js.tell("ping", peer=US_TEXT)
        known = await js.tell("identified", peer=US_TEXT)

        assert connection == {
            "encryption": f"/{security}" + "/1.0.0" * (security == "tls"),
            "multiplexer": "/yamux/1.0.0",
        }
        assert echoed == {"text": "hello from js"}
        assert pinged["milliseconds"] < 10_000
        assert {ECHO, "/ipfs/ping/1.0.0"} <= set(known["protocols"])
        assert [address for address in known["addresses"] if address in node.addresses[0]]
        assert node.is_connected(parse_peer_id(js.peer))


@SECURED
async def test_we_dial_it_and_ping_it(security: str) -> None:
    async with our_node() as node, js_peer(security) as js:
        peer = await node.dial(js.addresses)
        stream = await node.open_stream(peer, ECHO)
        await stream.write(b"hello from python")
        await stream.close_write()
        ping = await node.open_stream(peer, "/ipfs/ping/1.0.0")
        payload = os.urandom(32)
        await ping.write(payload)

        assert await read_all(stream) == b"hello from python"
        assert await ping.read(32) == payload
        assert peer_id_text(peer) == js.peer


@SECURED
async def test_what_it_sends_arrives_whole(security: str) -> None:
    async with our_node() as node, js_peer(security) as js:
        await js.tell("dial", address=node.addresses[0])
        begun = time.perf_counter()
        done = await js.tell("send", peer=US_TEXT, size=MEGABYTES << 20)
        print(f"js -> ours, {security}: {MEGABYTES / (time.perf_counter() - begun):.0f} MiB/s")

    assert done["received"] == {"size": MEGABYTES << 20, "hash": done["sent"]}


@SECURED
async def test_what_we_send_arrives_whole(security: str) -> None:
    async with our_node() as node, js_peer(security) as js:
        stream = await node.open_stream(await node.dial(js.addresses), SINK)
        begun = time.perf_counter()
        sent = await pour(stream, MEGABYTES << 20)
        received = json.loads(await read_all(stream))
        print(f"ours -> js, {security}: {MEGABYTES / (time.perf_counter() - begun):.0f} MiB/s")

    assert received == {"size": MEGABYTES << 20, "hash": sent}


@SECURED
async def test_streams_that_it_cancels_in_the_middle_cost_no_connection(security: str) -> None:
    async with our_node() as node, js_peer(security) as js:
        await js.tell("dial", address=node.addresses[0])
        # Its handshake may end before ours does: what we answer on it, we have.
        await js.tell("echo", peer=US_TEXT, text="here")
        (conn,) = node.swarm.open_connections(parse_peer_id(js.peer))
        await js.tell("cancel", peer=US_TEXT, count=100)

        assert await js.tell("echo", peer=US_TEXT, text="alive") == {"text": "alive"}
        assert await js.tell("connections", peer=US_TEXT) == {"open": 1}
        assert node.swarm.open_connections(parse_peer_id(js.peer)) == [conn]


@SECURED
@pytest.mark.parametrize("call", ["open", "read", "write"])
async def test_what_we_cancel_in_the_middle_costs_no_connection(call: str, security: str) -> None:
    async with our_node() as node, js_peer(security) as js:
        peer = await node.dial(js.addresses)
        (conn,) = node.swarm.open_connections(peer)
        for number in range(100):
            stream = (
                None if call == "open" else await node.open_stream(peer, SOURCE if call == "read" else SINK)
            )
            with trio.move_on_after(number * 0.00002):
                if stream is None:
                    stream = await node.open_stream(peer, ECHO)
                elif call == "read":
                    await stream.write(b"100000000")
                    await drink(stream)
                else:
                    await stream.write(bytes(1_000_000))
            if stream is not None:
                stream.reset()

        alive = await node.open_stream(peer, ECHO)
        await alive.write(b"alive")
        assert await alive.read(5) == b"alive"
        assert node.swarm.open_connections(peer) == [conn]


async def test_an_unheard_of_protocol_is_refused_at_either_end_and_the_connection_lives() -> None:
    async with our_node() as node, js_peer() as js:
        peer = await node.dial(js.addresses)
        with pytest.raises(Unavailable, match="/unheard/of/1"):
            await node.open_stream(peer, "/unheard/of/1")

        assert await js.tell("echo", peer=US_TEXT, text="alive") == {"text": "alive"}


async def test_its_flood_of_streams_is_bounded_and_others_are_served() -> None:
    async with our_node() as node, js_peer() as flooder, js_peer() as honest:
        await flooder.tell("dial", address=node.addresses[0])
        await honest.tell("dial", address=node.addresses[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: flooder.tell("flood", peer=US_TEXT, count=5_000))
            for number in range(20):
                assert await honest.tell("echo", peer=US_TEXT, text=str(number)) == {"text": str(number)}
        await wait_all_tasks_blocked(0.05)

        # One more may stand until its reset is through.
        with trio.fail_after(60):
            while streams_of(node, parse_peer_id(flooder.peer)) > 512:  # noqa: ASYNC110  there is no event
                await trio.sleep(0.02)
