"""Nodes that find out by themselves where others reach them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.network.libp2p import autonat_server, reachability_check
from cocoon_p2p.network.libp2p.addresses import Address, parse_address
from cocoon_p2p.network.libp2p.announced import Announced
from cocoon_p2p.network.libp2p.autonat_wire import (
    DIAL_REQUEST,
    DialResponse,
    DialStatus,
    ResponseStatus,
    encode,
    receive,
)
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.reachability_check import ReachabilityCheck, open_reachability
from cocoon_p2p.network.transport import Stream

NODE, *SERVERS = (Identity.from_seed(bytes([number]) * 32) for number in range(1, 6))
LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]
WITHIN_SECONDS = 60.0

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever fails is answered soon, and doubts are settled soon."""
    monkeypatch.setattr(autonat_server, "DIAL_SECONDS", 1.0)
    for name in ("SETTLE_SECONDS", "LOOK_SECONDS", "DOUBT_SECONDS", "CHECK_FIRST_SECONDS"):
        monkeypatch.setattr(reachability_check, name, 0.05)


@asynccontextmanager
async def network(
    honest: int = 1, liars: int = 0, *, announce: Sequence[str] = ()
) -> AsyncIterator[tuple[Libp2pTransport, ReachabilityCheck]]:
    """A node that checks itself, among servers that it dials."""
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(WITHIN_SECONDS))
        servers = list[Libp2pTransport]()
        for number, identity in enumerate(SERVERS[: honest + liars]):
            server = await stack.enter_async_context(open_transport(identity, listen=LOOPBACK))
            if number < honest:
                await stack.enter_async_context(open_reachability(server, is_server=True))
            else:
                server.accept_streams(DIAL_REQUEST, _say_missed)
            servers.append(server)
        node = await stack.enter_async_context(open_transport(NODE, listen=LOOPBACK, announce=announce))
        check = await stack.enter_async_context(open_reachability(node, is_server=False, tries_loopback=True))
        for server in servers:
            await node.dial(server.addresses)
        yield node, check


async def _say_missed(stream: Stream) -> None:
    await receive(stream)
    await stream.write(encode(DialResponse(ResponseStatus.OK, 0, DialStatus.DIAL_ERROR)))
    await stream.close_write()


async def wait_known(announced: Announced) -> str:
    while announced.reachability == "unknown":
        await announced.reachability_changed.wait()
    return announced.reachability


async def test_a_node_that_can_be_dialled_finds_out_and_goes_on_telling_its_address() -> None:
    async with network() as (node, check):
        before = node.addresses

        assert await wait_known(node.announced) == "public"
        assert node.addresses == before
        view = check.view()
        assert [(seen.reached_by, seen.missed_by) for seen in view.seen] == [(1, 0)]
        assert view.observed == ("127.0.0.1",)
        assert view.advice == ""


async def test_a_node_whose_announced_address_leads_nowhere_is_told_what_to_do() -> None:
    async with network(announce=["/ip4/127.0.0.1/tcp/1"]) as (node, check):
        assert await wait_known(node.announced) == "private"
        assert "others cannot dial what `announce` says" in check.view().advice


async def test_one_server_that_lies_is_outvoted_by_two_that_do_not() -> None:
    async with network(honest=2, liars=1) as (node, check):
        (address,) = node.announced.candidates
        while check.view().seen[0].missed_by + check.view().seen[0].reached_by < 3:  # noqa: ASYNC110  (a look)
            await trio.sleep(0.05)

        assert node.announced.reachability == "public"
        assert node.announced.confirmed == (address,)


async def test_strangers_who_dial_us_and_say_that_they_cannot_are_not_believed() -> None:
    asked = 0

    async def say_missed(stream: Stream) -> None:
        nonlocal asked
        await _say_missed(stream)
        asked += 1

    async with network(honest=0) as (node, _), AsyncExitStack() as stack:
        for identity in SERVERS:
            server = await stack.enter_async_context(open_transport(identity, listen=LOOPBACK))
            server.accept_streams(DIAL_REQUEST, say_missed)
            await server.dial(node.addresses)
        while asked < 4 * len(SERVERS):  # noqa: ASYNC110  (a look)
            await trio.sleep(0.05)

        assert node.announced.reachability == "unknown"
        assert node.addresses


async def test_a_check_that_breaks_does_not_end_the_node(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down(_check: ReachabilityCheck) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("a bug")

    monkeypatch.setattr(ReachabilityCheck, "run", break_down)
    async with network(honest=0) as (node, _):
        while not caplog.records:  # noqa: ASYNC110  (a look)
            await trio.sleep(0.01)

        assert node.addresses
    assert "not looked after any more" in caplog.text


async def test_nobody_is_asked_about_loopback_unless_a_test_says_so() -> None:
    asked = trio.Event()

    async def note(_stream: Stream) -> None:
        asked.set()
        await trio.lowlevel.checkpoint()

    with trio.fail_after(WITHIN_SECONDS):
        async with (
            open_transport(SERVERS[0], listen=LOOPBACK) as server,
            open_transport(NODE, listen=LOOPBACK) as node,
        ):
            server.accept_streams(DIAL_REQUEST, note)
            async with open_reachability(node, is_server=False):
                await node.dial(server.addresses)
                while not node.host.is_known_to_speak(server.peer_id, DIAL_REQUEST):  # noqa: ASYNC110  (a look)
                    await trio.sleep(0.01)
                await trio.sleep(0.5)

            assert not asked.is_set()


async def test_peers_learn_a_new_address_without_asking_again() -> None:
    elsewhere = Address("ip4", "127.0.0.1", 2)
    async with network() as (node, _):
        await wait_known(node.announced)
        async with open_transport(SERVERS[-1], listen=LOOPBACK) as peer:
            await peer.dial(node.addresses)
            await _until_known(peer, NODE.peer_id, parse_address(node.addresses[0])[0])

            node.announced.offer("configured", [str(elsewhere)])

            await _until_known(peer, NODE.peer_id, elsewhere)


async def _until_known(transport: Libp2pTransport, peer: PeerId, address: Address) -> None:
    while address not in transport.swarm.known_addresses(peer):  # noqa: ASYNC110  (libp2p tells nobody)
        await trio.sleep(0.02)
