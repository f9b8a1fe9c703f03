"""The page and the JSON, asked for as strangers ask."""

from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from cocoon_p2p.explorer.crowd import ADDRESSES_MAX, BURST, PER_SECOND, Crowd
from cocoon_p2p.explorer.service import Explorer
from cocoon_p2p.explorer.site import FRESH_SECONDS, build_site
from cocoon_p2p.explorer.store import open_store
from cocoon_p2p.explorer.view import ExplorerView, HistoryView
from cocoon_p2p.units import NANO_PER_TON as TON
from tests.explorer.scene import HOSTILE, NOW, network, offer, serving

ELSEWHERE = {"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}


async def test_other_sites_pages_may_read_the_json_and_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, httpx.AsyncClient(base_url=site.url) as caller:
        told = await caller.get("/api/v1/network", headers=ELSEWHERE)
        page = await caller.get("/", headers=ELSEWHERE)
        written = await caller.post("/api/v1/network", headers=ELSEWHERE)

    view = msgspec.json.decode(told.content, type=ExplorerView)
    assert told.headers["access-control-allow-origin"] == "*"
    assert told.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "set-cookie" not in told.headers
    assert view.chain is not None
    assert (view.chain.locked, view.chain.settled) == (5 * TON, 3 * TON)
    assert page.status_code == 403
    assert "access-control-allow-origin" not in page.headers
    assert written.status_code in (403, 405)


async def test_who_has_it_already_is_told_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, httpx.AsyncClient(base_url=site.url) as caller:
        for path in ("/", "/api/v1/network", "/api/v1/history"):
            first = await caller.get(path)
            again = await caller.get(path, headers={"if-none-match": first.headers["etag"]})
            assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
            assert first.headers["cache-control"] == f"public, max-age={FRESH_SECONDS}"


async def test_a_new_look_is_a_new_tag_once_the_old_one_is_not_fresh_any_more(tmp_path: Path) -> None:
    tags: list[str] = []
    for place, fresh_seconds in (("long", 3600), ("not", 0)):
        async with (
            serving(tmp_path / place, fresh_seconds=fresh_seconds) as site,
            httpx.AsyncClient(base_url=site.url) as caller,
        ):
            tags.append((await caller.get("/api/v1/network")).headers["etag"])
            await site.store.keep_network(network(offer("new")), NOW + 9000)
            tags.append((await caller.get("/api/v1/network")).headers["etag"])

    assert tags[0] == tags[1] == tags[2] != tags[3]


async def test_history_has_a_value_for_each_time(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, httpx.AsyncClient(base_url=site.url) as caller:
        history = msgspec.json.decode((await caller.get("/api/v1/history")).content, type=HistoryView)

    hours = [NOW, NOW + 3600, NOW + 7200]
    assert history.completion_prices.at == hours
    assert history.completion_prices.values["qwen3-0.6b"] == [20, 21, 22]
    assert history.chain.values["locked"] == [5 * TON] * 3
    assert history.settlements.values == {"number": [1, 1, 1], "amount": [TON] * 3}


async def test_a_hostile_name_is_text_and_the_policy_runs_no_script_of_its_page(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, httpx.AsyncClient(base_url=site.url) as caller:
        page = await caller.get("/")

    assert HOSTILE not in page.text
    assert "<script>document" not in page.text
    assert "<img src=x" not in page.text
    assert "\u202e" not in page.text
    assert "\x1b" not in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_a_name_that_is_not_ours_is_refused_and_one_that_is_told_is_not(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, hosts=("explorer.example.org",)) as site,
        httpx.AsyncClient(base_url=site.url) as caller,
    ):
        ours = await caller.get("/", headers={"host": "explorer.example.org"})
        rebound = await caller.get("/", headers={"host": "evil.example"})

    assert (ours.status_code, rebound.status_code) == (200, 421)


async def test_whoever_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with open_store(tmp_path / "explorer.db", now=NOW) as store:
        door = httpx.ASGITransport(build_site(Explorer("mainnet", "", store)), client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=door, base_url="http://127.0.0.1") as caller:
            answers = [await caller.get("/healthz")]
            with trio.fail_after(60):
                while answers[-1].status_code == 200:
                    answers.append(await caller.get("/healthz"))

    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"] == "1"
    assert len(answers) > BURST


@pytest.mark.parametrize("near", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "172.17.0.1", "fd00::1"])
def test_visitors_behind_a_web_server_of_the_operators_do_not_shut_each_other_out(near: str) -> None:
    crowd = Crowd()

    assert {crowd.admit(near, 0.0) for _ in range(10 * BURST)} == {None}


def test_strangers_are_told_apart_on_a_socket_for_both_kinds_of_addresses() -> None:
    crowd = Crowd()
    while crowd.admit("::ffff:192.0.2.1", 0.0) is None:
        pass

    assert crowd.admit("192.0.2.1", 0.0) is not None
    assert crowd.admit("::ffff:192.0.2.2", 0.0) is None


def test_a_bucket_fills_again_and_no_faster_than_it_should() -> None:
    crowd = Crowd()

    assert [crowd.admit("192.0.2.1", 0.0) for _ in range(BURST)] == [None] * BURST
    assert crowd.admit("192.0.2.1", 0.0) == 1 / PER_SECOND
    assert crowd.admit("192.0.2.2", 0.0) is None
    assert crowd.admit("192.0.2.1", 1 / PER_SECOND) is None
    assert crowd.admit("192.0.2.1", 1 / PER_SECOND) is not None


def test_the_addresses_of_one_household_are_one_and_those_of_all_are_bounded() -> None:
    crowd = Crowd()
    for number in range(BURST):
        crowd.admit(f"2001:db8::{number:x}", 0.0)
    refused = crowd.admit("2001:db8::ffff:1", 0.0)
    for number in range(ADDRESSES_MAX + 10):
        crowd.admit(f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)

    assert refused is not None
    assert len(crowd._asked) == ADDRESSES_MAX
