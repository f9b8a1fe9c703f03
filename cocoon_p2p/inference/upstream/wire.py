"""The one door to a server: questions with one answer, and answers that come step by step.

Everything that a server says is bounded in bytes before it is read, and whatever is wrong with it comes
out as an `EngineError` whose text never quotes: a server's words may hold the prompt.

    connection refused, lost, reset     EngineError
    400 413 422                         RequestRefused, or PromptTooLong where it says so
    401 403                             KeyRefused
    429                                 ServerBusy, with the time it asks for
    3xx 5xx, no JSON, no end, packed    EngineError

Spec: OpenAI API reference, Completions and Chat Completions (streaming), Errors.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final, Self, TypeVar

import httpx
import msgspec
import trio
from httpx_sse import EventSource, SSEError

from cocoon_p2p.inference.engine import EngineError, PromptTooLong, RequestMalformed
from cocoon_p2p.inference.upstream.steps import Step, decode_step
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS

JSON: Final = {"Content-Type": "application/json"}

EVENT_SIZE_MAX_BYTES: Final = 256 << 10
"Of one step of an answer: some hundred bytes; with twenty likeliest tokens some thousand; a call has 32 KB."

ANSWER_SIZE_MAX_BYTES: Final = 64 << 20
"Of a list of tokens: ten million take less."

ERROR_SIZE_MAX_BYTES: Final = 64 << 10
"Of an error's body; what is longer is no error that we know."

RETRY_MAX_SECONDS: Final = 60.0
"A server that asks for more is not believed: it is asked again by then."

REFUSALS: Final = frozenset((400, 413, 422))
"Statuses by which a server says that it is well, and that a request makes no sense."

_TOO_LONG: Final = ("exceed_context_size_error", "context_length_exceeded")
"Types and codes by which llama.cpp and OpenAI say that a prompt does not fit; vLLM says it in words."

_LOST: Final = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
"What httpx raises of a server; the last two where a redirect leads to no address, though nobody follows it."

T = TypeVar("T")


class Unanswered(EngineError):
    """The server does not know a question, or its answer is another than was asked for."""


class RequestRefused(EngineError):
    """The server takes no such request; another it might."""


class KeyRefused(EngineError):
    """The server wants a key, or another one."""


class ServerBusy(EngineError):
    """The server is well and has no room; `retry_after` says when it wants to be asked again."""


class Failure(msgspec.Struct, frozen=True):
    code: int | str | None = None
    type: str | None = None
    message: str | None = None


class FailureBody(msgspec.Struct, frozen=True):
    error: Failure | str | None = None
    type: str | None = None
    message: str | None = None
    "vLLM before 0.10 and SGLang have the error's fields at the top."


_FAILURES = msgspec.json.Decoder(FailureBody)


def encode(body: Mapping[str, object]) -> bytes:
    """Write a question.

    Raises:
        RequestMalformed: A text has half of a character.
    """
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        raise RequestMalformed("the prompt holds half of a character (a lone surrogate)") from None


async def ask(
    http: httpx.AsyncClient,
    path: str,
    body: Mapping[str, object],
    answer: type[T],
    *,
    size_max_bytes: int = ANSWER_SIZE_MAX_BYTES,
) -> T:
    """Post JSON, and read JSON.

    Raises:
        RequestMalformed: The text has half of a character.
        RequestRefused: The server refuses what it says.
        Unanswered: It does not know the question, or answers something else.
        EngineError: It is not reached, or fails.
    """
    request = http.build_request("POST", path, content=encode(body), headers=JSON)
    return await exchange(http, request, answer, size_max_bytes=size_max_bytes)


async def look(http: httpx.AsyncClient, path: str, answer: type[T]) -> T:
    """Get JSON. Raises as `ask` does."""
    return await exchange(http, http.build_request("GET", path), answer)


async def exchange(
    http: httpx.AsyncClient,
    request: httpx.Request,
    answer: type[T],
    *,
    size_max_bytes: int = ANSWER_SIZE_MAX_BYTES,
    within_seconds: float = ENGINE_STALL_SECONDS,
) -> T:
    """Send any request, and read JSON. Raises as `ask` does."""
    _require_open(http)
    try:
        # A server that trickles is never silent, and never done.
        with trio.fail_after(within_seconds):
            data = await _answer(http, request, size_max_bytes)
    except trio.TooSlowError:
        raise EngineError(f"the server gives no answer (waited={within_seconds:g} s)") from None
    except _LOST as exc:
        raise EngineError(f"the server is not reached ({type(exc).__name__})") from exc
    try:
        return msgspec.json.decode(data, type=answer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise Unanswered(
            f"the server answers {request.url.path} with something else ({type(exc).__name__})"
        ) from exc


@asynccontextmanager
async def stream_steps(
    http: httpx.AsyncClient, path: str, body: Mapping[str, object]
) -> AsyncIterator[AsyncIterator[Step]]:
    """Have an answer computed, step by step, up to the one that says that it is over.

    Leaving the block closes the connection, by which the server learns that nobody reads any more.

    Raises:
        EngineError: The server refuses or fails, says what cannot be understood, is not reached or lost.
    """
    _require_open(http)
    try:
        # How long a step may take is the reader's to say: that of a long prompt takes minutes.
        wait = httpx.Timeout(None, connect=http.timeout.connect)
        content = encode(body)
        async with http.stream("POST", path, content=content, headers=JSON, timeout=wait) as response:
            if response.status_code != 200:
                raise await _refusal(response)
            async with aclosing(_steps(response)) as steps:
                yield steps
    except _LOST as exc:
        raise EngineError(f"the connection to the server is lost ({type(exc).__name__})") from exc


def _require_open(http: httpx.AsyncClient) -> None:
    """A client that is closed raises RuntimeError by itself."""
    if http.is_closed:
        raise EngineError("the engine is closed")


def _require_plain(response: httpx.Response) -> None:
    """Refuse a body that is packed: a few bytes of it can stand for gigabytes."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise EngineError("the server packs what must come as it is")


