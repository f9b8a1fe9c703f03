"""Who may come in."""

from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing
from starlette.types import Message, Receive, Scope, Send

from cocoon_p2p.gateway.door import KEY, Door
from cocoon_p2p.gateway.keys import ApiKey, Keys
from cocoon_p2p.gateway.settings import Settings

ANN = ApiKey("ann", "Ann", "key/ann", 60, 0)
SECRET = "sk-cocoon-ann"


class SomeKeys(Keys):
    """Keys as they are wanted, in memory."""

    def __init__(self, *keys: ApiKey, wait_seconds: float | None = None) -> None:
        self.keys = keys
        self.wait_seconds = wait_seconds

    def find(self, secret: str) -> ApiKey | None:
        return next((key for key in self.keys if secret == f"sk-cocoon-{key.id}"), None)

    def admit(self, key: ApiKey, now: float) -> float | None:
        return self.wait_seconds

    def list(self) -> tuple[ApiKey, ...]:
        return self.keys


class Asked:
    """One request at a door, without a server."""

    def __init__(self) -> None:
        self.let_in: list[ApiKey | None] = []
        self.status = 0
        self.headers: dict[bytes, bytes] = {}

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.let_in.append(scope[KEY])

    async def ask(
        self,
        door: Door,
        *,
        path: str = "/v1/models",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Ask; give the status, 0 if it was let in."""
        said = {"host": "127.0.0.1:8900", **(headers or {})}
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(name.encode(), value.encode()) for name, value in said.items()],
        }
        self.status = 0

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status, self.headers = message["status"], dict(message["headers"])

        await door(scope, _nothing, send)
        return self.status


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _door(asked: Asked, keys: Keys | None = None, **settings: Any) -> Door:
    return Door(asked.app, Settings(**settings), keys)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8900", 0),
        ("localhost", 0),
        ("LOCALHOST:1", 0),
        ("[::1]:8900", 0),
        ("192.168.0.7", 0),
        ("api.example.org", 0),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8900", 421),
        ("", 421),
    ],
)
async def test_only_names_that_nobody_can_take_over_lead_here(host: str, status: int) -> None:
    asked = Asked()
    door = _door(asked, names=("API.example.org",))

    assert await asked.ask(door, headers={"host": host}) == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8900"])
async def test_no_web_page_may_ask(origin: str) -> None:
    asked = Asked()

    assert await asked.ask(_door(asked), headers={"origin": origin}) == 403
    assert asked.let_in == []


async def test_without_keys_whoever_reaches_it_may_ask() -> None:
    asked = Asked()

    await asked.ask(_door(asked))
    await asked.ask(_door(asked, SomeKeys()))

    assert asked.let_in == [None, None]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer "},
        {"authorization": "Bearer sk-cocoon-bob"},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": SECRET},
    ],
)
async def test_with_keys_nobody_asks_without_one(headers: dict[str, str]) -> None:
    asked = Asked()

    assert await asked.ask(_door(asked, SomeKeys(ANN)), headers=headers) == 401
    assert asked.let_in == []
    assert asked.headers[b"www-authenticate"] == b"Bearer"


async def test_a_key_is_known_by_its_secret() -> None:
    asked = Asked()

    await asked.ask(_door(asked, SomeKeys(ANN)), headers={"authorization": f"bearer {SECRET}"})

    assert asked.let_in == [ANN]


async def test_a_probe_needs_no_key() -> None:
    asked = Asked()

    assert await asked.ask(_door(asked, SomeKeys(ANN)), path="/healthz") == 0


async def test_when_the_last_key_was_taken_back_nobody_comes_in() -> None:
    asked, keys = Asked(), SomeKeys(ANN)
    door = _door(asked, keys)
    await asked.ask(door)
    keys.keys = ()

    assert await asked.ask(door) == 401


async def test_a_door_to_strangers_needs_a_key_even_when_there_is_none() -> None:
    asked = Asked()

    assert await asked.ask(_door(asked, SomeKeys(), host="0.0.0.0")) == 401


async def test_a_key_that_asks_too_often_is_told_when_to_come_again() -> None:
    asked = Asked()
    door = _door(asked, SomeKeys(ANN, wait_seconds=2.2))
    key = {"authorization": f"Bearer {SECRET}"}

    assert await asked.ask(door, headers=key) == 0
    assert await asked.ask(door, method="POST", headers=key) == 429
    assert asked.headers[b"retry-after"] == b"3"


async def test_one_request_too_many_is_told_to_come_again() -> None:
    asked, release = Asked(), trio.Event()

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()

    door = Door(busy, Settings(requests_max=1), None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.ask, door)
        await trio.testing.wait_all_tasks_blocked()

        assert await asked.ask(door) == 503
        assert asked.headers[b"retry-after"] == b"1"
        release.set()
    assert door.inside == 0


async def test_a_fault_behind_the_door_is_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("the secret prompt")

    await Asked().ask(Door(broken, Settings(), None))

    assert "a request failed by a fault of ours" in caplog.text
    assert "secret" not in caplog.text
