"""What every request to a Mini App's door must be, and what every answer says: hosts, origins, headers.

The page is a frame in Telegram's own pages, so it may be framed by those and by nobody else. It runs no
script that is not a file of this door, and speaks to this door alone. What changes something is a POST
from this very origin, with a token that no browser adds by itself: another site cannot make a user's
browser do it.
"""

from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cocoon_p2p.errors import ConfigurationError

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors https://web.telegram.org https://*.telegram.org"
)

_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=()"),
]
_SAFE = ("GET", "HEAD")
_PORTS = {"http": 80, "https": 443}
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """Stands before a Mini App's routes (ASGI).

    Args:
        app: The routes.
        origin: Where browsers find them, such as `https://app.example.org`.
    """

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self._app = app
        self._origin = origin.encode()
        self._host = urlsplit(origin).netloc.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        app = self._app if (why := self._whats_wrong(scope)) is None else PlainTextResponse(why, 403)
        await app(scope, receive, send_guarded)

    def _whats_wrong(self, scope: Scope) -> str | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if [value for name, value in headers if name == b"host"] != [self._host]:
            return "another host\n"
        origins = [value for name, value in headers if name == b"origin"]
        if scope["method"] not in _SAFE and origins != [self._origin]:
            return "another origin\n"
        return None


def check_origin(origin: str) -> str:
    """Check where browsers are to find a door; give its host, which wallets call its domain.

    Raises:
        ConfigurationError: It is no origin, or not one of HTTPS. This machine may do without, to try things.
    """
    try:
        parts = urlsplit(origin)
        host, is_plain = parts.hostname or "", parts.scheme == "http"
        port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
        named = f"[{host}]" if ":" in host else host
        # As browsers spell it, or no request would ever seem to come from it.
        is_origin = origin == f"{parts.scheme}://{named}{port}" and origin.isascii() and " " not in origin
        is_local = parts.netloc.partition(":")[0] in _LOCAL or parts.netloc.startswith("[::1]")
    except ValueError:
        raise _no_origin() from None
    if not is_origin or not host or not (parts.scheme == "https" or (is_plain and is_local)):
        raise _no_origin()
    return host


def _no_origin() -> ConfigurationError:
    return ConfigurationError(
        "not an origin that a Mini App can have",
        hint="write https:// and the host in small letters (xn-- where it has others), nothing after it",
    )
