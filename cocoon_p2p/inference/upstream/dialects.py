"""What a server offers beside OpenAI's completions: how it renders a chat, splits text, and takes wishes.

OpenAI's interface does not say how many tokens a prompt has before it is computed and paid for. These
servers do:

    vLLM       POST /tokenize {messages | prompt} -> {tokens, max_model_len}
    llama.cpp  POST /apply-template {messages} -> {prompt}; POST /tokenize {content} -> {tokens}
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeVar

import httpx
import msgspec

from cocoon_p2p.inference.engine import ChatMessage, EngineError, RequestMalformed
from cocoon_p2p.inference.upstream.wire import require_open, require_plain

ANSWER_SIZE_MAX_BYTES: Final = 64 << 20
"Of a list of tokens: ten million take less."

T = TypeVar("T")


class Dialect(Protocol):
    """One kind of server. `split` of the same request gives the same tokens each time."""

    @property
    def name(self) -> str:
        """What it is called in receipts."""
        ...

    def wishes(self, cache_scope: bytes) -> Mapping[str, object]:
        """What goes with each request: that nothing but temperature and top-p samples, that steps are
        counted, and that prefixes are cached for this scope alone, or not at all."""
        ...

    async def context_tokens(self) -> int:
        """How long prompt and answer may be together; 0 if the server does not say."""
        ...

    async def split_chat(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Render a chat by the model's own template, and split it."""
        ...

    async def split_text(self, text: str, *, is_prompt: bool) -> list[int]:
        """Split text; as a prompt with the model's begin token, where it wants one."""
        ...


class _Tokens(msgspec.Struct, frozen=True):
    tokens: list[int]
    max_model_len: int = 0


class _Rendered(msgspec.Struct, frozen=True):
    prompt: str


class _Settings(msgspec.Struct, frozen=True):
    n_ctx: int = 0


class _Properties(msgspec.Struct, frozen=True):
    default_generation_settings: _Settings = _Settings()


class VllmDialect:
    """vLLM. Its prefix cache is salted, so that nobody learns from the time what another asked."""

    name = "vllm"

    def __init__(self, http: httpx.AsyncClient, model: str) -> None:
        self._http = http
        self._model = model

    def wishes(self, cache_scope: bytes) -> Mapping[str, object]:
        return {
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            # It must not be empty.
            "cache_salt": cache_scope.hex() or "nobody",
        }

    async def context_tokens(self) -> int:
        return (await self._tokenize({"prompt": "Hello"})).max_model_len

    async def split_chat(self, messages: Sequence[ChatMessage]) -> list[int]:
        body = {"messages": _plain(messages), "add_generation_prompt": True}
        return (await self._tokenize(body)).tokens

    async def split_text(self, text: str, *, is_prompt: bool) -> list[int]:
        return (await self._tokenize({"prompt": text, "add_special_tokens": is_prompt})).tokens

    async def _tokenize(self, body: Mapping[str, object]) -> _Tokens:
        return await ask(self._http, "/tokenize", {"model": self._model, **body}, _Tokens)


class LlamaCppDialect:
    """llama.cpp's server. It does not know who asks, so its prompt cache stays unused."""

    name = "llama.cpp"

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    def wishes(self, cache_scope: bytes) -> Mapping[str, object]:
        return {
            "samplers": ("temperature", "top_p"),
            "cache_prompt": False,
            "timings_per_token": True,
            "stream_options": {"include_usage": True},
        }

    async def context_tokens(self) -> int:
        return (await look(self._http, "/props", _Properties)).default_generation_settings.n_ctx

    async def split_chat(self, messages: Sequence[ChatMessage]) -> list[int]:
        rendered = await ask(self._http, "/apply-template", {"messages": _plain(messages)}, _Rendered)
        return await self.split_text(rendered.prompt, is_prompt=True)

    async def split_text(self, text: str, *, is_prompt: bool) -> list[int]:
        body = {"content": text, "add_special": is_prompt, "parse_special": is_prompt}
        return (await ask(self._http, "/tokenize", body, _Tokens)).tokens


async def find_dialect(http: httpx.AsyncClient, model: str) -> Dialect | None:
    """Find out how a server splits text; None if it does not, or in a way that we do not know.

    Raises:
        EngineError: It is not reached.
    """
    for dialect in (VllmDialect(http, model), LlamaCppDialect(http)):
        try:
            # llama.cpp takes vLLM's question, and splits nothing.
            if await dialect.split_text("Hello world", is_prompt=False):
                await dialect.context_tokens()
                return dialect
        except (Unanswered, RequestMalformed):
            continue
    return None


class Unanswered(EngineError):
    """The server does not take a question, or its answer is another than was asked for."""


async def ask(http: httpx.AsyncClient, path: str, body: object, answer: type[T]) -> T:
    """Post JSON, and read JSON.

    Raises:
        RequestMalformed: The text has half of a character, or the server refuses what it says.
        Unanswered: It does not know the question.
        EngineError: It is not reached, or fails.
    """
    try:
        content = msgspec.json.encode(body)
    except UnicodeEncodeError:
        raise RequestMalformed("the prompt holds half of a character (a lone surrogate)") from None
    return await _exchange(http, http.build_request("POST", path, content=content), answer)


async def look(http: httpx.AsyncClient, path: str, answer: type[T]) -> T:
    """Get JSON. Raises as `ask` does."""
    return await _exchange(http, http.build_request("GET", path), answer)


async def _exchange(http: httpx.AsyncClient, request: httpx.Request, answer: type[T]) -> T:
    require_open(http)
    try:
        response = await http.send(request, stream=True)
        try:
            data = await _read(response)
        finally:
            await response.aclose()
    except httpx.HTTPError as exc:
        raise EngineError(f"the server is not reached ({type(exc).__name__})") from exc
    if response.status_code in (400, 422):
        raise RequestMalformed(f"the server takes no such text (status={response.status_code})")
    if response.status_code >= 500:
        raise EngineError(f"the server fails (status={response.status_code})")
    if response.status_code != 200:
        raise Unanswered(f"the server does not answer {request.url.path} (status={response.status_code})")
    try:
        return msgspec.json.decode(data, type=answer)
    except msgspec.MsgspecError as exc:
        raise Unanswered(f"the server answers {request.url.path} with something else: {exc}") from exc


async def _read(response: httpx.Response) -> bytes:
    require_plain(response)
    chunks, size = list[bytes](), 0
    async for chunk in response.aiter_raw():
        chunks.append(chunk)
        size += len(chunk)
        if size > ANSWER_SIZE_MAX_BYTES:
            raise EngineError("the server's answer has no end")
    return b"".join(chunks)


def _plain(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]
