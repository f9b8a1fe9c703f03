"""HTTP with hosts that refuse, throttle and lead astray."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import httpx
import pytest
import trio

from cocoon_p2p.errors import CocoonError, ConfigurationError, RemoteProtocolError, Unavailable
from cocoon_p2p.inference.models.fetching import REDIRECTS_MAX, Fetcher, Interrupted, open_fetcher, persist
from tests.inference.models.conftest import QUICK
from tests.inference.models.host import Host, open_host

TOKEN = "hf_secret"


async def fetched(fetcher: Fetcher, url: str) -> bytes:
    async def ask() -> bytes:
        async with fetcher.get(url, {}) as answer:
            return b"".join([chunk async for chunk in answer.body])

    return await persist(ask, fetcher.patience)


@pytest.fixture
async def elsewhere() -> AsyncIterator[Host]:
    async with open_host() as host:
        yield host


@pytest.fixture
async def with_token(host: Host) -> AsyncIterator[Fetcher]:
    async with open_fetcher(hub=host.url, token=TOKEN, patience=QUICK) as fetcher:
        yield fetcher


@pytest.mark.parametrize(
    ("status", "kind", "text", "hint"),
    [
        (401, ConfigurationError, "who asks", "HF_TOKEN"),
        (403, ConfigurationError, "refuses", "terms"),
        (404, ConfigurationError, "no such file", "--revision"),
        (410, ConfigurationError, "no such file", "--revision"),
        (451, ConfigurationError, "status 451", "browser"),
        (500, Unavailable, "3 times in a row: status 500", "goes on where it was"),
        (503, Unavailable, "status 503", "goes on where it was"),
        (429, Unavailable, "fewer requests", "goes on where it was"),
    ],
)
async def test_a_refusal_is_a_sentence_with_what_to_do(
    status: int, kind: type[CocoonError], text: str, hint: str, host: Host, fetcher: Fetcher
) -> None:
    host.put("/a", b"", status=status, failures=99)

    with pytest.raises(kind, match=text) as caught:
        await fetched(fetcher, f"{host.url}/a")

    assert hint in caught.value.hint


async def test_a_host_that_was_busy_is_asked_again(host: Host, fetcher: Fetcher) -> None:
    host.put("/a", b"data", status=503, failures=2)

    assert await fetched(fetcher, f"{host.url}/a") == b"data"


async def test_a_pause_that_a_host_asks_for_is_kept(host: Host, fetcher: Fetcher) -> None:
    host.put("/a", b"", status=429, failures=1, headers={"Retry-After": "7"})

    with pytest.raises(Interrupted) as caught:
        async with fetcher.get(f"{host.url}/a", {}):
            pass

    assert caught.value.retry_after == 7


async def test_a_pause_that_is_too_long_is_passed_on(host: Host, fetcher: Fetcher) -> None:
    host.put("/a", b"", status=429, failures=1, headers={"Retry-After": "3600"})

    with pytest.raises(Unavailable) as caught:
        await fetched(fetcher, f"{host.url}/a")

    assert caught.value.retry_after == 3600


async def test_pauses_grow_and_end(autojump_clock: trio.abc.Clock) -> None:
    patience = replace(QUICK, attempts=5, pause_first_seconds=10, pause_last_seconds=30)
    tried: list[float] = []

    async def fail() -> None:
        tried.append(trio.current_time())
        raise Interrupted("no")

    with pytest.raises(Unavailable):
        await persist(fail, patience)

    assert [after - before for before, after in pairwise(tried)] == [10, 20, 30, 30]


async def test_who_gets_farther_each_time_is_not_given_up(autojump_clock: trio.abc.Clock) -> None:
    done = 0

    async def go_on() -> int:
        nonlocal done
        done += 1
        if done < 50:
            raise Interrupted("cut")
        return done

    assert await persist(go_on, QUICK, mark=lambda: done) == 50


async def test_a_redirect_is_followed_and_the_first_hosts_words_are_kept(
    host: Host, elsewhere: Host, fetcher: Fetcher
) -> None:
    host.put("/a", b"", location=f"{elsewhere.url}/b", headers={"X-Linked-Size": "4"})
    elsewhere.put("/b", b"data")

    async with fetcher.get(f"{host.url}/a", {}) as answer:
        assert answer.said["X-Linked-Size"] == "4"
        assert "X-Linked-Size" not in answer.headers
        assert b"".join([chunk async for chunk in answer.body]) == b"data"


async def test_redirects_end(host: Host, fetcher: Fetcher) -> None:
    host.put("/a", b"", location="/a")

    with pytest.raises(RemoteProtocolError, match="too many redirects"):
        await fetched(fetcher, f"{host.url}/a")

    assert len(host.asked) == REDIRECTS_MAX + 1


async def test_the_hub_gets_the_token_and_nobody_else_does(
    host: Host, elsewhere: Host, with_token: Fetcher
) -> None:
    host.put("/a", b"", location=f"{elsewhere.url}/b")
    elsewhere.put("/b", b"data")

    await fetched(with_token, f"{host.url}/a")
    await fetched(with_token, f"{elsewhere.url}/b")

    assert [asked.get("authorization") for _, asked in host.asked] == [f"Bearer {TOKEN}"]
    assert [asked.get("authorization") for _, asked in elsewhere.asked] == [None, None]


async def test_the_token_is_never_sent_in_the_clear() -> None:
    """A hub that is named with http:// on another machine gets none; nothing is sent to it at all here."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"data")

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        fetcher = Fetcher(client, "http://hub.example", TOKEN, QUICK)
        async with fetcher.get("http://hub.example/a", {}, may_be_plain=True):
            pass

    assert "authorization" not in seen[0].headers
    assert TOKEN not in repr(fetcher)


