"""A node's page: first paint in a real Chromium on loopback, and what it costs the node to write it.

    python benchmarks/page.py [--quick]

In each round Chromium opens two pages in turn, each in a new context, without anything kept from before: the
node's page of a busy proxy, and a page that says hello, from the same server. First contentful paint is the
browser's own account (Paint Timing), from the start of the navigation. The page's files are read beforehand,
as after a node's first visitor.

Besides: what one look at the node's snapshot is written as, the whole page and its parts, in a bare loop. A
page that is watched costs the node that much a second, however many watch.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio
from _measure import milliseconds, print_machine, read_arguments, spread
from playwright.sync_api import Browser, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from cocoon_p2p.journal import Entry, Journal
from cocoon_p2p.metrics import render
from cocoon_p2p.network.health import Connections, Health
from cocoon_p2p.network.reachability import ReachabilityView
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview.channels import ChannelView
from cocoon_p2p.overview.selling import Selling, WorkerView
from cocoon_p2p.overview.snapshot import EntryView, LoadView, MoneyView, OfferView, Snapshot
from cocoon_p2p.page import Deeds, Page
from cocoon_p2p.web import Guard, Names, read_listen, serve_site

CHROMIUM = Path("/usr/bin/chromium")
GOAL_MS = 300
PEER = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
PAINT = """() => new Promise((told) => {
  const look = () => {
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    paint ? told(paint.startTime) : setTimeout(look, 5);
  };
  look();
})"""


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    page = Page(lambda: busy_proxy(), Journal(), Deeds(), None)
    if CHROMIUM.exists():
        trio.run(paint, page, 3 if arguments.quick else 25)
    else:
        print("no Chromium here: first paint is not measured")
    trio.run(write, page, 20 if arguments.quick else 200)


async def paint(page: Page, rounds: int) -> None:
    """Measure first paints, in turn."""

    async def hello(_request: Request) -> Response:
        return HTMLResponse("<!doctype html><title>hello</title><p>hello")

    bare = Guard(Starlette(routes=[Route("/", hello)]), Names())
    async with open_service_nursery() as nursery:
        nursery.start_soon(page.run)
        urls = [await nursery.start(serve_site, app, read_listen("127.0.0.1:0")) for app in (page.app, bare)]
        paints = await trio.to_thread.run_sync(visit, urls, rounds)
    print(f"first paint, the page    {milliseconds(paints[0])}, goal {GOAL_MS} ms")
    print(f"first paint, hello       {milliseconds(paints[1])}")
    print(f"difference in a round    {milliseconds([a - b for a, b in zip(*paints, strict=True)])}")


def visit(urls: list[str], rounds: int) -> tuple[list[float], list[float]]:
    paints: tuple[list[float], list[float]] = ([], [])
    with sync_playwright() as playwright:
        # As root, Chromium has no sandbox.
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        for each in urls:
            paint_of(browser, each)
        for _ in range(rounds):
            for url, found in zip(urls, paints, strict=True):
                found.append(paint_of(browser, url))
        browser.close()
    return paints


def paint_of(browser: Browser, url: str) -> float:
    context = browser.new_context()
    page = context.new_page()
    page.goto(url, wait_until="domcontentloaded")
    milliseconds_: float = page.evaluate(PAINT)
    context.close()
    return milliseconds_ / 1e3


ENTRY = Entry(
    exchange=bytes(16), role="proxy", model="qwen3-0.6b", outcome="finished", began_at=0.0, seconds=1.0
)  # fmt: skip


async def write(page: Page, rounds: int) -> None:
    """Measure what writing costs, without a socket."""
    await trio.lowlevel.checkpoint()
    snapshot = busy_proxy()

    def timed(do: Callable[[Snapshot], object]) -> list[float]:
        spans: list[float] = []
        for _ in range(rounds):
            began = time.thread_time()
            do(snapshot)
            spans.append(time.thread_time() - began)
        return spans

    print(f"the page, processor time {milliseconds(timed(page._write_front))}")
    print(f"its parts, each second   {milliseconds(timed(page._write_parts))}")
    print(f"the JSON                 {milliseconds(timed(msgspec.json.encode))}")
    journal = Journal()
    print(f"/metrics, a scrape       {milliseconds(timed(lambda seen: render(seen, journal, accept='')))}")
    noted = timed(lambda _seen: journal.note(ENTRY))
    print(f"the journal, an exchange {spread([1e6 * seconds for seconds in noted], 'us', 1)}")


def busy_proxy() -> Snapshot:
    """Show a proxy with all that a page can show of one."""
    now = time.time()
    worker = WorkerView(
        worker=PEER, models=["qwen3-0.6b", "llama"], trust="tdx", slots_free=1, slots_total=4,
        is_draining=False, tries=1.1, kept=9, broken=1, faults={}, rests_seconds=0, rests_for="", canary="",
    )  # fmt: skip
    channel = ChannelView(
        channel="3f" * 32, side="payee", peer=PEER, phase="open", has_contract=True, is_settled=False,
        is_connected=True, capacity_nano=10**9, vouchered_nano=7, charged_nano=6, running_nano=0,
        credit_nano=5, address=None, deposit_nano=10**9, claimed_nano=0, close_delay_seconds=86_400,
        close_at=0,
    )  # fmt: skip
    entry = EntryView("ab" * 16, "qwen3-0.6b", "finished", now, 1.5, 0.2, 1200, 34, 700, 600, PEER)
    return Snapshot(
        role="proxy", network="mainnet", peer=PEER, version="0.1.0", pid=1, started_at=now - 7500, now=now,
        is_ready=True,
        health=Health(PEER, [], "public", 60, 1.0, [], [], Connections(120, 80, 40, []), None, 60),
        reach=ReachabilityView("public", ("/ip4/203.0.113.7/tcp/4001",), (), (), ""),
        load=LoadView(30, 5, 200, 170),
        offers=[OfferView(f"model-{n}", 4_000, 1_000, 20_000, 20_000, "tdx", 5) for n in range(20)],
        money=MoneyView(income_today=10**9, expense_today=9 * 10**8, channels_open=100),
        channels=[channel] * 100,
        selling=Selling("proxy", workers=[worker] * 50),
        recent=[entry] * 50,
    )  # fmt: skip


if __name__ == "__main__":
    main()
