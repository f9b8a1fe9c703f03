"""What every request to a page must be, and what every answer says, before any route is looked at.

* **Host** is one of ours (`names`): another site's name that resolves to this machine is not.
* **Origin, Sec-Fetch-Site**: what another site has a browser ask is refused, but for a link to a page. So
  other sites can neither change anything here nor use up connections.
* **Bodies** are short, and come soon.
* **Content-Security-Policy**: no script, style or picture that is not a file of ours, and no frame around.

Spec: RFC 9110 (Host), RFC 6454 (Origin), W3C Fetch Metadata and Content Security Policy Level 3.
"""

import logging

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocoon_p2p.web.bodies import BodyRefused, ReaderGone, read_ahead, unread
from cocoon_p2p.web.faults import fault_facts
from cocoon_p2p.web.names import Names

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

BODY_MAX_BYTES = 4096
"Far more than a name, an amount and a choice take."

BODY_SECONDS = 10.0

_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=()"),
)
_SHARED = (
    *(header for header in _HEADERS if header[0] != b"cross-origin-resource-policy"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"access-control-allow-origin", b"*"),
)
_UNCACHED = (b"cache-control", b"no-store")
_READING = ("GET", "HEAD")

Headers = list[tuple[bytes, bytes]]


class Guard:
    """Stands before a site's routes (ASGI).

    A route finds its request's body read, and may ask for nothing but POST, GET and HEAD. A GET must change
    nothing: another site's links come through.

    Args:
        app: The routes.
        names: What the site is called.
        shared: Whatever is below this path is for other sites' pages to read as well; None: nothing is.
    """

    def __init__(self, app: ASGIApp, names: Names, *, shared: str | None = None) -> None:
        self._app = app
        self._names = names
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises nothing: a fault of ours is logged by its type and place."""
        assert scope["type"] == "http", "nothing else is started"
        is_shared = self._shared is not None and scope["path"].startswith(self._shared)
        send = _guarded(send, _SHARED if is_shared else _HEADERS)
        try:
            if (refusal := self._refusal(scope, is_shared=is_shared)) is None:
                receive = await read_ahead(receive, BODY_MAX_BYTES, BODY_SECONDS)
                await self._app(scope, receive, send)
                return
        except BodyRefused:
            refusal = PlainTextResponse("the body is too long, or too slow\n", 413)
        except ReaderGone:
            return
        except Exception as error:  # noqa: BLE001 (a task ends here)
            # Its text may quote what peers said.
            log.error("a page failed by a fault of ours", extra=fault_facts(error))
            return
        async with unread(receive):
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope, *, is_shared: bool) -> PlainTextResponse | None:
        headers: Headers = scope["headers"]
        hosts = _all(headers, b"host")
        if len(hosts) != 1 or not self._names.has(hosts[0]):
            return PlainTextResponse("this page goes by another name: see `hosts` in its config\n", 421)
        if scope["method"] in _READING:
            is_ours = is_shared or _may_read(headers, hosts[0])
        elif scope["method"] == "POST":
            is_ours = _is_same_origin(headers, hosts[0])
        else:
            return PlainTextResponse("there is nothing but GET and POST here\n", 405)
        return None if is_ours else PlainTextResponse("another site may not ask this one\n", 403)


def _may_read(headers: Headers, host: bytes) -> bool:
    """Whether a GET comes from ourselves, from somebody's own hand, or by a link to a whole page."""
    if _all(headers, b"origin") and not _is_same_origin(headers, host):
        return False
    sites = _all(headers, b"sec-fetch-site")
    if not sites or sites in ([b"same-origin"], [b"none"]):
        return True
    return _all(headers, b"sec-fetch-mode") == [b"navigate"] and _all(headers, b"sec-fetch-dest") == [
        b"document"
    ]


def _is_same_origin(headers: Headers, host: bytes) -> bool:
    """Whether a browser says that one of our own pages asks. TLS in front of us changes the scheme alone."""
    if _all(headers, b"sec-fetch-site") not in ([], [b"same-origin"]):
        return False
    return _all(headers, b"origin") in ([b"http://" + host], [b"https://" + host])


def _all(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _guarded(send: Send, more: tuple[tuple[bytes, bytes], ...]) -> Send:
    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Headers = list(message.get("headers", []))
            uncached = () if _all(headers, b"cache-control") else (_UNCACHED,)
            message = {**message, "headers": [*headers, *more, *uncached]}
        await send(message)

    return send_guarded
