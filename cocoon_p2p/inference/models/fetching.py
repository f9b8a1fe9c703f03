"""HTTP GET from hosts that may be slow, wrong or hostile.

Redirects are followed by hand: five at the most, never from https to http, and the hub's token goes
to the hub alone. What is worth another try is `Interrupted`; everything else is a sentence for the
person who asked. The library underneath is httpx, on trio.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

import httpx
import trio

from cocoon_p2p.errors import CocoonError, ConfigurationError, RemoteProtocolError, Unavailable
from cocoon_p2p.inference.models.source import HUB_URL, is_loopback, origin

log = logging.getLogger(__name__)

T = TypeVar("T")

REDIRECTS_MAX: Final = 5
RETRY_AFTER_MAX_SECONDS: Final = 120.0
"Who asks for a longer pause is taken at the word: we stop, and say so."

_WHY: Final[Mapping[type[httpx.TransportError], str]] = {
    httpx.ConnectTimeout: "no connection in time",
    httpx.ReadTimeout: "silence for too long",
    httpx.RemoteProtocolError: "the connection was cut",
    httpx.ReadError: "the connection was cut",
    httpx.ConnectError: "no connection",
}

_AGAIN: Final = "run the same command again later: it goes on where it was"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a host may be silent, and how often it may fail."""

    connect_seconds: float = 20.0
    stall_seconds: float = 30.0
    "Without a single byte."

    attempts: int = 6
    "In a row, without a byte more than before."

    pause_first_seconds: float = 1.0
    "Before the second attempt; doubled for each further one."

    pause_last_seconds: float = 30.0


