"""Whose router is asked to forward a port, and what a person who starts a node is told of being reached."""

import pytest
import trio
import trio.testing

from cocoon_p2p.config import NetworkSection
from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p import reachability_check
from cocoon_p2p.network.libp2p.addresses import parse_address
from cocoon_p2p.network.libp2p.announced import Announced
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.node.reaching import open_reach, tell_reachability
from cocoon_p2p.node.steps import open_steps

NODE = Identity.from_seed(bytes(32))
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
HOME = "/ip4/192.168.1.5/tcp/4001"
PUBLIC = "/ip4/203.0.113.7/tcp/4001"


@pytest.mark.parametrize(
    ("listening", "upnp", "is_server", "is_asked"),
    [
        (HOME, None, True, True),
        (HOME, None, False, False),
        (HOME, False, True, False),
        (HOME, True, False, True),
        (PUBLIC, None, True, False),
        (PUBLIC, True, True, True),
        ("/ip4/127.0.0.1/tcp/4001", None, True, False),
    ],
)
async def test_the_router_is_asked_by_who_needs_it_or_says_so(
    monkeypatch: pytest.MonkeyPatch, listening: str, upnp: bool | None, is_server: bool, is_asked: bool
) -> None:
    asked = list[Announced]()

    async def keep_mapped(announced: Announced) -> None:
        asked.append(announced)
        await trio.sleep_forever()

    monkeypatch.setattr(reachability_check, "keep_mapped", keep_mapped)
    network = NetworkSection(name="test", upnp=upnp)
    async with open_transport(NODE, listen=[LOOPBACK]) as transport:
        transport.announced.offer("listening", [listening])
        async with open_reach(transport, network, is_server=is_server):
            await trio.testing.wait_all_tasks_blocked()

    assert bool(asked) is is_asked


async def test_a_person_is_told_that_nobody_gets_in_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability_check, "RELAY_SECONDS", 0.01)
    send, told = trio.open_memory_channel[dict[str, object]](8)

    def announce(step: str, **facts: object) -> None:
        send.send_nowait({"step": step, **facts})

    with trio.fail_after(30):
        async with (
            open_transport(NODE, listen=[LOOPBACK]) as transport,
            open_reach(transport, NetworkSection(name="test"), is_server=False) as reach,
            open_steps(announce) as steps,
            trio.open_nursery() as nursery,
        ):
            announced = transport.announced
            announced.offer("listening", [HOME])
            announced.offer("observed", [PUBLIC])
            nursery.start_soon(tell_reachability, reach, steps)

            announced.judge({parse_address(PUBLIC)[0]: False})
            private = await told.receive()
            announced.judge({parse_address(PUBLIC)[0]: True})
            public = await told.receive()
            nursery.cancel_scope.cancel()

    assert (private["step"], private["state"]) == ("reachability", "private")
    assert (private["status"], private["way"]) == ("failed", "nobody")
    assert "forward TCP port 4001 to this machine (192.168.1.5)" in str(private["advice"])
    assert private["hint"] == private["advice"]
    assert (public["state"], public["way"], public["advice"]) == ("public", "direct", "")
    assert str(public["addresses"]).startswith(f"['{PUBLIC}/p2p/")
