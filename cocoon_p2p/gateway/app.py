"""The endpoints: each reads a request, has it made into work, and tells what comes of it."""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cocoon_p2p.client import Client
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.gateway.bodies import Bodies, ClientGone, refuse_unread
from cocoon_p2p.gateway.chat_request import ChatRequest
from cocoon_p2p.gateway.completion_request import CompletionRequest
from cocoon_p2p.gateway.door import KEY
from cocoon_p2p.gateway.embedding import EmbeddingRequest
from cocoon_p2p.gateway.fields import read_json
from cocoon_p2p.gateway.flights import Flights, Work
from cocoon_p2p.gateway.keys import ApiKey
from cocoon_p2p.gateway.models import model_list
from cocoon_p2p.gateway.refusals import FAULT, Refusal, RequestRefused, invalid, refusal_of
from cocoon_p2p.gateway.repeats import KEY_MAX_LETTERS, Ticket
from cocoon_p2p.gateway.settings import Settings
from cocoon_p2p.gateway.telling import Telling
from cocoon_p2p.gateway.transcription import read_transcription
from cocoon_p2p.gateway.works import Counter
from cocoon_p2p.web.bodies import unread

log = logging.getLogger(__name__)

Headers = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Read:
    """A request that was read."""

    work: Work
    is_stream: bool = False
    "Whether what comes is told as it comes."

    words: bytes | None = None
    "What tells it from others, where its body does not: the bounds of a form differ each time it is sent."


Reading = Callable[[Counter, bytes, Headers], Read]
"Makes work of a body. Raises `RequestRefused`."


@dataclass(slots=True)
class Gateway:
    """What all requests share."""

    client: Client
    settings: Settings
    flights: Flights
    clock: Callable[[], float] = time.time
    bodies: Bodies = field(init=False)
    began_at: int = field(init=False)

    def __post_init__(self) -> None:
        self.bodies = Bodies(self.settings)
        self.began_at = int(self.clock())


class Endpoint:
    """One address where something is asked for (an ASGI app).

    Args:
        gateway: What all requests share.
        read: What the body means.
    """

    def __init__(self, gateway: Gateway, read: Reading) -> None:
        self._gateway = gateway
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. A cancel gives its answer up, as a hang-up does."""
        headers: Headers = dict(scope["headers"])
        try:
            async with self._gateway.bodies.read(receive, _length(headers)) as body:
                await self._serve(scope, headers, body, receive, send)
        except RequestRefused as error:
            await refuse_unread(receive, send, error.refusal)
        except ClientGone:
            return

    async def _serve(self, scope: Scope, headers: Headers, body: bytes, receive: Receive, send: Send) -> None:
        gateway, key = self._gateway, scope[KEY]
        counter = Counter(gateway.client, gateway.settings, None if key is None else key.purse, gateway.clock)
        read = self._read(counter, body, headers)
        ticket = _ticket(scope, headers, body if read.words is None else read.words, key)
        seat = await gateway.flights.board(ticket, read.work)
        if seat.is_replay:
            log.info("answer shared", extra={"exchange": seat.flight.exchange, "key": ticket.caller or None})
        telling = Telling(seat, gateway.settings, receive, send)
        try:
            await telling.run(is_stream=read.is_stream)
        except trio.BrokenResourceError:
            log.info("a client does not read what it asked for")
        finally:
            gateway.flights.leave(seat, was_told=telling.was_told)


def build_app(gateway: Gateway) -> ASGIApp:
    """Put the endpoints together."""
    posts: dict[str, Reading] = {
        "/v1/chat/completions": _chat,
        "/v1/completions": _completion,
        "/v1/embeddings": _embedding,
        "/v1/audio/transcriptions": _transcription,
    }

    async def models(_: Request) -> Response:
        return _json({"object": "list", "data": await _models(gateway)})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        for one in await _models(gateway):
            if one["id"] == name:
                return _json(one)
        raise RequestRefused(Refusal(404, "no proxy offers this model", "unknown-model", "model"))

    async def health(_: Request) -> Response:
        return _json({"status": "ok", "running": gateway.flights.running})

    found = Starlette(
        routes=[
            *(Route(path, Endpoint(gateway, read), methods=["POST"]) for path, read in posts.items()),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            Route("/healthz", health),
        ],
        exception_handlers={
            HTTPException: _not_found,
            CocoonError: _refused,
            Exception: _failed,
        },
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST" and scope["path"] in posts:
            await found(scope, receive, send)
        else:
            async with unread(receive):
                await found(scope, receive, send)

    return app


# ------------------------------------------------------------ what bodies mean


def _chat(counter: Counter, body: bytes, headers: Headers) -> Read:
    asked = read_json(ChatRequest, _json_body(body, headers))
    return Read(counter.chat(asked), bool(asked.stream))


def _completion(counter: Counter, body: bytes, headers: Headers) -> Read:
    asked = read_json(CompletionRequest, _json_body(body, headers))
    return Read(counter.complete(asked), bool(asked.stream))


def _embedding(counter: Counter, body: bytes, headers: Headers) -> Read:
    return Read(counter.embed(read_json(EmbeddingRequest, _json_body(body, headers))))


def _transcription(counter: Counter, body: bytes, headers: Headers) -> Read:
    asked, recording = read_transcription(body, headers.get(b"content-type", b"").decode("latin-1"))
    words = msgspec.msgpack.encode((asked, hashlib.sha256(recording).digest()))
    return Read(counter.transcribe(asked, recording), words=words)


def _json_body(body: bytes, headers: Headers) -> bytes:
    # A page on the web may send text to anybody without asking first, but no JSON.
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise invalid("the body is to be JSON, and to say so: `Content-Type: application/json`", status=415)
    return body


def _length(headers: Headers) -> int | None:
    # The server has checked that it is a number.
    said = headers.get(b"content-length")
    return None if said is None else int(said)


# ------------------------------------------------------------ which request it is


def _ticket(scope: Scope, headers: Headers, words: bytes, key: ApiKey | None) -> Ticket:
    """Raises `RequestRefused` for an `Idempotency-Key` that is none."""
    named = headers.get(b"idempotency-key")
    if named is not None and not 1 <= len(named) <= KEY_MAX_LETTERS:
        raise invalid(f"an Idempotency-Key has 1 to {KEY_MAX_LETTERS} letters")
    digest = hashlib.sha256(scope["path"].encode() + b"\0" + words).digest()
    patience = headers.get(b"x-stainless-read-timeout", b"")
    return Ticket(
        caller="" if key is None else key.id,
        words=digest,
        key=None if named is None else named.decode("latin-1"),
        tries=_number(headers.get(b"x-stainless-retry-count", b"")),
        patience_seconds=_seconds(patience),
    )


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) < 4 else None


def _seconds(text: bytes) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds < 86_400 else None


# ------------------------------------------------------------ small answers


async def _models(gateway: Gateway) -> list[dict[str, Any]]:
    return model_list(await gateway.client.models(), created=gateway.began_at)


def _json(said: object) -> Response:
    return Response(msgspec.json.encode(said), media_type="application/json")


def _say(refusal: Refusal) -> Response:
    headers = {name.decode(): value.decode() for name, value in refusal.head()}
    return Response(refusal.body(), refusal.status, headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, CocoonError)
    return _say(refusal_of(error))


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = f"there is nothing to {request.method} at this address"
    return _say(Refusal(error.status_code, said, "unknown-address", must_not_retry=True))


async def _failed(_request: Request, _error: Exception) -> Response:
    return _say(FAULT)
