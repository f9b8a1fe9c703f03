"""What servers do not share: how each splits a prompt, takes a constraint, counts its steps and caches.

OpenAI's interface does not say how many tokens a prompt has before it is computed and paid for. These
servers do:

    vLLM       POST /tokenize {messages, tools | prompt} -> {tokens, max_model_len}  (0.10 to 0.16)
    SGLang     the same, in releases whose /tokenize takes messages (2026)
    llama.cpp  POST /apply-template {messages, tools} -> {prompt}; POST /tokenize {content} -> {tokens}
    TabbyAPI   GET /props -> {chat_template}, rendered here; POST /v1/token/encode {text} -> {tokens}

How each takes a constraint is in `constraining`.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import httpx
import msgspec

from cocoon_p2p.inference.engine import FeatureMissing, GenerateRequest, RequestMalformed
from cocoon_p2p.inference.upstream.bodies import Body, Prompt, chat_of, needs_chat
from cocoon_p2p.inference.upstream.constraining import (
    Constraining,
    llama_words,
    sglang_words,
    vllm_old_words,
    vllm_words,
)
from cocoon_p2p.inference.upstream.wire import RequestRefused, Unanswered, ask, look

LOOK_BACK_TOKENS: Final = 1 << 16
"llama.cpp penalises what was said among so many tokens; left to itself, among 64."


class Dialect(Protocol):
    """One kind of server, and one model of it."""

    @property
    def name(self) -> str:
        """What it is called in receipts."""
        ...

    @property
    def takes_tokens(self) -> bool:
        """Whether a prompt goes as tokens: then an answer can be continued, and texts embedded."""
        ...

    @property
    def constrainings(self) -> Sequence[Constraining]:
        """Ways to say a constraint, the newest first."""
        ...

    def extras(self, request: GenerateRequest) -> Mapping[str, object]:
        """What goes with a request: that nothing but temperature and top-p samples, that steps are
        counted, and that prefixes are cached for its scope alone, or not at all."""
        ...

    async def context_tokens(self) -> int:
        """How long prompt and answer may be together; 0 if the server does not say."""
        ...

    async def split(self, request: GenerateRequest) -> Prompt:
        """Render and split a request's prompt.

        Raises:
            RequestMalformed: The server refuses it: its template, or half of a character.
            FeatureMissing: An answer that only the server's own chat can give is to be continued.
        """
        ...

    async def split_text(self, text: str, *, is_prompt: bool) -> list[int]:
        """Split text; as a prompt with the model's begin token, where it wants one."""
        ...


class ServedModel(msgspec.Struct, frozen=True):
    """One entry of a server's list of models."""

    id: str
    owned_by: str | None = None
    "What the server is, if it says so."

    max_model_len: int | None = None


class ServedModels(msgspec.Struct, frozen=True):
    data: list[ServedModel]


class Tokens(msgspec.Struct, frozen=True):
    tokens: list[int]
    max_model_len: int | None = None


class _Rendered(msgspec.Struct, frozen=True):
    prompt: str


class _Settings(msgspec.Struct, frozen=True):
    n_ctx: int = 0


class Properties(msgspec.Struct, frozen=True):
    default_generation_settings: _Settings = _Settings()
    chat_template: str = ""


class VllmDialect:
    """vLLM. Its prefix cache is salted, so that nobody learns from the time what another asked."""

    name = "vllm"
    takes_tokens = True
    constrainings: Sequence[Constraining] = (vllm_words, vllm_old_words)

    def __init__(self, http: httpx.AsyncClient, model: str) -> None:
        self._http = http
        self._model = model

    def extras(self, request: GenerateRequest) -> Mapping[str, object]:
        return {
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "ignore_eos": request.ignore_eos,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            # It must not be empty.
            "cache_salt": request.cache_scope.hex() or "nobody",
        }

    async def context_tokens(self) -> int:
        return (await self._tokenize({"prompt": "Hello"})).max_model_len or 0

    async def split(self, request: GenerateRequest) -> Prompt:
        return await _split(self, request)

    async def split_chat(self, chat: Body) -> list[int]:
        return (await self._tokenize({**chat, "add_generation_prompt": True})).tokens

    async def split_text(self, text: str, *, is_prompt: bool) -> list[int]:
        return (await self._tokenize({"prompt": text, "add_special_tokens": is_prompt})).tokens

    async def _tokenize(self, body: Body) -> Tokens:
        return await ask(self._http, "/tokenize", {"model": self._model, **body}, Tokens)


