"""The example's page in a real Chromium, on a real chain: connect, pay in, ask, take the rest."""

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from playwright.sync_api import Browser

from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.telegram.mini_app import serve_door
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.telegram.mini_app.browser import Visit, needs_chromium, open_browser
from tests.telegram.mini_app.scene import UserWallet, World, init_data, open_door, open_world

PAGES = Path(__file__).parents[3] / "examples/mini_app/page"
ANSWER = ("Hello", ", ", "world", "x" * 400, ".")


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[str]:
    """Serve the example's page and its backend; give their origin."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            open_door(world, origin=origin, pages=PAGES) as (door, _channels),
            open_service_nursery() as nursery,
        ):
            await nursery.start(serve_door, door.app, f"fd://{listener.detach()}")
            yield origin


@pytest.mark.slow
async def test_a_user_connects_a_wallet_pays_in_asks_and_takes_the_rest() -> None:
    needs_chromium()
    engine = ScriptedEngine(ANSWER)
    async with open_world(engine) as world, serving(world) as origin:
        wallet = world.wallet()
        seen = await trio.to_thread.run_sync(use, origin, init_data(auth_date=int(world.now())), wallet)
        balance = await wallet.balance()

    assert seen["faults"] == []
    assert seen["widths"] == {390}
    assert seen["answer"] == "".join(ANSWER)
    assert seen["cost"].startswith("0.0")
    assert seen["cost"].endswith(", proven: nothing")
    assert len(wallet.sent) == 2
    assert balance > 9_900_000_000
    assert seen["stranger"] == ("Open this from its bot in Telegram.", "", False)


def use(origin: str, signed: str, wallet: UserWallet) -> dict[str, Any]:
    """Do what a user does, and give what that user saw."""
    with open_browser() as browser:
        visit = Visit(browser, wallet)
        page, widths = visit.page, set[int]()
        visit.open(origin, signed)
        visit.see("#who", "Hello Ada")
        widths.add(visit.width)

        page.click("#connect")
        visit.see("#left", r"^0 TON$")
        page.fill("#amount", "1")
        page.click("#top-up button:not([type])")
        visit.see("#left", r"^1\.00")
        widths.add(visit.width)

        page.fill("#prompt", "Hello " + "y" * 300)
        page.click("#ask button")
        visit.see(".cost", "TON")
        widths.add(visit.width)
        seen = {"answer": visit.text(".assistant"), "cost": visit.text(".cost")}
        visit.see("#spent", f"^{re.escape(seen['cost'].partition(',')[0])}$")

        page.click("#close")
        visit.see("#left", r"^0 TON$")
        page.locator("#close").wait_for(state="hidden")
        return {**seen, "faults": visit.faults, "widths": widths, "stranger": open_unsigned(browser, origin)}


def open_unsigned(browser: Browser, origin: str) -> tuple[str, str, bool]:
    """Open the page as nobody whom Telegram knows would."""
    visit = Visit(browser, None)
    visit.open(origin, "user=1&hash=" + "0" * 64)
    visit.see("#trouble", "hash does not fit")
    hash_: str = visit.page.evaluate("location.hash")
    return visit.text("#who"), hash_, visit.page.locator("#connect").is_enabled()


@pytest.mark.long
async def test_an_answer_is_seen_as_it_comes_and_leaving_the_page_stops_it() -> None:
    needs_chromium()
    engine = ScriptedEngine(ANSWER, stall_at=2)
    async with open_world(engine) as world, serving(world) as origin:
        wallet = world.wallet()
        signed = init_data(auth_date=int(world.now()))
        partial = await trio.to_thread.run_sync(leave_in_mid_answer, origin, signed, wallet)
        with trio.fail_after(60):
            while engine.running:  # noqa: ASYNC110  (the engine has no event for it)
                await trio.sleep(0.05)

    assert partial == "Hello, "


def leave_in_mid_answer(origin: str, signed: str, wallet: UserWallet) -> str:
    with open_browser() as browser:
        visit = Visit(browser, wallet)
        page = visit.page
        visit.open(origin, signed)
        visit.see("#who", "Hello Ada")
        page.click("#connect")
        visit.see("#left", r"^0 TON$")
        page.click("#top-up button:not([type])")
        visit.see("#left", r"^1\.00")
        page.fill("#prompt", "Hello")
        page.click("#ask button")
        visit.see(".assistant", "Hello,")
        text: str = page.locator(".assistant").evaluate("one => one.textContent")
        page.close()
        return text
