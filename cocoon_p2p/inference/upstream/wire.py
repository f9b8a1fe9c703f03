"""What goes to an OpenAI-compatible server and what comes back, as far as we use it.

Spec: OpenAI API reference, Completions (legacy), streaming: a prompt may be a list of tokens, which is
how we make sure that what was counted is what is computed. What servers add to it is in `dialects`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final, Self

import httpx
import msgspec
from httpx_sse import EventSource, SSEError

from cocoon_p2p.inference.engine import EngineError

COMPLETIONS: Final = "/v1/completions"
JSON: Final = {"Content-Type": "application/json"}

SEEDS: Final = 2**32 - 1
"What every server takes; llama.cpp's highest number means none."

EVENT_SIZE_MAX_BYTES: Final = 1 << 20
"Of one step of an answer, which takes some hundred bytes."

ERROR_SIZE_MAX_BYTES: Final = 64 << 10
"Of an error's body; what is longer is no error that we know."


REFUSALS: Final = frozenset((400, 413, 422))
"Statuses by which a server says that it is well, and that a request makes no sense."


class RequestRefused(EngineError):
    """The server takes no such request; another it might."""


class Choice(msgspec.Struct, frozen=True):
    text: str = ""
    finish_reason: str | None = None


class PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None

    @property
    def cached_tokens(self) -> int:
        return 0 if self.prompt_tokens_details is None else self.prompt_tokens_details.cached_tokens


class Timings(msgspec.Struct, frozen=True):
    predicted_n: int
    "llama.cpp: tokens sampled so far."


class Event(msgspec.Struct, frozen=True):
    """One step of an answer. The last one, or one after it, has `usage`; some servers' all have."""

    choices: list[Choice] = []
    usage: Usage | None = None
    timings: Timings | None = None
    error: msgspec.Raw | None = None


class Failure(msgspec.Struct, frozen=True):
    code: int | str | None = None
    type: str | None = None


class FailureBody(msgspec.Struct, frozen=True):
    error: Failure | str | None = None
    type: str | None = None
    "vLLM before 0.10 has the error's fields at the top."


_EVENTS = msgspec.json.Decoder(Event)
_FAILURES = msgspec.json.Decoder(FailureBody)


def completion_body(
    model: str,
    prompt: Sequence[int],
    wishes: Mapping[str, object],
    *,
    tokens_max: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    ignore_eos: bool = False,
) -> bytes:
    """Write a request for a completion of these very tokens, step by step; `wishes` are the dialect's."""
    body: dict[str, object] = {
        "model": model,
        "prompt": prompt,
        "max_tokens": tokens_max,
        "temperature": temperature,
        "top_p": top_p,
        "stream": True,
        **wishes,
    }
    if seed is not None:
        body["seed"] = seed % SEEDS
    if ignore_eos:
        body["ignore_eos"] = True
    return msgspec.json.encode(body)


def require_open(http: httpx.AsyncClient) -> None:
    """Raise EngineError for a client that is closed, which raises RuntimeError by itself."""
    if http.is_closed:
        raise EngineError("the engine is closed")


@asynccontextmanager
async def stream_completion(http: httpx.AsyncClient, body: bytes) -> AsyncIterator[AsyncIterator[Event]]:
    """Have a completion computed, step by step, up to the one that says that it is over.

    Leaving the block closes the connection, by which the server learns that nobody reads any more.

    Raises:
        EngineError: The server refuses or fails, says what cannot be understood, is not reached or lost,
            or is silent for longer than the client's read timeout.
    """
    require_open(http)
    try:
        async with http.stream("POST", COMPLETIONS, content=body, headers=JSON) as response:
            if response.status_code != 200:
                kind = RequestRefused if response.status_code in REFUSALS else EngineError
                raise kind(f"the server refuses a request ({await _failure(response)})")
            async with aclosing(_events(response)) as events:
                yield events
    except httpx.HTTPError as exc:
        raise EngineError(f"the connection to the server is lost ({type(exc).__name__})") from exc


def require_plain(response: httpx.Response) -> None:
    """Raise EngineError for a body that is packed: a few bytes of it can stand for gigabytes."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise EngineError("the server packs what must come as it is")


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


async def _events(response: httpx.Response) -> AsyncGenerator[Event, None]:
    require_plain(response)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = bounded = _Bounded(response.stream)
    # Always, whatever a server calls it; some that Python knows are no encodings at all.
    response.encoding = "utf-8"
    try:
        async with aclosing(EventSource(response).aiter_sse()) as lines:
            async for event in lines:
                bounded.unfinished_bytes = 0
                if event.data == "[DONE]":
                    return
                step = _EVENTS.decode(event.data)
                if step.error is not None:
                    # Its words may quote the prompt, which nobody else may read.
                    raise EngineError("the server failed in the middle of an answer")
                yield step
    except (msgspec.MsgspecError, UnicodeError, SSEError) as exc:
        raise EngineError(f"the server's answer is no stream of completions ({type(exc).__name__})") from exc


async def _failure(response: httpx.Response) -> str:
    """Say what a response that is no success is, without its words: they may quote the prompt."""
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ERROR_SIZE_MAX_BYTES:
            break
    try:
        failure = _FAILURES.decode(body)
    except msgspec.MsgspecError:
        return f"status={response.status_code}"
    inner = failure.error if isinstance(failure.error, Failure) else None
    kind = inner.type if inner is not None else failure.type
    # A type is a word of the server's program, never of the request.
    named = kind if kind is not None and kind.replace("_", "").isalnum() and len(kind) <= 64 else None
    return f"status={response.status_code}" + (f" type={named}" if named else "")
