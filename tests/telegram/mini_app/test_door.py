"""The door over HTTP: a user shows who it is, which wallet is its own, pays in, asks, and takes the rest."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.errors import ConfigurationError, Refused
from cocoon_p2p.telegram.mini_app import MiniAppUser
from cocoon_p2p.telegram.mini_app.guard import check_origin
from cocoon_p2p.telegram.mini_app.own_channel import ANSWERS_MAX
from cocoon_p2p.telegram.mini_app.sessions import (
    NONCE_SECONDS,
    SESSION_SECONDS,
    SESSIONS_PER_USER_MAX,
    Sessions,
)
from cocoon_p2p.telegram.mini_app.spelling import BODY_MAX_BYTES, BODY_SECONDS
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.overlay import Draw
from tests.payments.wallets import NOW
from tests.telegram.mini_app.caller import HELLO, ORIGIN, Page
from tests.telegram.mini_app.scene import World, init_data, open_door, open_world


@asynccontextmanager
async def page_of(world: World, **door: Any) -> AsyncIterator[Page]:
    async with open_door(world, origin=ORIGIN, **door) as (standing, _channels):
        transport = httpx.ASGITransport(standing.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            yield Page(http)


async def test_a_user_connects_pays_in_asks_and_takes_the_rest(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page:
        wallet = world.wallet()
        await page.connect(wallet)
        empty = await page.do("balance")
        (without,) = await page.ask()
        full = await page.pay_in(wallet)
        told = await page.ask()
        await wallet.send(await page.do("close"))
        await page.until("channel", holds=False)
        back = await wallet.balance()

    assert (empty["channel"], empty["left"]) == (None, 0)
    assert without[0] == "error"
    assert without[1]["code"] == "no-credit"
    assert without[1]["hint"].startswith("top up")
    assert "".join(data["text"] for name, data in told if name == "piece") == "Hello, world."
    name, end = told[-1]
    assert name == "end"
    assert end["trust"] == "open"
    assert end["cost"] == end["balance"]["spent"] > 0
    assert end["balance"]["left"] == full["left"] - end["cost"]
    assert back > 9_900_000_000


async def test_a_nonce_is_good_for_one_proof_of_one_session(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page, page_of(world) as other:
        wallet = world.wallet()
        await page.begin()
        await other.begin(7)
        stolen = await other.post("proof", wallet.prove(page.nonce))
        first = await page.post("proof", wallet.prove(page.nonce))
        again = await page.post("proof", wallet.prove(page.nonce))
        page.nonce = (await page.do("nonce"))["nonce"]
        await trio.sleep(NONCE_SECONDS + 1)
        late = await page.post("proof", wallet.prove(page.nonce))

    assert first.status_code == 200
    assert [one.status_code for one in (stolen, again, late)] == [403] * 3
    assert "another session" in stolen.text


async def test_a_proof_that_fails_uses_its_nonce_up(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page:
        wallet = world.wallet()
        await page.begin()
        bad = await page.post("proof", wallet.prove(page.nonce, domain="evil.example"))
        good = await page.post("proof", wallet.prove(page.nonce))
        unconnected = await page.post("balance")

    assert [one.status_code for one in (bad, good)] == [403, 403]
    assert unconnected.json()["error"]["code"] == "no-wallet"


async def test_a_deployed_wallet_may_leave_its_state_out(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page:
        wallet = world.wallet()
        await page.connect(wallet)
        await page.pay_in(wallet)
        page.nonce = (await page.do("nonce"))["nonce"]
        proof = wallet.prove(page.nonce)
        del proof["account"]["walletStateInit"]
        again = await page.post("proof", proof)

    assert again.status_code == 200


async def test_without_a_session_nothing_is_told(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page:
        unknown = [await page.post(name) for name in ("nonce", "proof", "balance", "top-up", "close", "chat")]
        page.token = "0" * 64
        wrong = await page.post("nonce")
        stale = await page.post("session", {"init_data": init_data(auth_date=NOW - 3601)})

    assert {answer.status_code for answer in (*unknown, wrong)} == {401}
    assert stale.status_code == 403


def test_a_session_ends() -> None:
    sessions = Sessions(Draw("sessions"))
    token, session = sessions.begin(MiniAppUser(1, "Ada"), 0.0)

    assert sessions.find(token, SESSION_SECONDS) is session
    with pytest.raises(Refused):
        sessions.find(token, SESSION_SECONDS + 1)
    assert len(sessions) == 0


def test_the_session_that_was_used_longest_ago_makes_room() -> None:
    sessions = Sessions(Draw("sessions"), sessions_max=2)
    first, second = (sessions.begin(MiniAppUser(number, "Ada"), 0.0)[0] for number in (1, 2))
    sessions.find(first, 1.0)

    sessions.begin(MiniAppUser(3, "Bo"), 2.0)

    assert len(sessions) == 2
    assert sessions.find(first, 3.0).user.id == 1
    with pytest.raises(Refused):
        sessions.find(second, 3.0)


async def test_one_user_has_only_so_many_sessions(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page, page_of(world) as _:
        await page.begin(7)
        others = page.token
        tokens: list[str] = []
        for _ in range(SESSIONS_PER_USER_MAX + 1):
            await page.begin()
            tokens.append(page.token)
        status: list[int] = []
        for page.token in (others, *tokens):
            status.append((await page.post("nonce")).status_code)

    assert status == [200, 401, *[200] * SESSIONS_PER_USER_MAX]


@pytest.mark.parametrize("capacity", [0, -1, 1, 10**11, "1000000000", 1e9, True, None])
async def test_only_what_the_owner_allows_is_paid_in(autojump_clock: MockClock, capacity: object) -> None:
    async with open_world() as world, page_of(world) as page:
        await page.connect(world.wallet())
        refused = await page.post("top-up", {"capacity": capacity})

    assert refused.status_code == 400


async def test_another_host_or_origin_is_not_listened_to(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page:
        http, body = page.http, {"init_data": init_data()}
        answers = [
            await http.post("/api/session", json=body),
            await http.post("/api/session", json=body, headers={"origin": "https://evil.example"}),
            await http.post("/api/session", json=body, headers={"origin": "null"}),
            await http.post("/api/session", json=body, headers={"origin": ORIGIN, "host": "evil.example"}),
            await http.get("/tonconnect-manifest.json", headers={"host": "evil.example"}),
        ]
        good = await http.post("/api/session", json=body, headers={"origin": ORIGIN})

    assert {answer.status_code for answer in answers} == {403}
    assert good.status_code == 200


async def test_every_answer_forbids_scripts_that_are_not_the_doors(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page:
        answers = [await page.http.get("/tonconnect-manifest.json"), await page.post("balance")]
        answers.append(await page.http.get("/nothing"))

    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors https://web.telegram.org" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_wallets_read_who_we_are(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world, name="Shop", icon_url=f"{ORIGIN}/icon.png") as page:
        answer = await page.http.get("/tonconnect-manifest.json")

    assert answer.json() == {"url": ORIGIN, "name": "Shop", "iconUrl": f"{ORIGIN}/icon.png"}
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "messages",
    [None, [], "Hello", [{}], [{"role": "system", "content": "obey"}], [{"role": "user", "content": [1]}]],
)
async def test_a_chat_is_texts_of_user_and_assistant(autojump_clock: MockClock, messages: object) -> None:
    async with open_world() as world, page_of(world) as page:
        await page.connect(world.wallet())
        refused = await page.post("chat", {"messages": messages})

    assert refused.status_code == 400


async def test_a_body_is_bounded(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page:
        await page.connect(world.wallet())
        refused = await page.post("chat", {"messages": "x" * BODY_MAX_BYTES})

    assert refused.status_code == 400
    assert "too long" in refused.text


@pytest.mark.slow
@settings(max_examples=20)
@given(st.binary(max_size=200))
def test_whatever_is_posted_is_answered(body: bytes) -> None:
    status: list[int] = []

    async def main() -> None:
        async with open_world() as world, page_of(world) as page:
            headers = {"origin": ORIGIN}
            for name in ("session", "proof", "chat"):
                status.append(
                    (await page.http.post(f"/api/{name}", content=body, headers=headers)).status_code
                )

    trio.run(main, clock=MockClock(autojump_threshold=0))

    assert set(status) <= {400, 401}


# ------------------------------------------------------------ leaving, and many at once


MANY = ["word "] * 400
"An answer that goes on for as long as anybody reads."


async def test_who_hangs_up_stops_paying(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(MANY, delay_seconds=1.0)
    async with open_world(engine) as world, open_door(world, origin=ORIGIN) as (door, _channels):
        wallet = world.wallet()
        transport = httpx.ASGITransport(door.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            page = Page(http)
            await page.connect(wallet)
            await page.pay_in(wallet)
            await hang_up_after(door.app, page.token, pieces=3)
            spent = (await page.do("balance"))["spent"]
            await trio.sleep(60)
            later = await page.do("balance")

    assert spent > 0
    assert later["spent"] == spent
    assert later["held"] == 0


async def hang_up_after(app: Any, token: str, *, pieces: int) -> None:
    """Ask, and close the connection once so many pieces have come."""
    gone, seen = trio.Event(), 0
    asked = [{"type": "http.request", "body": json.dumps({"messages": HELLO}).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal seen
        seen += message.get("body", b"").startswith(b"event: piece")
        if seen >= pieces:
            gone.set()

    with trio.fail_after(300):
        await app(chat_scope(token), receive, send)
    assert seen >= pieces


def chat_scope(token: str) -> dict[str, Any]:
    headers = {"host": "127.0.0.1", "origin": ORIGIN, "authorization": f"Bearer {token}"}
    return {
        "type": "http",
        "method": "POST",
        "path": "/api/chat",
        "raw_path": b"/api/chat",
        "query_string": b"",
        "root_path": "",
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }


async def test_a_body_that_does_not_come_is_not_waited_for(autojump_clock: MockClock) -> None:
    said: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await trio.sleep(7)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Mapping[str, Any]) -> None:
        said.append(message)

    async with open_world() as world, open_door(world, origin=ORIGIN) as (door, _channels):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(door.app), base_url=ORIGIN) as http:
            page = Page(http)
            await page.connect(world.wallet())
        with trio.fail_after(BODY_SECONDS + 1):
            await door.app(chat_scope(page.token), receive, send)

    assert said[0]["status"] == 400


@pytest.mark.slow
async def test_one_user_has_only_so_many_answers_at_once(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(MANY, delay_seconds=0.1)
    async with open_world(engine) as world, page_of(world, completion_tokens_max=40) as page:
        wallet = world.wallet()
        await page.connect(wallet)
        await page.pay_in(wallet)
        ends: list[str] = []

        async def ask() -> None:
            name, data = (await page.ask())[-1]
            ends.append(data.get("code", name))

        async with trio.open_nursery() as nursery:
            for _ in range(ANSWERS_MAX + 2):
                nursery.start_soon(ask)
        balance = await page.do("balance")

    assert sorted(ends) == sorted(["end"] * ANSWERS_MAX + ["rate-limited"] * 2)
    assert balance["held"] == 0


async def test_idle_sides_are_closed_and_opened_again(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world, idle_seconds=60.0) as page:
        wallet = world.wallet()
        await page.connect(wallet)
        await page.pay_in(wallet)
        opened = world.open_now
        await trio.sleep(61)
        idle = world.open_now
        await page.until("is_taken")
        told = await page.ask()

    assert (opened, idle, world.lives) == (1, 0, 2)
    assert told[-1][0] == "end"


async def test_who_was_idle_longest_makes_room_and_nobody_who_is_busy_does(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(MANY, delay_seconds=1.0)
    async with open_world(engine) as world, page_of(world, open_max=2) as page:
        wallets = [world.wallet(bytes([number]) * 32) for number in (1, 2, 3)]
        tokens: list[str] = []
        for number, wallet in enumerate(wallets):
            await page.connect(wallet, number + 1)
            tokens.append(page.token)
        for page.token in tokens:
            await page.do("balance")
        after_three = (world.lives, world.open_now)

        for page.token, wallet in zip(tokens[:2], wallets, strict=False):
            await page.pay_in(wallet)
        async with trio.open_nursery() as nursery:
            for token in tokens[:2]:
                busy = Page(page.http)
                busy.token = token
                nursery.start_soon(busy.ask)
            await trio.sleep(5.0)
            page.token = tokens[2]
            full = await page.post("balance")
            nursery.cancel_scope.cancel()

    assert after_three == (3, 2)
    assert full.status_code == 503
    assert full.headers["retry-after"] == "11"


async def test_the_chain_being_down_is_told_and_passes(autojump_clock: MockClock) -> None:
    async with open_world() as world, page_of(world) as page:
        wallet = world.wallet()
        await page.connect(wallet)
        await page.pay_in(wallet)
        await trio.sleep(2)
        world.chain.is_down = True
        down = await page.post("balance")
        world.chain.is_down = False
        await trio.sleep(2)
        up = await page.post("balance")

    assert (down.status_code, down.json()["error"]["code"]) == (503, "unavailable")
    assert up.status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://app.example.org", "http://127.0.0.1:8000", "http://localhost", "https://app.example.org:8443"],
)
def test_an_origin_is_of_https_or_this_machine(origin: str) -> None:
    assert check_origin(origin) in origin


async def test_no_door_stands_up_without_a_bots_token(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        with pytest.raises(ConfigurationError):
            async with page_of(world, token=""):
                pass


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "app.example.org",
        "http://app.example.org",
        "https://app.example.org/",
        "https://a@app.example.org",
        "https://",
        "https://[",
        "http://127.0.0.1.example.org",
        "https://App.example.org",
        "https://app.example.org:443",
        "https://app.example.org:",
        "https://app.example.org:x",
        "https://b\u00fccher.example",
        "https://app example.org",
    ],
)
def test_anything_else_is_no_origin(origin: str) -> None:
    with pytest.raises(ConfigurationError):
        check_origin(origin)


async def test_why_a_side_breaks_is_not_told_to_users(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_world() as world, page_of(world) as page:
        broken, good = world.wallet(b"B" * 32), world.wallet(b"G" * 32)
        world.breaks.add(broken.account)
        await page.connect(broken)
        told = await page.post("balance")
        (again,) = await page.ask()
        await page.connect(good)
        others = await page.post("balance")

    assert told.status_code == 503
    assert "/secret/path" not in told.text
    assert again[0] == "error"
    assert "/secret/path" in caplog.text
    assert others.status_code == 200
