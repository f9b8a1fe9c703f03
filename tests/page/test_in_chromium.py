"""The page in a real Chromium, in one visit: live, whole at 390 px, without a fault, and for everybody."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview.snapshot import LoadView, Snapshot
from cocoon_p2p.web import Listen, plain, serve_site
from tests.page.scene import CHANNEL, HOSTILE, TOKEN, Node, page_of, proxy_snapshot, serving, worker_snapshot
from tests.telegram.mini_app.browser import WAIT_MS, needs_chromium, open_browser

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


class Visit:
    """One page, and all that went wrong in it."""

    def __init__(self, browser: Browser, url: str, size: dict[str, int], scheme: str = "light") -> None:
        self.faults: list[str] = []
        self.page: Page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", lambda said: self._note(said.type, said.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', (one) => console.error('CSP ' + one.blockedURI))"
        )
        self.page.goto(url)
        self.page.wait_for_selector("body[data-live='on']")

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.faults.append(text)

    @property
    def width(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth"))

    def see(self, css: str, pattern: str) -> None:
        """Wait until an element that is shown has such a text in it."""
        self.page.locator(css).filter(has_text=re.compile(pattern)).wait_for(state="visible")

    def axe(self) -> list[str]:
        """Say what keeps somebody out."""
        found = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {[node['html'][:160] for node in one['nodes']]}" for one in found]

    def tabs(self, times: int) -> list[str]:
        """Say where the Tab key leads."""
        seen: list[str] = []
        for _ in range(times):
            self.page.keyboard.press("Tab")
            seen.append(self.page.evaluate("document.activeElement.id || document.activeElement.className"))
        return seen


async def in_chromium(node: Node, use: Callable[[Browser, str], dict[str, Any]]) -> dict[str, Any]:
    """Serve a node's page, and use it; Playwright has a thread of its own."""
    needs_chromium()

    def run(url: str) -> dict[str, Any]:
        with open_browser() as browser:
            return use(browser, url)

    with trio.fail_after(280):
        async with serving(page_of(node)) as url:
            return await trio.to_thread.run_sync(run, url)


@pytest.mark.slow
async def test_an_owner_watches_at_390_px_and_has_a_channel_closed() -> None:
    node = Node(worker_snapshot(HOSTILE))

    def becomes(**facts: object) -> None:
        trio.from_thread.run_sync(lambda: node.becomes(**facts))

    def use(browser: Browser, url: str) -> dict[str, Any]:
        visit = Visit(browser, url, PHONE)
        page, seen = visit.page, dict[str, Any]()
        seen["title"], seen["width"] = page.title(), visit.width
        seen["tabs"] = visit.tabs(3)
        becomes(load=LoadView(4, 9, 4, 0))
        visit.see("#running", "^4$")
        seen["plotted"] = page.locator("#load-plot canvas").count()

        becomes(is_ready=False)
        visit.see("#spoken", "^Worker not ready$")

        page.fill("#token", "wrong")
        page.press("#token", "Enter")
        visit.see("#said", "not the token")
        page.fill("#token", TOKEN)
        page.press("#token", "Enter")
        page.wait_for_selector("#drain")
        seen["focus"] = page.evaluate("document.activeElement.id")
        seen["unlocked width"], seen["axe"] = visit.width, visit.axe()
        for slip in ("25.000", "20,5", "0x10", ""):
            page.once("dialog", lambda dialog, slip=slip: dialog.accept(slip))
            page.click("[data-deed=price]")
            visit.see("#said", "that is no price")
            page.evaluate("document.getElementById('said').textContent = ''")
        page.once("dialog", lambda dialog: dialog.accept("25,000"))
        page.click("[data-deed=price]")
        visit.see("#said", "25000 is asked")
        (offer,) = node.snapshot.offers
        becomes(offers=[msgspec.structs.replace(offer, completion=25_000)])
        visit.see("#models", "25,000")
        seen["held"] = page.evaluate("document.activeElement.dataset.deed")
        page.once("dialog", lambda dialog: dialog.dismiss())
        page.click("[data-deed=price]")
        page.on("dialog", lambda dialog: dialog.accept())
        page.click(f"#close-{CHANNEL}")
        visit.see("#said", "is closed")
        page.click("#drain")
        visit.see("#said", "nothing new")
        page.click("#lock")
        seen["kept"] = page.evaluate("sessionStorage.length + localStorage.length + document.cookie.length")
        return {**seen, "faults": visit.faults}

    seen = await in_chromium(node, use)

    # The browser itself tells of an answer that is no success: of the wrong token, and of what is no price.
    assert [each for each in seen["faults"] if "401" not in each and "400" not in each] == []
    assert seen["axe"] == []
    assert (seen["width"], seen["unlocked width"]) == (390, 390)
    assert seen["title"] == "worker · ready · cocoon"
    assert seen["tabs"] == ["skip", "token", "main"]
    assert seen["plotted"] == 1
    assert (seen["focus"], seen["held"]) == ("lock", "price")
    # The page shows no control characters, and no model of ours has any.
    assert (node.closed, node.drained, node.priced) == ([CHANNEL], 1, [(plain(HOSTILE), 25_000)])
    assert seen["kept"] == 0


@pytest.mark.long
@pytest.mark.parametrize("snapshot", [worker_snapshot(), proxy_snapshot(HOSTILE), proxy_snapshot("x" * 5000)])
async def test_light_and_dark_narrow_and_wide_keep_nobody_out(snapshot: Snapshot) -> None:
    def use(browser: Browser, url: str) -> dict[str, Any]:
        visits = [Visit(browser, url, size, scheme) for size in (PHONE, DESK) for scheme in ("light", "dark")]
        return {
            "axe": [each.axe() for each in visits],
            "widths": [each.width for each in visits],
            "faults": [each.faults for each in visits],
        }

    seen = await in_chromium(Node(snapshot), use)

    assert seen == {"axe": [[]] * 4, "widths": [390, 390, 1280, 1280], "faults": [[]] * 4}


@pytest.mark.long
async def test_a_page_whose_node_is_gone_says_so_and_is_live_again_when_it_is_back() -> None:
    page = page_of(Node())
    needs_chromium()

    def use(url: str) -> list[str]:
        with open_browser() as browser:
            visit = Visit(browser, url, DESK)
            trio.from_thread.run(lose)
            visit.page.wait_for_selector("body[data-live='off']")
            lost = visit.page.inner_text("#live")
            trio.from_thread.run(find)
            visit.page.wait_for_selector("body[data-live='on']")
            return [lost, visit.page.inner_text("#live")]

    async def lose() -> None:
        scopes.pop().cancel()
        await trio.lowlevel.checkpoint()

    async def serve(port: int, *, task_status: trio.TaskStatus[str]) -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await serve_site(page.app, Listen("127.0.0.1", port), task_status=task_status)

    async def find() -> None:
        await nursery.start(serve, port)

    scopes: list[trio.CancelScope] = []
    with trio.fail_after(280):
        async with open_service_nursery() as nursery:
            nursery.start_soon(page.run)
            url = await nursery.start(serve, 0)
            port = int(url.rpartition(":")[2])
            told = await trio.to_thread.run_sync(use, url)

    assert told == ["connection lost, trying again", "live"]
