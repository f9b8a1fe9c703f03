"""An explorer's page and JSON, for whoever comes: read-only, without cookies, rendered once in five seconds.

    GET /                   the page
    GET /api/v1/network     `ExplorerView`
    GET /api/v1/history     `HistoryView`
    GET /healthz            ok

Other sites' pages may read the JSON. All answers have an `ETag`.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cocoon_p2p.explorer.crowd import Crowd
from cocoon_p2p.explorer.plots import plots_of
from cocoon_p2p.explorer.service import Explorer
from cocoon_p2p.web import Assets, Guard, Names, open_templates

HERE = Path(__file__).parent

FRESH_SECONDS = 5
"How long what was rendered is shown to all."

JSON = "application/json"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Rendered:
    body: bytes
    tag: str
    until: float
    "On trio's clock."


class _Cached:
    """One address, rendered for all who ask within a few seconds."""

    def __init__(self, kind: str, render: Callable[[], Awaitable[bytes]], fresh_seconds: int) -> None:
        self._kind = kind
        self._render = render
        self._fresh_seconds = fresh_seconds
        self._turn = trio.Lock()
        self._rendered: _Rendered | None = None

    async def serve(self, request: Request) -> Response:
        rendered = await self._fresh()
        headers = {"etag": rendered.tag, "cache-control": f"public, max-age={self._fresh_seconds}"}
        if rendered.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(rendered.body, media_type=self._kind, headers=headers)

    async def _fresh(self) -> _Rendered:
        # A hundred who ask at once have it rendered once.
        async with self._turn:
            if self._rendered is None or trio.current_time() >= self._rendered.until:
                body = await self._render()
                tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
                self._rendered = _Rendered(body, tag, trio.current_time() + self._fresh_seconds)
            return self._rendered


class _Door:
    """Lets nobody in too often (ASGI)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._crowd = Crowd()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = (scope.get("client") or ("",))[0]
        seconds = self._crowd.admit(address, trio.current_time())
        if seconds is None:
            await self._app(scope, receive, send)
            return
        headers = {"retry-after": str(int(seconds) + 1)}
        await PlainTextResponse("too many requests\n", 429, headers=headers)(scope, receive, send)


def build_site(
    explorer: Explorer, names: Sequence[str] = (), *, fresh_seconds: int = FRESH_SECONDS
) -> ASGIApp:
    """Put the site together.

    Args:
        explorer: What it shows.
        names: Host names that it goes by, beside IP addresses and `localhost`.
        fresh_seconds: How long what was rendered is shown to all.
    """
    assets = Assets(HERE / "assets")
    template = open_templates(HERE / "templates", assets).get_template("explorer.html")

    async def page() -> bytes:
        view, history = await explorer.view(), await explorer.history()
        return template.render(view=view, plots=plots_of(view, history)).encode()

    async def network() -> bytes:
        return msgspec.json.encode(await explorer.view())

    async def history() -> bytes:
        return msgspec.json.encode(await explorer.history())

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    routes = [
        Route("/", _Cached(HTML, page, fresh_seconds).serve),
        Route("/api/v1/network", _Cached(JSON, network, fresh_seconds).serve),
        Route("/api/v1/history", _Cached(JSON, history, fresh_seconds).serve),
        Route("/healthz", health),
        assets.route,
    ]
    return Guard(_Door(Starlette(routes=routes)), Names(names), shared="/api/")
