"""What a Mini App's page does, without the page."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import trio

from cocoon_p2p.units import NANO_PER_TON
from tests.payments.wallets import NOW
from tests.telegram.mini_app.scene import UserWallet, init_data

ORIGIN = "http://127.0.0.1"
HELLO = [{"role": "user", "content": "Hello"}]


class Page:
    """One page, with the token and the nonce that it was given."""

    def __init__(self, http: httpx.AsyncClient, origin: str = ORIGIN, *, look_seconds: float = 2.0) -> None:
        self.http = http
        self._origin = origin
        self._look_seconds = look_seconds
        self.token = "none"
        self.nonce = ""

    async def post(self, name: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        headers = {"origin": self._origin, "authorization": f"Bearer {self.token}"}
        return await self.http.post(f"/api/{name}", json=body or {}, headers=headers)

    async def do(self, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = await self.post(name, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def begin(self, user: int = 42, *, auth_date: int = NOW) -> None:
        said = await self.do("session", {"init_data": init_data(user, auth_date=auth_date)})
        self.token, self.nonce = said["token"], said["nonce"]

    async def connect(self, wallet: UserWallet, user: int = 42) -> None:
        await self.begin(user)
        await self.do("proof", wallet.prove(self.nonce))

    async def pay_in(self, wallet: UserWallet, capacity: int = NANO_PER_TON) -> dict[str, Any]:
        await wallet.send(await self.do("top-up", {"capacity": capacity}))
        return await self.until("is_taken")

    async def until(self, key: str, *, holds: bool = True) -> dict[str, Any]:
        """Look at the balance now and then, until it says so."""
        with trio.fail_after(600):
            while bool((balance := await self.do("balance"))[key]) is not holds:  # noqa: ASYNC110  (each looks)
                await trio.sleep(self._look_seconds)
        return balance

    async def ask(self, messages: Any = HELLO) -> list[tuple[str, dict[str, Any]]]:
        answer = await self.post("chat", {"messages": messages})
        assert answer.headers["content-type"] == "text/event-stream"
        return events(answer.text)


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    parts = [part.split("\n") for part in text.split("\n\n") if part]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parts]