async def _answer(http: httpx.AsyncClient, request: httpx.Request, size_max_bytes: int) -> bytes:
    response = await http.send(request, stream=True)
    try:
        if response.status_code != 200:
            raise await _refusal(response)
        return await _read(response, size_max_bytes)
    finally:
        with trio.CancelScope(shield=True):
            await response.aclose()


async def _read(response: httpx.Response, size_max_bytes: int) -> bytes:
    _require_plain(response)
    chunks, size = list[bytes](), 0
    async for chunk in response.aiter_raw():
        chunks.append(chunk)
        size += len(chunk)
        if size > size_max_bytes:
            raise EngineError("the server's answer has no end")
    return b"".join(chunks)


class _Bounded(httpx.AsyncByteStream):
    """A response's bytes, up to so many that no event ends in."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self.unfinished_bytes = 0
        "Since the last event."

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        self.unfinished_bytes += len(chunk)
        if self.unfinished_bytes > EVENT_SIZE_MAX_BYTES:
            raise EngineError("a step of the server's answer has no end")
        return chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _steps(response: httpx.Response) -> AsyncGenerator[Step, None]:
    _require_plain(response)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = bounded = _Bounded(response.stream)
    # Always, whatever a server calls it; some that Python knows are no encodings at all.
    response.encoding = "utf-8"
    try:
        async with aclosing(EventSource(response).aiter_sse()) as events:
            async for event in events:
                bounded.unfinished_bytes = 0
                if event.data == "[DONE]":
                    return
                # Without data it only keeps the line alive, or says when to come back.
                if event.data:
                    yield decode_step(event.data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, SSEError) as exc:
        raise EngineError(f"the server's answer is no stream of steps ({type(exc).__name__})") from exc


async def _refusal(response: httpx.Response) -> EngineError:
    """Tell a response that is no success, without its words."""
    status, failure = response.status_code, await _failure(response)
    # A type is a word of the server's program, never of the request.
    kind = failure.type or ""
    named = f" type={kind}" if kind.replace("_", "").isalnum() and len(kind) <= 64 else ""
    said = f"status={status}{named}"
    if status in REFUSALS:
        says = f"{failure.type} {failure.code} {failure.message}".lower()
        if any(word in says for word in (*_TOO_LONG, "context length")):
            return PromptTooLong(f"the server finds the prompt too long ({said})")
        return RequestRefused(f"the server refuses a request ({said})")
    if status in (401, 403):
        return KeyRefused(f"the server does not take the key ({said})")
    if status == 429:
        wait = _retry_seconds(response.headers.get("Retry-After", ""))
        return ServerBusy(f"the server has no room ({said})", retry_after=wait)
    if response.is_redirect:
        return EngineError(f"the server sends elsewhere, where nobody follows ({said})")
    if status >= 500 and status != 501:
        return EngineError(f"the server fails ({said})")
    return Unanswered(f"the server does not answer {response.request.url.path} ({said})")


async def _failure(response: httpx.Response) -> Failure:
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ERROR_SIZE_MAX_BYTES:
            return Failure()
    try:
        failure = _FAILURES.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Failure()
    if isinstance(failure.error, Failure):
        return failure.error
    return Failure(type=failure.type, message=failure.message)


def _retry_seconds(said: str) -> float:
    try:
        seconds = float(said)
    except ValueError:
        return 1.0
    return min(max(seconds, 0.0), RETRY_MAX_SECONDS) if math.isfinite(seconds) else 1.0
