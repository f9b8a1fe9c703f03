"""Who may come in: whatever is asked, this is judged first, by nothing but the request's head.

* **Host.** One of our names (`web.names`): a page on the web can have its own resolve to this machine.
* **Origin.** Browsers say from which page a request comes. No page may ask, so there is no CORS either.
* **Key.** Once there is an API key, nobody asks without one.
* **Room.** So many requests at once, and no more.
"""

import logging
from collections.abc import Callable

import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from cocoon_p2p.gateway.bodies import refuse_unread
from cocoon_p2p.gateway.flights import BUSY
from cocoon_p2p.gateway.keys import ApiKey, Keys
from cocoon_p2p.gateway.refusals import Refusal, RequestRefused
from cocoon_p2p.gateway.settings import Settings
from cocoon_p2p.web.faults import fault_facts
from cocoon_p2p.web.names import Names, is_loopback

log = logging.getLogger(__name__)

KEY = "cocoon.key"
"Where the request's API key stands in its scope; None: there are no keys."

_HOST = Refusal(
    421, "this gateway goes by another name (`cocoon gateway --name`)", "host-unknown", must_not_retry=True
)
_ORIGIN = Refusal(403, "web pages may not ask this gateway", "origin-refused", must_not_retry=True)
_NO_KEY = Refusal(
    401,
    "an API key is needed: `Authorization: Bearer sk-cocoon-...`",
    "invalid_api_key",
    type="invalid_request_error",
    headers=((b"www-authenticate", b"Bearer"),),
)
_WRONG_KEY = Refusal(
    401,
    "this API key is not, or no longer, one of this gateway's",
    "invalid_api_key",
    type="invalid_request_error",
    headers=((b"www-authenticate", b"Bearer"),),
)


class Door:
    """Lets requests in to an app, or refuses them.

    Args:
        app: What is behind it. It finds the request's key in its scope.
        settings: The gateway's.
        keys: Who may ask; None: there are no keys.
        steady: Seconds on a clock that never goes back.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        keys: Keys | None,
        *,
        steady: Callable[[], float] = trio.current_time,
    ) -> None:
        self._app = app
        self._settings = settings
        self._keys = keys
        self._steady = steady
        self._names = Names(settings.names)
        self._needs_key = not is_loopback(settings.host)
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        assert scope["type"] == "http", "nothing else is started"
        try:
            scope[KEY] = self._judge(scope)
        except RequestRefused as error:
            await refuse_unread(receive, send, error.refusal)
            return
        self.inside += 1
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 (a task ends here)
            # Its text may quote what was asked or answered.
            log.error("a request failed by a fault of ours", extra=fault_facts(error))
        finally:
            self.inside -= 1

    def _judge(self, scope: Scope) -> ApiKey | None:
        """Judge a request by its head.

        Raises:
            RequestRefused: It may not come in.
        """
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not self._names.has(headers.get(b"host", b"")):
            raise RequestRefused(_HOST)
        if b"origin" in headers:
            raise RequestRefused(_ORIGIN)
        if scope["path"] == "/healthz":
            return None
        key = self._key(headers.get(b"authorization"))
        if self.inside >= self._settings.requests_max:
            raise RequestRefused(BUSY)
        if key is not None and self._keys is not None and scope["method"] == "POST":
            seconds = self._keys.admit(key, self._steady())
            if seconds is not None:
                raise RequestRefused(_too_often(key, seconds))
        return key

    def _key(self, authorization: bytes | None) -> ApiKey | None:
        if self._keys is None:
            return None
        # Whoever takes the last key back wants nobody in, and not everybody.
        self._needs_key = self._needs_key or bool(self._keys.list())
        if not self._needs_key:
            return None
        kind, _, secret = (authorization or b"").decode("latin-1").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise RequestRefused(_NO_KEY)
        key = self._keys.find(secret.strip())
        if key is None:
            raise RequestRefused(_WRONG_KEY)
        return key


def _too_often(key: ApiKey, seconds: float) -> Refusal:
    return Refusal(
        429,
        f"this key asks too often (limit={key.requests_per_minute} requests a minute)",
        "rate_limit_exceeded",
        type="requests",
        retry_after=seconds,
    )
