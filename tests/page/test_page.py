"""What a node's page says over HTTP: values, reasons, and hostile words as mere text."""

import re

import httpx
import msgspec
import pytest
import trio
import trio.testing
from markupsafe import escape

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.journal import Journal
from cocoon_p2p.metrics import render
from cocoon_p2p.metrics.exposition import Exposition
from cocoon_p2p.overview.snapshot import LoadView, Snapshot, StepView
from cocoon_p2p.page import app
from cocoon_p2p.web.guard import POLICY
from cocoon_p2p.web.templates import LETTERS_MAX
from tests.page.scene import (
    HOSTILE,
    TOKEN,
    Node,
    bootstrap_snapshot,
    page_of,
    proxy_snapshot,
    serving,
    visiting,
    worker_snapshot,
)

PAGES = ("/", "/status.json", "/healthz", "/readyz", "/metrics")


async def test_the_page_shows_what_the_node_says_of_itself() -> None:
    async with visiting(Node()) as client:
        page = await client.get("/")

    for shown in (
        "Worker",
        "ready",
        "1.234 TON",
        "qwen3-0.6b",
        "20,000",
        "2 of 4",
        "lower [price]",
        "no-capacity",
    ):
        assert shown in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("snapshot", [worker_snapshot(), proxy_snapshot(), bootstrap_snapshot()])
async def test_the_json_is_the_snapshot_itself(snapshot: Snapshot) -> None:
    async with visiting(Node(snapshot)) as client:
        told = await client.get("/status.json")

    assert msgspec.json.decode(told.content, type=Snapshot) == msgspec.json.decode(
        msgspec.json.encode(snapshot), type=Snapshot
    )


@pytest.mark.parametrize("snapshot", [worker_snapshot(HOSTILE), proxy_snapshot(HOSTILE)])
async def test_a_hostile_name_is_text_and_nothing_else(snapshot: Snapshot) -> None:
    async with visiting(Node(snapshot)) as client:
        page = (await client.get("/")).text

    assert escape(HOSTILE[:30]) in page
    assert "<script>document" not in page
    assert "<img src=x" not in page
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


async def test_a_name_without_end_is_cut() -> None:
    async with visiting(Node(worker_snapshot("x" * 100_000))) as client:
        page = (await client.get("/")).text

    assert "x" * (LETTERS_MAX + 1) not in page
    assert "x" * LETTERS_MAX + "…" in page


async def test_every_answer_has_the_strict_headers() -> None:
    async with visiting(Node()) as client:
        told = [await client.get(path) for path in (*PAGES, "/nothing")]
        told.append(await client.get("/", headers={"host": "evil.example"}))

    assert "unsafe" not in POLICY
    for headers in (each.headers for each in told):
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


async def test_no_markup_that_the_policy_forbids_is_in_the_page() -> None:
    async with visiting(Node()) as client:
        page = (await client.get("/")).text

    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:", page)
    assert re.findall(r"<script(?! src=\"/assets/)", page) == []
    assert not re.search(r"(?:src|href)=\"(?![/#])", page)


async def test_a_node_that_is_not_ready_says_why_and_what_to_do() -> None:
    steps = [StepView("announced", 3.0, {"why": "nobody answers"}, "look at the clock", "failed")]
    node = Node()
    node.becomes(is_ready=False, steps=steps)
    async with visiting(node) as client:
        told, alive = await client.get("/readyz"), await client.get("/healthz")

    assert told.status_code == 503
    assert told.text == "not ready: the step `announced` failed: nobody answers; look at the clock\n"
    assert alive.status_code == 200


async def test_a_node_that_drains_is_not_ready() -> None:
    async with visiting(Node()) as client:
        ready = await client.get("/readyz")
    node = Node()
    node.becomes(is_ready=False, load=LoadView(1, 0, 4, 0, is_draining=True))
    async with visiting(node) as client:
        draining = await client.get("/readyz")

    assert (ready.status_code, ready.text) == (200, "ready\n")
    assert draining.status_code == 503
    assert draining.text.startswith("draining: ")


async def test_a_node_that_still_starts_says_so_and_lives() -> None:
    class Starting(Node):
        def look(self) -> Snapshot:
            raise Unavailable("the node is still starting", retry_after=1.0)

    async with visiting(Starting()) as client:
        told = {path: await client.get(path) for path in PAGES}

    assert {path: each.status_code for path, each in told.items()} == {
        "/": 503, "/status.json": 503, "/healthz": 200, "/readyz": 503, "/metrics": 503,
    }  # fmt: skip
    assert told["/readyz"].text == "the node is still starting\n"


async def test_however_many_ask_the_node_is_looked_at_once_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Node()
    page = page_of(node)
    transport = httpx.ASGITransport(page.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for _ in range(20):
            await client.get("/")
            await client.get("/status.json")
        at_once = node.looks
        await trio.sleep(1.0)
        await client.get("/")

    assert at_once == 1
    assert node.looks == 2


async def test_metrics_are_of_this_node() -> None:
    async with visiting(Node()) as client:
        plain = await client.get("/metrics")
        asked = await client.get(
            "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
        )

    assert "cocoon_build_info{" in plain.text
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")


async def test_whatever_scrapers_ask_for_metrics_are_made_once_a_second(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def note(snapshot: Snapshot, journal: Journal, *, accept: str = "") -> Exposition:
        made.append(accept)
        return render(snapshot, journal, accept=accept)

    monkeypatch.setattr(app, "render", note)
    versions = (f"application/openmetrics-text; version={version}" for version in ("1.0.0", "9", "x"))
    kinds = ("", "*/*", *versions)
    node = Node()
    transport = httpx.ASGITransport(page_of(node).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        told = [await client.get("/metrics", headers={"accept": kind}) for kind in kinds for _ in range(5)]
        at_once = len(made)
        await trio.sleep(1.0)
        node.becomes(now=node.snapshot.now + 1)
        await client.get("/metrics")

    assert {each.status_code for each in told} == {200}
    assert at_once == 2
    assert len(made) == 3


async def test_the_token_is_nowhere_on_the_page() -> None:
    async with visiting(Node()) as client:
        texts = [(await client.get(path)).text for path in PAGES]

    assert not any(TOKEN in text for text in texts)
    assert "/data/page-token" in texts[0]


async def test_a_page_that_others_see_has_nothing_that_can_be_done() -> None:
    async with visiting(Node(), is_public=True) as client:
        page = (await client.get("/")).text

    assert "page-token" not in page
    assert "data-deed" not in page


async def test_files_have_their_hash_in_their_address_and_stay() -> None:
    async with visiting(Node()) as client:
        page = (await client.get("/")).text
        addresses = set(re.findall(r"\"(/assets/[^\"]+)\"", page))
        files = [await client.get(address) for address in addresses]
        old = await client.get("/assets/0000000000000000/site.css")
        outside = await client.get("/assets/0000000000000000/..%2f..%2fpage.py")

    assert len(files) >= 7
    assert all(each.status_code == 200 for each in files)
    assert all("immutable" in each.headers["cache-control"] for each in files)
    assert all(each.headers["content-security-policy"] == POLICY for each in files)
    assert (old.status_code, outside.status_code) == (404, 404)


async def test_a_page_goes_when_it_is_cancelled() -> None:
    async with serving(page_of(Node())) as url:
        pass

    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)
