"""A real Chromium on a Mini App's page, with a wallet in it that is real on the test's chain.

Playwright runs in a thread of its own; what its pages ask of the wallet is done in trio's.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from playwright.sync_api import Browser, Page, sync_playwright

from tests.telegram.mini_app.scene import UserWallet

CHROMIUM = Path("/usr/bin/chromium")
REQUIRED = "COCOON_TESTS_NEED_CHROMIUM"
"Where this variable is set, a machine without Chromium fails the tests that need it."

WAIT_MS = 60_000
"For what comes by itself, on a machine that is busy with other things."

# What a wallet's extension puts into every page (TON Connect's JS bridge).
INJECTED = """
window.testwallet = { tonconnect: {
  deviceInfo: { platform: "browser", appName: "test", appVersion: "1", maxProtocolVersion: 2, features: [] },
  protocolVersion: 2,
  isWalletBrowser: false,
  connect: (version, request) => window.walletConnect(version, request),
  restoreConnection: async () => ({ event: "connect_error", id: 0, payload: { code: 100, message: "none" } }),
  send: (request) => window.walletSend(request),
  listen: () => () => {},
} };
"""


def needs_chromium() -> None:
    """Skip the test where there is no Chromium, unless the machine must have one."""
    if CHROMIUM.exists():
        return
    missing = "no Chromium to try pages in; Debian, Ubuntu: apt install chromium"
    if REQUIRED in os.environ:
        pytest.fail(missing)
    pytest.skip(missing)


@contextmanager
def open_browser() -> Iterator[Browser]:
    # As root, which tests often are, Chromium has no sandbox.
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One page of a phone's width, and all that went wrong in it."""

    def __init__(self, browser: Browser, wallet: UserWallet | None) -> None:
        self.page: Page = browser.new_page(viewport={"width": 390, "height": 844})
        self.page.set_default_timeout(WAIT_MS)
        self.faults: list[str] = []
        self.page.on("console", lambda said: self._note(said.type, said.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self._wallet = wallet
        if wallet is not None:
            self.page.expose_function("walletConnect", self._connect)
            self.page.expose_function("walletSend", self._send)
            self.page.add_init_script(INJECTED)

    def open(self, origin: str, init_data: str) -> None:
        """Open the page as Telegram does."""
        self.page.goto(f"{origin}/#tgWebAppData={quote(init_data, safe='')}&tgWebAppVersion=8.0")

    def see(self, css: str, pattern: str) -> None:
        """Wait until an element that is shown has such a text in it."""
        self.page.locator(css).filter(has_text=re.compile(pattern)).first.wait_for(state="visible")

    def text(self, css: str) -> str:
        return self.page.locator(css).inner_text()

    @property
    def width(self) -> int:
        """How wide the page is, whatever the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth")

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.faults.append(text)

    def _connect(self, version: int, request: Mapping[str, Any]) -> dict[str, Any]:
        assert version == 2
        assert self._wallet is not None
        assert request["manifestUrl"].endswith("/tonconnect-manifest.json")
        (payload,) = (item["payload"] for item in request["items"] if item["name"] == "ton_proof")
        shown = trio.from_thread.run_sync(self._wallet.prove, payload)
        address = {"name": "ton_addr", "network": shown["account"].pop("chain"), **shown["account"]}
        items = [address, {"name": "ton_proof", "proof": shown["proof"]}]
        return {"event": "connect", "id": 1, "payload": {"items": items, "device": {}}}

    def _send(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert request["method"] == "sendTransaction"
        assert self._wallet is not None
        (order,) = map(json.loads, request["params"])
        trio.from_thread.run(self._wallet.send, order)
        return {"result": "te6ccgEBAQEAAgAAAA==", "id": request["id"]}
