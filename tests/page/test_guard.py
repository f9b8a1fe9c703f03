"""Who may ask a page, and how much: other sites, other names, other origins, too much at once."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
import trio

from cocoon_p2p.page.watching import WATCHERS_MAX
from cocoon_p2p.web import Bounds
from cocoon_p2p.web.guard import BODY_MAX_BYTES
from tests.page.scene import CHANNEL, Node, by_owner, page_of, serving, visiting

READS = ("/", "/events", "/status.json", "/metrics", "/readyz")


async def test_a_name_that_is_not_ours_is_answered_nothing() -> None:
    names = ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1.evil.example", "[")
    async with visiting(Node()) as client:
        told = {
            (name, path): (await client.get(path, headers={"host": name})).status_code
            for name in names
            for path in READS
        }

    assert told == dict.fromkeys(told, 421)


async def test_our_own_names_are_answered() -> None:
    names = ("localhost:1", "127.0.0.1", "[::1]:8910", "LOCALHOST", "box.example.org", "box.EXAMPLE.org:443")
    async with visiting(Node(), hosts=("Box.example.org",)) as client:
        told = {name: (await client.get("/", headers={"host": name})).status_code for name in names}

    assert told == dict.fromkeys(names, 200)


async def test_two_host_headers_are_refused() -> None:
    async with visiting(Node()) as client:
        stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
            status = (await stream.receive_some(4096)).split(b"\r\n")[0]

    assert status.split()[1] in (b"400", b"421")


OTHER_SITES: Sequence[dict[str, str]] = [
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
]


async def test_another_site_reads_nothing_and_holds_no_stream() -> None:
    async with visiting(Node()) as client:
        told = [await client.get(path, headers=each) for path in READS for each in OTHER_SITES]

    assert {each.status_code for each in told} == {403}


async def test_a_link_from_another_site_leads_here() -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    async with visiting(Node()) as client:
        told = await client.get("/", headers=headers)

    assert told.status_code == 200


CHANGES: Sequence[tuple[dict[str, str | None], int]] = [
    ({"origin": None}, 403),
    ({"origin": "null"}, 403),
    ({"origin": "http://evil.example"}, 403),
    ({"origin": "http://127.0.0.1:1"}, 403),
    ({"sec-fetch-site": "same-site"}, 403),
    ({"sec-fetch-site": "cross-site"}, 403),
    ({"sec-fetch-site": "none"}, 403),
    ({"x-cocoon-token": None}, 401),
    ({"x-cocoon-token": "wrong"}, 401),
    ({"x-cocoon-token": "\xff"}, 401),
    ({"sec-fetch-site": None}, 200),
    ({}, 200),
]


BODIES = {
    "drain": b"",
    "close": b'{"channel": "%s"}' % CHANNEL.encode(),
    "price": b'{"model": "m", "completion": 25000}',
}


@pytest.mark.parametrize("deed", BODIES)
async def test_only_this_page_with_the_token_has_anything_done(deed: str) -> None:
    node = Node()
    async with visiting(node) as client:
        for change, status in CHANGES:
            done_before = node.done
            headers = {key: each for key, each in (by_owner(client) | change).items() if each is not None}
            raw = {key.encode(): each.encode("latin-1") for key, each in headers.items()}
            told = await client.post(f"/act/{deed}", headers=raw, content=BODIES[deed])

            assert (change, told.status_code) == (change, status)
            assert node.done == done_before + (status == 200)


async def test_nothing_is_done_by_a_get_and_no_other_method_is_answered() -> None:
    node = Node()
    async with visiting(node) as client:
        got = await client.get("/act/drain", headers=by_owner(client))
        others = [
            await client.request(each, "/", headers=by_owner(client)) for each in ("PUT", "DELETE", "OPTIONS")
        ]

    assert got.status_code == 405
    assert {each.status_code for each in others} == {405}
    assert not node.drained


async def test_a_public_page_does_nothing_even_with_the_token() -> None:
    node = Node()
    async with visiting(node, is_public=True) as client:
        told = await client.post("/act/drain", headers=by_owner(client))

    assert told.status_code == 400
    assert not node.drained


async def test_wrong_tokens_are_soon_not_heard_any_more_nor_is_the_right_one() -> None:
    node, now = Node(), [100.0]
    async with visiting(node, steady=lambda: now[0]) as client:
        wrong = [await client.post("/act/drain", headers=by_owner(client, f"guess{n}")) for n in range(6)]
        right = await client.post("/act/drain", headers=by_owner(client))
        now[0] += 60.0
        later = await client.post("/act/drain", headers=by_owner(client))

    assert [each.status_code for each in wrong] == [401] * 5 + [429]
    assert right.status_code == 429
    assert right.headers["retry-after"] == "60"
    assert later.status_code == 200
    assert node.drained == 1


async def test_what_is_no_channel_is_not_closed() -> None:
    bodies = (
        b"",
        b"{}",
        b"[]",
        b'{"channel": 1}',
        b'{"channel": "all"}',
        b'{"channel": "%s"}' % (b"zz" * 32),
    )
    node = Node()
    async with visiting(node) as client:
        told = [await client.post("/act/close", headers=by_owner(client), content=body) for body in bodies]

    assert {(each.status_code, each.json()["error"]) for each in told} == {(400, "that is no channel")}
    assert not node.closed


async def test_what_is_no_price_is_not_asked() -> None:
    numbers = (b"0", b"-1", b"2.5", b"25000.0", b"null", b'"5"', b"true", b"9223372036854775808", b"1e400")
    bodies = (
        b"",
        b"[]",
        b'{"model": "m"}',
        b'{"model": "\xff", "completion": 5}',
        b'{"model": "m", "completion": 5, "prompt": 5}',
        *(b'{"model": "m", "completion": %s}' % number for number in numbers),
    )
    node = Node()
    async with visiting(node) as client:
        told = [await client.post("/act/price", headers=by_owner(client), content=body) for body in bodies]

    said = "that is no price: nanoTON for 1,000 tokens, a whole number above 0"
    assert {(each.status_code, each.json()["error"]) for each in told} == {(400, said)}
    assert not node.priced


async def test_a_body_that_is_too_long_is_refused_also_without_a_length() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(BODY_MAX_BYTES // 1024 + 1):
            yield bytes(1024)

    long, node = bytes(BODY_MAX_BYTES + 1), Node()
    async with visiting(node) as client:
        told = [
            await client.post("/act/drain", headers=by_owner(client), content=long),
            await client.request("GET", "/", content=long),
            await client.post("/act/drain", headers=by_owner(client), content=pieces()),
        ]

    assert {each.status_code for each in told} == {413}
    assert not node.drained


async def test_so_many_watch_and_no_more_and_one_that_leaves_makes_room() -> None:
    page = page_of(Node())
    with trio.fail_after(60):
        async with serving(page) as url, AsyncExitStack() as watchers:
            ones = [await watchers.enter_async_context(watching(url)) for _ in range(WATCHERS_MAX)]
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                one_more = await client.get("/events")
            await ones[0].aclose()
            while page.watching.is_full:  # noqa: ASYNC110 (the server hears of it by itself)
                await trio.sleep(0.01)
            async with watching(url):
                is_full_again = page.watching.is_full

    assert one_more.status_code == 503
    assert is_full_again


async def test_who_asks_for_the_head_of_a_stream_holds_none() -> None:
    async with visiting(Node()) as client:
        told = [await client.head("/events") for _ in range(WATCHERS_MAX + 1)]

    assert {each.status_code for each in told} == {200}


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[trio.SocketStream]:
    """Watch a page, and be told something."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
    async with stream:
        await stream.send_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = b""
        while b"event: parts" not in told:
            told += await stream.receive_some(1)
        yield stream