class Interrupted(Exception):
    """The transfer broke off; trying again may help. Stays in this room: `persist` ends it.

    Attributes:
        retry_after: Seconds that the host asked for, or 0.
    """

    def __init__(self, why: str, *, retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer, and its body still to come."""

    status: int
    "200, 206 or 416."

    headers: httpx.Headers
    said: httpx.Headers
    "What the host that was asked said, where it sent us on to another; else the same as `headers`."

    body: AsyncGenerator[bytes, None]
    "As it comes. Raises `Interrupted` where it breaks off."


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Where bytes come from: a client and its manners. Made by `open_fetcher`."""

    client: httpx.AsyncClient
    hub: str = HUB_URL
    token: str = field(default="", repr=False)
    "For the hub's eyes only."

    patience: Patience = Patience()

    @asynccontextmanager
    async def get(
        self, url: str, headers: Mapping[str, str], *, may_be_plain: bool = False
    ) -> AsyncIterator[Answer]:
        """Ask for something, and follow where it leads.

        Args:
            url: Where to ask.
            headers: To send along, to every host.
            may_be_plain: Whether plain http will do anywhere: the bytes' hash is known beforehand.

        Raises:
            Interrupted: Trying again may help.
            ConfigurationError: The host refuses, or there is nothing.
            RemoteProtocolError: The host breaks HTTP's rules, or leads astray.
            Unavailable: The host asks to be left alone for long.
        """
        said: httpx.Headers | None = None
        for hop in range(REDIRECTS_MAX + 1):
            self._check_scheme(url, may_be_plain=may_be_plain)
            response = await self._send(url, headers)
            try:
                said = said or response.headers
                if response.has_redirect_location:
                    url = _next_url(response, url)
                    continue
                self._check_status(response, is_moved=hop > 0)
                yield Answer(response.status_code, response.headers, said, _body(response))
                return
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                    await response.aclose()
        raise RemoteProtocolError(f"too many redirects (host={_host(url)} max={REDIRECTS_MAX})")

    async def _send(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        headers = {"Accept-Encoding": "identity", **headers}
        if self.token and origin(url) == origin(self.hub) and (_is_https(url) or is_loopback(url)):
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            request = self.client.build_request("GET", url, headers=headers)
            return await self.client.send(request, stream=True)
        except httpx.TransportError as exc:
            raise _interrupted(exc, url) from exc
        except httpx.InvalidURL as exc:
            # Ours was checked when it was read, so it is the one that a redirect names.
            raise RemoteProtocolError(f"a redirect leads nowhere (host={_host(url)})") from exc

    def _check_scheme(self, url: str, *, may_be_plain: bool) -> None:
        if _is_https(url) or is_loopback(url) or may_be_plain:
            return
        raise ConfigurationError(
            f"plain http can be altered on its way (host={_host(url)})",
            hint="name an https:// source, or say what it must hash to: --sha256",
        )

    def _check_status(self, response: httpx.Response, *, is_moved: bool) -> None:
        status, host = response.status_code, response.url.host
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise RemoteProtocolError(f"the host packs what must come as it is (host={host})")
        if status in (200, 206, 416):
            return
        if status == 429:
            raise _throttled(host, response.headers.get("Retry-After", ""))
        # A link of a host's own runs out after a while; the source gives a new one.
        if status in (408, 425) or status >= 500 or is_moved:
            raise Interrupted(f"status {status} from {host}")
        raise _refusal(status, host, has_token=bool(self.token))


@asynccontextmanager
async def open_fetcher(
    *, hub: str = HUB_URL, token: str = "", patience: Patience | None = None
) -> AsyncIterator[Fetcher]:
    """Open connections to fetch by; proxies and certificates are those of the environment."""
    patience = patience or Patience()
    stall, connect = patience.stall_seconds, patience.connect_seconds
    timeout = httpx.Timeout(stall, connect=connect, pool=None)
    limits = httpx.Limits(max_connections=4, keepalive_expiry=5.0)
    agent = {"User-Agent": "cocoon-p2p"}
    async with httpx.AsyncClient(timeout=timeout, limits=limits, headers=agent) as client:
        yield Fetcher(client, hub, token, patience)


async def persist(
    attempt: Callable[[], Awaitable[T]], patience: Patience, *, mark: Callable[[], int] = lambda: 0
) -> T:
    """Try until it works, or until it failed some times in a row without getting farther.

    Args:
        attempt: What to try. It may raise `Interrupted`.
        patience: How often, and how long between.
        mark: How far it is; what rises was not in vain.

    Raises:
        Unavailable: It was interrupted too often.
    """
    failures, farthest = 0, mark()
    while True:
        try:
            return await attempt()
        except Interrupted as exc:
            if mark() > farthest:
                failures, farthest = 0, mark()
            failures += 1
            if failures >= patience.attempts:
                raise Unavailable(
                    f"the download broke off {failures} times in a row: {exc}", hint=_AGAIN
                ) from exc
            pause = min(patience.pause_first_seconds * 2 ** (failures - 1), patience.pause_last_seconds)
            pause = max(pause, exc.retry_after)
            log.info("download interrupted", extra={"why": str(exc), "pause_seconds": pause})
        await trio.sleep(pause)


async def _body(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx.TransportError as exc:
        raise _interrupted(exc, str(response.url)) from exc


def _next_url(response: httpx.Response, url: str) -> str:
    """Give where a redirect leads. A door that locks stays locked: https never leads to http."""
    try:
        target = httpx.URL(url).join(response.headers["Location"])
    except httpx.InvalidURL:
        target = httpx.URL()
    if target.scheme not in ("http", "https") or not target.host or target.userinfo:
        raise RemoteProtocolError(f"a redirect leads nowhere (host={_host(url)})")
    if _is_https(url) and target.scheme != "https":
        raise RemoteProtocolError(
            f"a redirect leads from https to plain http (host={_host(url)} to={target.host})",
            hint="nothing was fetched from there",
        )
    return str(target)


def _interrupted(exc: httpx.TransportError, url: str) -> Interrupted:
    return Interrupted(f"{_WHY.get(type(exc), type(exc).__name__)} ({_host(url)})")


def _throttled(host: str, asked: str) -> Exception:
    seconds = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 8 else 0.0
    if seconds <= RETRY_AFTER_MAX_SECONDS:
        return Interrupted(f"{host} asks for fewer requests (status 429)", retry_after=seconds)
    return Unavailable(
        f"the host asks for fewer requests (host={host} status=429 wait={seconds:.0f} s)",
        hint="with a token in HF_TOKEN the hub allows more; or run the same command again later",
        retry_after=seconds,
    )


def _refusal(status: int, host: str, *, has_token: bool) -> CocoonError:
    if status == 401:
        return ConfigurationError(
            f"the host wants to know who asks, or there is no such repository (host={host} status=401)",
            hint="the token was refused: make a new one"
            if has_token
            else "check the spelling; for a private or gated model set HF_TOKEN, or name --token-file",
        )
    if status == 403:
        return ConfigurationError(
            f"the host refuses (host={host} status=403)",
            hint="a gated model's terms are accepted on its page, by the account whose token is used",
        )
    if status in (404, 410):
        return ConfigurationError(
            f"there is no such file (host={host} status={status})",
            hint="check the spelling, and the --revision",
        )
    return ConfigurationError(
        f"the host answers with status {status} (host={host})", hint="try it in a browser"
    )


def _is_https(url: str) -> bool:
    return origin(url)[0] == "https"


def _host(url: str) -> str:
    # Links that hosts sign are as good as passwords for a while, so only the host is ever shown.
    return origin(url)[1] or "nowhere"