class SglangDialect(VllmDialect):
    """SGLang: it splits as vLLM does, and has other words for the rest."""

    name = "sglang"
    constrainings = (sglang_words,)

    def __init__(self, http: httpx.AsyncClient, model: ServedModel) -> None:
        super().__init__(http, model.id)
        # What it says of its tokenizer (`max_model_len` of /tokenize) is not what it can compute.
        self._context = model.max_model_len or 0

    def extras(self, request: GenerateRequest) -> Mapping[str, object]:
        return {**super().extras(request), "top_k": -1}

    async def context_tokens(self) -> int:
        return self._context


class LlamaCppDialect:
    """llama.cpp's server. It does not know who asks, so its prompt cache stays unused."""

    name = "llama.cpp"
    takes_tokens = True
    constrainings = (llama_words,)

    def __init__(self, http: httpx.AsyncClient, model: str) -> None:
        self._http = http
        self._model = model

    def extras(self, request: GenerateRequest) -> Mapping[str, object]:
        is_penalised = request.frequency_penalty or request.presence_penalty
        penalties = {"samplers": ("penalties", "temperature", "top_p"), "repeat_last_n": LOOK_BACK_TOKENS}
        return {
            **(penalties if is_penalised else {"samplers": ("temperature", "top_p")}),
            "cache_prompt": False,
            "ignore_eos": request.ignore_eos,
            "timings_per_token": True,
            "return_progress": True,
            "stream_options": {"include_usage": True},
            "reasoning_format": "none",
        }

    async def context_tokens(self) -> int:
        return (await look(self._http, "/props", Properties)).default_generation_settings.n_ctx

    async def split(self, request: GenerateRequest) -> Prompt:
        return await _split(self, request)

    async def split_chat(self, chat: Body) -> list[int]:
        rendered = await ask(self._http, "/apply-template", {"model": self._model, **chat}, _Rendered)
        return await self.split_text(rendered.prompt, is_prompt=True)

    async def split_text(self, text: str, *, is_prompt: bool) -> list[int]:
        body = {"model": self._model, "content": text, "add_special": is_prompt, "parse_special": is_prompt}
        return (await ask(self._http, "/tokenize", body, Tokens)).tokens


async def require_split(dialect: Dialect) -> None:
    """See that a server splits text in this dialect.

    Raises:
        Unanswered: It does not.
        EngineError: It is not reached.
    """
    try:
        # llama.cpp takes vLLM's question, and splits nothing.
        if not await dialect.split_text("Hello world", is_prompt=False):
            raise Unanswered("the server splits a text into nothing")
        await dialect.context_tokens()
    except RequestRefused as exc:
        raise Unanswered(str(exc)) from exc


class _Splitting(Protocol):
    async def split_chat(self, chat: Body) -> list[int]: ...

    async def split_text(self, text: str, *, is_prompt: bool) -> list[int]: ...


async def _split(dialect: _Splitting, request: GenerateRequest) -> Prompt:
    try:
        if needs_chat(request):
            refuse_to_continue(request)
            return Prompt(len(await dialect.split_chat(chat_of(request))), None)
        if request.prompt is None:
            tokens = await dialect.split_chat(chat_of(request))
        else:
            tokens = await dialect.split_text(request.prompt, is_prompt=True)
        if request.answer_prefix:
            # By itself and as plain text: that is how it came out of the model.
            tokens += await dialect.split_text(request.answer_prefix, is_prompt=False)
    except RequestRefused as exc:
        raise RequestMalformed(str(exc)) from exc
    return Prompt(len(tokens), tuple(tokens))


def refuse_to_continue(request: GenerateRequest) -> None:
    """Raise FeatureMissing for an answer that was begun elsewhere, and that only the server can render."""
    if request.answer_prefix:
        raise FeatureMissing("this engine has no continue for answers with tools or pictures")
