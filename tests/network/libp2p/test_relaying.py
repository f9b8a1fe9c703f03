"""Nodes that reach each other through a relay, on loopback."""

from collections.abc import AsyncIterator

import pytest
import trio

from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.libp2p.swarm import is_relayed
from tests.network.libp2p.relaying import (
    CLIENT,
    ECHO,
    PROXY,
    RELAY,
    open_private,
    open_relay,
    say,
    until_direct,
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
async def _nothing_may_hang() -> AsyncIterator[None]:
    with trio.fail_after(60):
        yield


async def test_a_node_that_nobody_can_dial_is_reached_through_its_relay() -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        assert all(f"{peer_id_text(RELAY.peer_id)}/p2p-circuit/p2p/" in text for text in proxy.addresses)
        peer = await client.dial(proxy.addresses)
        stream = await client.open_stream(peer, ECHO)

        assert peer == PROXY.peer_id
        assert await say(stream, b"hello" * 100_000) == b"hello" * 100_000
        assert [is_relayed(conn) for conn in client.swarm.open_connections(peer)] == [True]
        assert [is_relayed(conn) for conn in proxy.swarm.open_connections(CLIENT.peer_id)] == [True]


async def test_a_relayed_connection_becomes_direct_and_its_streams_go_on() -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay, punches_holes=True) as proxy,
        open_transport(CLIENT) as client,
    ):
        await client.dial(proxy.addresses)
        early = await client.open_stream(PROXY.peer_id, ECHO)
        assert await say(early, b"before") == b"before"
        await until_direct(client, PROXY)
        await until_direct(proxy, CLIENT)
        late = await client.open_stream(PROXY.peer_id, ECHO)

        assert early.is_relayed
        assert not late.is_relayed
        assert await say(early, b"after") == b"after"
        assert await say(late, b"direct") == b"direct"