@pytest.mark.parametrize(
    "location",
    [
        "http://host.example/a",
        "ftp://host.example/a",
        "https://user:password@host.example/a",
        "mailto:you@host.example",
    ],
)
async def test_https_never_leads_to_anything_less(location: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": location})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(RemoteProtocolError, match="a redirect leads") as caught:
            async with Fetcher(client).get("HTTPS://hub.example/a", {}, may_be_plain=True):
                pass

    assert "password" not in str(caught.value)


async def test_plain_http_elsewhere_is_refused_before_anybody_is_asked(fetcher: Fetcher) -> None:
    with pytest.raises(ConfigurationError, match="altered on its way") as caught:
        await fetched(fetcher, "http://192.0.2.1/model.gguf")

    assert "--sha256" in caught.value.hint


async def test_a_host_on_loopback_cannot_lead_to_plain_http_elsewhere(host: Host, fetcher: Fetcher) -> None:
    host.put("/a", b"", location="http://192.0.2.1/a")

    with pytest.raises(ConfigurationError, match="altered on its way"):
        await fetched(fetcher, f"{host.url}/a")


async def test_packed_bytes_are_refused(host: Host, fetcher: Fetcher) -> None:
    host.put("/a", b"data", headers={"Content-Encoding": "gzip"})

    with pytest.raises(RemoteProtocolError, match="packs"):
        await fetched(fetcher, f"{host.url}/a")


async def test_a_link_that_ran_out_is_asked_for_again_at_its_source(
    host: Host, elsewhere: Host, fetcher: Fetcher
) -> None:
    host.put("/a", b"", location=f"{elsewhere.url}/b")
    elsewhere.put("/b", b"data", status=403, failures=1)

    assert await fetched(fetcher, f"{host.url}/a") == b"data"
    assert len(host.asked) == 2


async def test_nobody_at_the_port_is_said_so(fetcher: Fetcher) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()

    with pytest.raises(Unavailable, match="no connection"):
        await fetched(fetcher, f"http://127.0.0.1:{port}/a")
