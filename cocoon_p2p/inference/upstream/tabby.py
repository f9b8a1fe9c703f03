"""TabbyAPI's dialect: the model's template is rendered here, and the prompt goes as text.

It takes no tokens, so an answer that began elsewhere is not continued there. Its prompt cache is shared by
all who ask, and no request can leave it: how soon an answer begins can tell that somebody had sent the same
beginning. Who opens it is warned (`opening`).

Spec: TabbyAPI, endpoints core and OAI: /props, /v1/token/encode, /v1/token/decode, /v1/completions.
"""

from collections.abc import Mapping
from typing import Final

import httpx
import msgspec
import trio

from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.engine import FeatureMissing, GenerateRequest, RequestMalformed
from cocoon_p2p.inference.upstream.bodies import Prompt, needs_chat
from cocoon_p2p.inference.upstream.constraining import tabby_words
from cocoon_p2p.inference.upstream.dialects import (
    Properties,
    Tokens,
    refuse_to_continue,
)
from cocoon_p2p.inference.upstream.wire import RequestRefused, ask, look

TEMPLATES_AT_ONCE: Final = 4


class _Text(msgspec.Struct, frozen=True):
    text: str


class TabbyDialect:
    """TabbyAPI. Made by `open`, which fetches the template."""

    name = "tabbyapi"
    takes_tokens = False
    constrainings = (tabby_words,)

    def __init__(self, http: httpx.AsyncClient, properties: Properties, bos: str) -> None:
        self._http = http
        self._context = properties.default_generation_settings.n_ctx
        self._template = ChatTemplate(properties.chat_template, bos=bos)
        self._rendering = trio.CapacityLimiter(TEMPLATES_AT_ONCE)

    @classmethod
    async def open(cls, http: httpx.AsyncClient) -> "TabbyDialect":
        """Ask a server for its template, and for the text of its begin token.

        Raises:
            Unanswered: It does not say.
            EngineError: It is not reached.
        """
        properties = await look(http, "/props", Properties)
        begin = await ask(http, "/v1/token/encode", {"text": "", "add_bos_token": True}, Tokens)
        bos = await ask(http, "/v1/token/decode", {"tokens": begin.tokens}, _Text) if begin.tokens else None
        # A hostile template takes its child some seconds.
        return await trio.to_thread.run_sync(cls, http, properties, bos.text if bos else "")

    def extras(self, request: GenerateRequest) -> Mapping[str, object]:
        return {
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "add_bos_token": request.prompt is not None,
            "ban_eos_token": request.ignore_eos,
            "banned_strings": request.banned,
            "stream_options": {"include_usage": True},
        }

    async def context_tokens(self) -> int:
        return self._context

    async def split(self, request: GenerateRequest) -> Prompt:
        if needs_chat(request):
            raise FeatureMissing("this engine has no tools and no images")
        refuse_to_continue(request)
        try:
            if request.prompt is not None:
                return Prompt(len(await self.split_text(request.prompt, is_prompt=True)), request.prompt)
            text = await trio.to_thread.run_sync(
                self._template.render, request.messages, limiter=self._rendering
            )
            # The template writes the begin token, where the model wants one.
            return Prompt(len(await self._encode(text, begins=False)), text)
        except RequestRefused as exc:
            raise RequestMalformed(str(exc)) from exc

    async def split_text(self, text: str, *, is_prompt: bool) -> list[int]:
        return await self._encode(text, begins=is_prompt)

    async def _encode(self, text: str, *, begins: bool) -> list[int]:
        body = {"text": text, "add_bos_token": begins, "encode_special_tokens": True}
        return (await ask(self._http, "/v1/token/encode", body, Tokens)).tokens
