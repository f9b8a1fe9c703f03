"""Ports forwarded by a router, over real SSDP and SOAP; the router is `igd`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p import upnp
from cocoon_p2p.network.libp2p.announced import Announced
from cocoon_p2p.network.libp2p.upnp import gateway, keep_mapped, wants_mapping
from tests.network.libp2p.igd import Router, open_router

WITHIN_SECONDS = 60.0
PORT = 4001

pytestmark = pytest.mark.slow


def node(*listening: str) -> Announced:
    announced = Announced(Identity.from_seed(bytes(32)).peer_id)
    announced.offer("listening", listening)
    return announced


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upnp, "SEARCH_SECONDS", 0.3)
    monkeypatch.setattr(upnp, "RETRY_SECONDS", 0.05)


@asynccontextmanager
async def mapping(announced: Announced) -> AsyncIterator[None]:
    """Keep a node's ports forwarded during the block, by the router on loopback."""
    with trio.fail_after(WITHIN_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_mapped, announced, partial(gateway, "127.0.0.1"))
            yield
            nursery.cancel_scope.cancel()


async def wait_offered(announced: Announced) -> tuple[str, ...]:
    while not announced.offered("upnp"):
        await announced.candidates_changed.wait()
    return announced.offered("upnp")


@pytest.fixture
async def home() -> Announced:
    return node(f"/ip4/127.0.0.1/tcp/{PORT}")


async def test_a_router_forwards_our_port_while_we_run(home: Announced) -> None:
    router = Router()
    async with open_router(router):
        async with mapping(home):
            assert await wait_offered(home) == (f"/ip4/5.9.7.7/tcp/{PORT}",)
            assert router.forwarded == {PORT: ("127.0.0.1", PORT, upnp.LEASE_SECONDS)}

        assert router.forwarded == {}
        assert home.offered("upnp") == ()


async def test_a_lease_is_renewed_before_it_ends(home: Announced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upnp, "LEASE_SECONDS", 1)
    router = Router()
    async with open_router(router), mapping(home):
        while router.renewals < 2:
            await router.changed.wait()

        assert list(router.forwarded) == [PORT]


async def test_a_port_that_another_machine_has_is_not_taken_from_it(home: Announced) -> None:
    router = Router(reserved={PORT})
    async with open_router(router), mapping(home):
        (outside,) = await wait_offered(home)

        assert outside != f"/ip4/5.9.7.7/tcp/{PORT}"
        (forwarded,) = router.forwarded
        assert outside == f"/ip4/5.9.7.7/tcp/{forwarded}"
        assert router.forwarded[forwarded][:2] == ("127.0.0.1", PORT)


async def test_a_router_that_knows_no_leases_forwards_until_we_stop(home: Announced) -> None:
    router = Router(knows_leases=False)
    async with open_router(router):
        async with mapping(home):
            await wait_offered(home)
            assert router.forwarded[PORT][2] == 0

        assert router.forwarded == {}


async def test_the_port_that_was_given_instead_is_kept(
    home: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upnp, "LEASE_SECONDS", 1)
    router = Router(reserved={PORT})
    async with open_router(router):
        async with mapping(home):
            while router.renewals < 1:
                await router.changed.wait()
            assert len(router.forwarded) == 1

        assert router.forwarded == {}


@pytest.mark.parametrize("outside", ["10.0.0.1", "100.64.1.1", "0.0.0.0", "nonsense", ""])
async def test_a_router_behind_another_one_is_of_no_use(
    home: Announced, outside: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", upnp.__name__)
    router = Router(outside=outside)
    async with open_router(router), mapping(home):
        while not (caplog.records and router.questions):  # noqa: ASYNC110  (a look)
            await trio.sleep(0.02)

    why = str(vars(caplog.records[-1])["why"])
    assert why.startswith(("the router is behind another one", "no router answers"))
    assert router.forwarded == {}
    assert router.questions


async def test_a_router_that_appears_later_is_found(home: Announced) -> None:
    async with mapping(home):
        await trio.sleep(0.5)
        async with open_router(Router()):
            assert await wait_offered(home)


async def test_a_router_that_never_answers_holds_nobody_up(
    home: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upnp, "CALL_SECONDS", 1.0)
    monkeypatch.setattr(upnp, "TAKE_BACK_SECONDS", 0.5)
    async with open_router(Router(is_silent=True)), mapping(home):
        await trio.sleep(1.5)

    assert home.offered("upnp") == ()


def test_only_a_node_behind_a_router_wants_a_port_forwarded() -> None:
    assert wants_mapping(node("/ip4/192.168.1.5/tcp/4001", "/ip4/127.0.0.1/tcp/4001"))
    assert not wants_mapping(node("/ip4/127.0.0.1/tcp/4001"))
    assert not wants_mapping(node("/ip4/192.168.1.5/tcp/4001", "/ip4/5.9.1.2/tcp/4001"))
    assert not wants_mapping(node("/ip6/fd00::5/tcp/4001"))
    assert not wants_mapping(node())

    forwarded = node("/ip4/192.168.1.5/tcp/4001")
    forwarded.offer("configured", ["/ip4/5.9.1.2/tcp/4001"])
    assert not wants_mapping(forwarded)
