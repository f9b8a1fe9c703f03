"""The llama.cpp engine for embedding models: texts in, one vector of length 1 for each.

A text is computed in one step, so leaving waits for one text at most. Nothing is kept from one
text to the next.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.inference.counted import Counted
from cocoon_p2p.inference.engine import (
    Capabilities,
    Finish,
    GenerateRequest,
    Piece,
    PromptCount,
    PromptTooLong,
)
from cocoon_p2p.inference.llama_server import LlamaServer
from cocoon_p2p.inference.llama_threads import LlamaThreads, Work
from cocoon_p2p.inference.pipe import Pipe
from cocoon_p2p.inference.refusing import TOKEN_SIZE_MAX, refuse_senseless


class LlamaCppEmbedding:
    """An `Engine` on a loaded embedding model. Made by `open_llamacpp`; lives in one trio run.

    Args:
        server: The loaded model. The engine closes it.
        capabilities: One model, and as many slots as the server has.
        token_size_max_bytes: A token stands for no more text than this.
    """

    def __init__(
        self, server: LlamaServer, capabilities: Capabilities, *, token_size_max_bytes: int = TOKEN_SIZE_MAX
    ) -> None:
        self.capabilities = capabilities
        (self._card,) = capabilities.models
        self._server = server
        self._token_size_max = token_size_max_bytes
        self._splitting = trio.CapacityLimiter(2)
        self._counted = Counted[list[list[int]]]()
        self._threads = LlamaThreads(capabilities.slots, server.close)

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Split the texts (`Engine.count`). A cancel waits for the one that is being split."""
        texts = self._counted.keep(request, await self._texts(request))
        return PromptCount(sum(map(len, texts)))

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Embed (`Engine.generate`). A piece for each text; waits for a slot if all are taken."""
        texts = await self._texts(request)
        self._counted.drop(request)
        work = Work(lambda pipe: self._compute(texts, pipe), lambda: None)
        async with self._threads.run(lambda: work) as pieces:
            yield pieces

    async def aclose(self) -> None:
        """Stop all requests and unload the model (`LlamaThreads.aclose`)."""
        await self._threads.aclose()

    async def _texts(self, request: GenerateRequest) -> list[list[int]]:
        """Each text's tokens, as the engine splits them."""
        self._threads.refuse_closed()
        refuse_senseless(request, self._card)
        kept = self._counted.find(request)
        if kept is not None:
            return kept
        texts = list[list[int]]()
        for text in request.inputs:
            if len(text) > self._card.context_tokens * self._token_size_max:
                raise self._too_long(f"{len(text)} characters")
            texts.append(await trio.to_thread.run_sync(self._server.tokenize, text, limiter=self._splitting))
            if len(texts[-1]) > self._card.context_tokens:
                raise self._too_long(f"{len(texts[-1])} tokens")
        return texts

    def _too_long(self, size: str) -> PromptTooLong:
        return PromptTooLong(
            f"a text to embed is longer than the model takes (text={size} "
            f"context={self._card.context_tokens} tokens)",
            hint="cut it into shorter texts",
        )

    def _compute(self, texts: Sequence[Sequence[int]], pipe: Pipe[Piece]) -> None:
        tokens = 0
        for number, text in enumerate(texts, start=1):
            vector = self._server.embed(text)
            tokens += len(text)
            finish = Finish.STOP if number == len(texts) else None
            if not pipe.put(Piece("", 0, tokens, finish=finish, vectors=(vector,))):
                return
