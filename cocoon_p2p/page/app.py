"""A node's page as an app: its routes, and what it looks at."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.journal import Journal
from cocoon_p2p.metrics import render
from cocoon_p2p.overview.snapshot import Snapshot
from cocoon_p2p.page.deeds import Deeds, DeedsDone
from cocoon_p2p.page.gate import Gate
from cocoon_p2p.page.points import POINT_SECONDS, Points
from cocoon_p2p.page.watching import RENEW_SECONDS, Watching
from cocoon_p2p.page.words import state_of, why_not_ready
from cocoon_p2p.web import Assets, EventStream, Guard, Names, open_templates

if TYPE_CHECKING:
    import jinja2

T = TypeVar("T")

HERE = Path(__file__).parent

PARTS = ("state", "money", "load", "models", "selling", "channels", "recent", "peers", "steps", "findings")
"What the page is made of: a template each."

RECENT_SHOWN = 25

OPENMETRICS = "application/openmetrics-text"
"What newer scrapers ask for, in whatever version; others get Prometheus' own text."


class Page:
    """What a node shows, and has done, over HTTP.

    Args:
        look: Shows how the node does; some hundred microseconds. Raises `Unavailable` while it starts.
        journal: What has ended, for the metrics.
        deeds: What can be done.
        gate: Who may; None: nobody, the page is read-only.
        token_file: Where the owner finds the token, which is told to whoever sees the page.
        hosts: Names of the page, beside `localhost` and IP addresses.
    """

    def __init__(
        self,
        look: Callable[[], Snapshot],
        journal: Journal,
        deeds: Deeds,
        gate: Gate | None,
        *,
        token_file: Path | None = None,
        hosts: Sequence[str] = (),
    ) -> None:
        self._look = look
        self._can = frozenset[str]() if gate is None else deeds.names
        self._token_file = token_file if gate is not None else None
        self._journal = journal
        self._looked_at = float("-inf")
        self._seen: Snapshot | None = None
        self._written: dict[str, tuple[Snapshot, Any]] = {}
        "What was made of which snapshot, by what it is."

        self._points = Points()
        self._assets, self._templates = _site()
        self.watching = Watching(self._parts)
        self._done = DeedsDone(deeds, gate)
        self.app: ASGIApp = Guard(self._routes(), Names(hosts))

    async def run(self) -> None:
        """Keep what the plot shows, and watchers up to date, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watching.run)
            nursery.start_soon(self._note_points)

    async def _note_points(self) -> None:
        while True:
            with suppress(Unavailable):
                self._points.note(self._snapshot())
            await trio.sleep(POINT_SECONDS)

    # ------------------------------------------------------------ what is looked at

    def _snapshot(self) -> Snapshot:
        """Look at the node: at most once a second, whoever asks and however often."""
        now = trio.current_time()
        if self._seen is None or now - self._looked_at >= RENEW_SECONDS:
            self._seen, self._looked_at = self._look(), now
        return self._seen

    def _once(self, name: str, write: Callable[[Snapshot], T]) -> T:
        """Make something of the snapshot, unless that was done: whoever asks costs no more than one does."""
        snapshot = self._snapshot()
        known = self._written.get(name)
        if known is None or known[0] is not snapshot:
            known = self._written[name] = (snapshot, write(snapshot))
        made: T = known[1]
        return made

    def _words(self, snapshot: Snapshot) -> dict[str, Any]:
        """Give what templates are rendered with."""
        return {
            "node": snapshot,
            "state": state_of(snapshot),
            "recent": snapshot.recent[:RECENT_SHOWN],
            "can": self._can,
        }

    def _parts(self) -> Mapping[str, Mapping[str, Any]]:
        parts = self._once("parts", self._write_parts)
        return {"parts": parts, "plot": {"load-plot": self._points.columns()}}

    def _write_parts(self, snapshot: Snapshot) -> Mapping[str, str]:
        words = self._words(snapshot)
        return {name: self._templates.get_template(f"{name}.html").render(words) for name in PARTS}

    def _write_front(self, snapshot: Snapshot) -> str:
        return self._templates.get_template("page.html").render(
            self._words(snapshot),
            events="/events",
            points=self._points.columns(),
            token_file=None if self._token_file is None else str(self._token_file),
        )

    # ------------------------------------------------------------ routes

    def _routes(self) -> Starlette:
        routes = [
            Route("/", self._front),
            Route("/events", self._events),
            Route("/status.json", self._status),
            Route("/metrics", self._measure),
            Route("/healthz", self._health),
            Route("/readyz", self._ready),
            Route("/act/{name}", self._done.act, methods=["POST"]),
            self._assets.route,
        ]
        return Starlette(routes=routes, exception_handlers={Unavailable: _starting})

    async def _front(self, _request: Request) -> Response:
        return Response(self._once("front", self._write_front), media_type="text/html")

    async def _events(self, request: Request) -> Response | EventStream:
        if request.method == "HEAD":
            # Nothing would ever be sent, so nobody would find out that its reader is gone.
            return Response(media_type="text/event-stream")
        if self.watching.is_full:
            return PlainTextResponse("too many pages are open\n", 503, {"retry-after": "5"})
        return EventStream(self.watching.watch)

    async def _status(self, _request: Request) -> Response:
        return Response(self._once("status", msgspec.json.encode), media_type="application/json")

    async def _measure(self, request: Request) -> Response:
        # Not more than what a scraper may want of it: each kind is made once, and kept.
        accept = OPENMETRICS if OPENMETRICS in request.headers.get("accept", "") else ""
        written = self._once(
            f"metrics {accept}", lambda snapshot: render(snapshot, self._journal, accept=accept)
        )
        return Response(written.body, headers={"content-type": written.content_type})

    async def _health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _request: Request) -> Response:
        why = why_not_ready(self._snapshot())
        return PlainTextResponse(f"{why}\n", 503) if why else PlainTextResponse("ready\n")


@cache
def _site() -> "tuple[Assets, jinja2.Environment]":
    """Read the page's files, once a process: compiling its templates takes a fifth of a second."""
    assets = Assets(HERE / "assets")
    return assets, open_templates(HERE / "templates", assets)


async def _starting(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 503, {"retry-after": "1"})