async def test_connections_beyond_the_bound_are_closed() -> None:
    with trio.fail_after(60):
        async with serving(page_of(Node()), Bounds(connections_max=1)) as url:
            port = int(url.rpartition(":")[2])
            first = await trio.open_tcp_stream("127.0.0.1", port)
            await first.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answered = await first.receive_some(4096)
            second = await trio.open_tcp_stream("127.0.0.1", port)
            turned_away = await second.receive_some(1)
            await first.aclose()
            await second.aclose()

    assert answered.startswith(b"HTTP/1.1 200")
    assert turned_away == b""


async def test_who_has_left_holds_no_place_however_many_have_come_before() -> None:
    with trio.fail_after(40):
        async with serving(page_of(Node()), Bounds(connections_max=1, idle_seconds=3600)) as url:
            for _ in range(3):
                while True:
                    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
                        try:
                            assert (await client.get("/healthz")).status_code == 200
                        except httpx.TransportError:
                            # The last one's place is taken until its end was heard.
                            await trio.sleep(0.01)
                        else:
                            break


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
async def test_an_offer_to_speak_something_else_is_ignored_and_holds_no_connection(protocol: str) -> None:
    asked = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    with trio.fail_after(60):
        async with serving(page_of(Node()), Bounds(idle_seconds=0.05)) as url:
            stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
            await stream.send_all(asked.encode())
            told = b"".join([piece async for piece in stream])
            await stream.aclose()

    assert told.startswith(b"HTTP/1.1 200")
    assert told.endswith(b"ok\n")
