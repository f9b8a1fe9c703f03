"""The page in a real Chromium: at a phone's width, with hostile names, for eyes and for keyboards."""

from pathlib import Path
from typing import Any

import pytest
import trio
from axe_playwright_python.sync_playwright import Axe

from tests.explorer.scene import serving
from tests.telegram.mini_app.browser import Visit, needs_chromium, open_browser

pytestmark = pytest.mark.long


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_stranger_sees_the_network_on_a_phone(tmp_path: Path, scheme: str) -> None:
    needs_chromium()
    async with serving(tmp_path) as site:
        seen = await trio.to_thread.run_sync(look, site.url, scheme)

    assert seen["faults"] == []
    assert seen["widths"] == [390, 1280, 390]
    assert seen["title"] == "mainnet: a cocoon network"
    assert seen["locked"] == "5 TON"
    assert seen["settled"] == "3 TON"
    assert seen["proxies"].startswith("1 ")
    assert seen["plots"] == ["locked-plot", "nodes-plot", "prices-plot", "settlements-plot"]
    assert seen["focused"] == "Skip to the content"
    assert seen["violations"] == []


def look(url: str, scheme: str) -> dict[str, Any]:
    with open_browser() as browser:
        visit = Visit(browser, None)
        page = visit.page
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(url)
        page.locator("#settlements-plot canvas").wait_for(state="visible")
        widths = [visit.width]
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.textContent")
        found = Axe().run(page).response["violations"]
        page.set_viewport_size({"width": 1280, "height": 900})
        widths.append(visit.width)
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_function("document.querySelector('.plot canvas').clientWidth < 390")
        widths.append(visit.width)
        return {
            "faults": visit.faults,
            "widths": widths,
            "title": page.title(),
            "locked": visit.text("#locked"),
            "settled": visit.text("#settled"),
            "proxies": visit.text("#proxies"),
            "plots": sorted(page.eval_on_selector_all(".plot:has(canvas)", "all => all.map(one => one.id)")),
            "focused": focused,
            "violations": [(one["id"], [node["html"] for node in one["nodes"]]) for one in found],
        }
