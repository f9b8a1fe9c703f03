"""A proxy in a home: it learns that nobody can dial it, is reached through a relay, and then directly."""

from pathlib import Path

import trio

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.testing.processes import NodeProcess
from tests.nat.lab import Lab, Place
from tests.nat.rules import Nat
from tests.nat.scene import (
    FOUND_SECONDS,
    HELLO,
    MODEL,
    PORT,
    Overlay,
    connected_to,
    home,
    open_overlay,
    wait_connected,
    wait_logged,
    wait_offered,
    wait_reachable,
)

EVERYWHERE = [f"/ip4/0.0.0.0/tcp/{PORT}"]

SELLER, BUYER = "198.51.101.7", "198.51.102.7"
"The outermost addresses of the homes 1 and 2."

TOKENS = 1000


async def begin(overlay: Overlay, proxy_at: Place) -> NodeProcess:
    """A proxy that listens at a place, and a worker in the open that has found it."""
    proxy = await overlay.start("proxy", proxy_at, listen=EVERYWHERE)
    worker = await overlay.start(
        "worker", overlay.lab.add("worker", "192.0.2.11"), {"model": "demo", "measure_seconds": 0}
    )
    await worker.wait_for("ready")
    return proxy


async def test_a_proxy_in_a_home_is_reached_through_a_relay_then_directly_and_the_answer_goes_on(
    lab: Lab, tmp_path: Path
) -> None:
    async with open_overlay(lab, tmp_path) as overlay:
        proxy = await begin(overlay, home(lab, 1))
        async with overlay.client_at(buyer := home(lab, 2)) as client:
            await wait_offered(client)
            with trio.fail_after(FOUND_SECONDS):
                async with client.chat(MODEL, HELLO, ignore_eos=True, completion_tokens_max=TOKENS) as answer:
                    with lab.cut(SELLER, BUYER):
                        await anext(answer)
                        assert SELLER not in connected_to(buyer)
                    was_direct = False
                    async for _piece in answer:
                        # Slowly, until they have met: the answer is to be under way by then.
                        if not was_direct:
                            await trio.sleep(0.1)
                            was_direct = SELLER in connected_to(buyer)
        told = await wait_reachable(proxy, "private")

    assert was_direct
    assert answer.usage.completion == TOKENS
    assert "/p2p-circuit/" in told["addresses"][0]
    assert f"forward TCP port {PORT} to this machine" in told["advice"]
    assert "192.168.1.2" in told["advice"]
    books = await who_paid_whom(tmp_path, list(overlay.nodes))
    assert books.faults == ()
    assert -books.earned("client") == answer.cost


async def test_between_symmetric_routers_no_hole_is_punched_and_the_relay_goes_on(
    lab: Lab, tmp_path: Path
) -> None:
    async with open_overlay(lab, tmp_path) as overlay:
        overlay.log_level = "debug"
        proxy = await begin(overlay, home(lab, 1, nat=Nat.SYMMETRIC))
        async with overlay.client_at(buyer := home(lab, 2, nat=Nat.SYMMETRIC)) as client:
            await wait_offered(client)
            with trio.fail_after(FOUND_SECONDS):
                async with client.chat(MODEL, HELLO) as before:
                    assert await before.read()
                await wait_logged(proxy, "hole not punched")
                async with client.chat(MODEL, HELLO) as after:
                    assert await after.read()
            assert SELLER not in connected_to(buyer)

    books = await who_paid_whom(tmp_path, list(overlay.nodes))
    assert books.faults == ()
    assert -books.earned("client") == before.cost + after.cost


async def test_a_proxy_with_a_forwarded_port_finds_out_that_it_is_public_and_where(
    lab: Lab, tmp_path: Path
) -> None:
    router = lab.add("router", SELLER, nat=Nat.PORT_PRESERVING)
    inside = lab.add("inside", "192.168.1.2", behind=router)
    lab.forward_port(router, PORT, inside)
    async with open_overlay(lab, tmp_path) as overlay:
        proxy = await begin(overlay, inside)
        told = await wait_reachable(proxy, "public")
        async with overlay.client_at(buyer := home(lab, 2)) as client:
            await wait_offered(client)
            with trio.fail_after(FOUND_SECONDS):
                async with client.chat(MODEL, HELLO) as answer:
                    assert await answer.read()
                await wait_connected(buyer, SELLER)

    assert told["addresses"][0].startswith(f"/ip4/{SELLER}/tcp/{PORT}/p2p/")
    assert "192.168.1.2" not in "".join(told["addresses"])
