"""The engine whose model runs on a server elsewhere.

    count     the server renders the chat and splits it           /tokenize
    generate  claim a slot --> the tokens themselves --> a stream /v1/completions
    leave     the connection is closed; the server stops at its next step

The tokens that were counted are what is sent, so what was paid for is what is computed. A reader that
is slow makes its own connection fill up, and nothing else.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import httpx
import trio

from cocoon_p2p.inference.engine import (
    Capabilities,
    EngineError,
    GenerateRequest,
    Piece,
    PromptCount,
    PromptKey,
)
from cocoon_p2p.inference.refusing import refuse_endless, refuse_senseless, refuse_unfit
from cocoon_p2p.inference.upstream.dialects import Dialect
from cocoon_p2p.inference.upstream.generation import UpstreamGeneration
from cocoon_p2p.inference.upstream.health import Health
from cocoon_p2p.inference.upstream.wire import RequestRefused, completion_body, stream_completion

PROMPTS_KEPT: Final = 64
"Prompts between their count and their generation: a template that says the time would make another."


class UpstreamEngine:
    """An `Engine` in front of a server. Made by `open_upstream`.

    Args:
        http: A client whose base is the server.
        model: What the server calls the model.
        dialect: How it splits text.
        capabilities: One model.
        health: Whether the server is well, as far as is known.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        model: str,
        dialect: Dialect,
        capabilities: Capabilities,
        health: Health,
    ) -> None:
        self.capabilities = capabilities
        (self._card,) = capabilities.models
        self._http = http
        self._model = model
        self._dialect = dialect
        self._health = health
        self._slots = trio.Semaphore(capabilities.slots)
        self._prompts = OrderedDict[PromptKey, list[int]]()
        self._is_closed = False

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Let the server tokenise the prompt (`Engine.count`). A cancel leaves nothing behind.

        What the server has cached is not known before, and so not promised.
        """
        self._health.require()
        prompt = self._prompts[request.prompt_key] = await self._split(request)
        if len(self._prompts) > PROMPTS_KEPT:
            self._prompts.popitem(last=False)
        return PromptCount(len(prompt))

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Generate (`Engine.generate`). Waits for a slot if all are taken.

        Leaving closes the connection, by which the server learns that nobody reads any more.
        """
        prompt = await self._split(request)
        self._prompts.pop(request.prompt_key, None)
        async with self._slots, aclosing(self._pieces(request, prompt)) as pieces:
            yield pieces

    async def aclose(self) -> None:
        """Close all connections. Generations that still run fail with EngineError."""
        self._is_closed = True
        await self._http.aclose()

    async def _pieces(self, request: GenerateRequest, prompt: list[int]) -> AsyncGenerator[Piece, None]:
        tokens_max = min(request.completion_tokens_max, self._card.context_tokens - len(prompt))
        generation = UpstreamGeneration(
            request.stop, prompt_tokens=len(prompt), completion_tokens_max=tokens_max
        )
        body = completion_body(
            self._model,
            prompt,
            self._dialect.wishes(request.cache_scope),
            tokens_max=tokens_max,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            ignore_eos=request.ignore_eos,
        )
        try:
            async with stream_completion(self._http, body) as events:
                async for event in events:
                    piece = generation.take(event)
                    # Each step shows it: a server that is busy for long is not asked to prove it besides.
                    self._health.succeeded()
                    if piece is not None:
                        yield piece
                        if piece.finish is not None:
                            return
            yield generation.end()
        except RequestRefused:
            # Perhaps for what is in it, and then nobody else is to wait for that.
            self._health.suspect()
            raise
        except EngineError:
            self._health.failed()
            raise

    async def _split(self, request: GenerateRequest) -> list[int]:
        if self._is_closed:
            raise EngineError("the engine is closed")
        refuse_senseless(request, self._card)
        kept = self._prompts.get(request.prompt_key)
        if kept is not None:
            return kept
        refuse_endless(request, self._card)
        if request.prompt is None:
            prompt = await self._dialect.split_chat(request.messages)
        else:
            prompt = await self._dialect.split_text(request.prompt, is_prompt=True)
        if request.answer_prefix:
            # By itself and as plain text: that is how it came out of the model.
            prompt += await self._dialect.split_text(request.answer_prefix, is_prompt=False)
        refuse_unfit(prompt, self._card)
        return prompt
