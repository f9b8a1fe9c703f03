"""AutoNAT v2 with js-libp2p (@libp2p/autonat-v2), as the one that asks and as the one that dials.

Neither side dials private addresses for others, so each test has a router of its own: a public address
that leads to loopback.
"""

import pytest
import trio

from cocoon_p2p.identity import PeerId, parse_peer_id
from cocoon_p2p.network.libp2p import autonat_server
from cocoon_p2p.network.libp2p.addresses import Address, parse_address
from cocoon_p2p.network.libp2p.autonat_client import open_autonat_client
from cocoon_p2p.network.libp2p.autonat_server import AutonatServer, dial_back_once
from cocoon_p2p.network.libp2p.autonat_wire import DIAL_REQUEST, DialStatus
from tests.interop.scene import ANSWER_SECONDS, JsPeer, js_peer, our_node

OUTSIDE = Address("ip4", "5.9.7.7", 4001)


async def wait_verified(js: JsPeer, address: Address) -> None:
    with trio.fail_after(ANSWER_SECONDS):
        while not (await js.tell("verified")).get(str(address)):  # noqa: ASYNC110  (each look is a question)
            await trio.sleep(0.1)


@pytest.fixture(autouse=True)
def routes_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def has_route(_host: str) -> bool:
        return True

    monkeypatch.setattr(autonat_server, "has_route", has_route)


async def test_js_reaches_us_and_proves_it() -> None:
    async with our_node() as node, open_autonat_client(node) as client:
        here = parse_address(node.addresses[0])[0]
        async with js_peer(autonat={"forwarded": {str(OUTSIDE): str(here)}}) as js:
            await node.dial(js.addresses)

            assert await client.ask(parse_peer_id(js.peer), OUTSIDE) is True


async def test_js_does_not_reach_us_where_nobody_is() -> None:
    async with (
        our_node() as node,
        open_autonat_client(node) as client,
        js_peer(autonat={"forwarded": {str(OUTSIDE): "/ip4/127.0.0.1/tcp/1"}}) as js,
    ):
        await node.dial(js.addresses)

        assert await client.ask(parse_peer_id(js.peer), OUTSIDE) is False


async def test_js_believes_that_we_reached_it() -> None:
    dialled = list[Address]()
    async with our_node() as node, js_peer(autonat={"mapped": [OUTSIDE.host, OUTSIDE.port]}) as js:
        behind = parse_address(js.addresses[0])[0]

        async def through_the_router(address: Address, peer: PeerId, nonce: int) -> DialStatus:
            dialled.append(address)
            return await dial_back_once(behind, peer, nonce)

        node.accept_streams(DIAL_REQUEST, AutonatServer(node, through_the_router).accept)
        assert not (await js.tell("verified"))[str(OUTSIDE)]
        await js.tell("dial", address=node.addresses[0])

        await wait_verified(js, OUTSIDE)
        assert dialled == [OUTSIDE]
