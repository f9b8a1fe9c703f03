"""The llama.cpp engine: GGUF models on a processor, many requests in one batch.

    count     render the chat, split it into tokens             in a helper thread
    generate  claim a slot --> a thread for the request --> pipe --> the reader
    leave     the pipe stops; the thread's next step returns; the slot is free

llama.cpp computes all requests in one loop of its own. A thread here only takes one
request's tokens from it, so a slow reader holds up nobody else: its tokens wait in
llama.cpp, and its generation is not paused but ends at its completion limit.

Equal seeds give equal answers while nothing else moves the last digit of the numbers:
what else is in the batch does, and what comes from the cache.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.inference.cache_slots import cache_slots
from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.counted import Counted
from cocoon_p2p.inference.engine import (
    Capabilities,
    GenerateRequest,
    Piece,
    PromptCount,
)
from cocoon_p2p.inference.llama_generation import LlamaGeneration
from cocoon_p2p.inference.llama_server import LlamaServer
from cocoon_p2p.inference.llama_threads import LlamaThreads, Work
from cocoon_p2p.inference.llama_wishes import completion, grammar_of, offered_form, refuse_tokens
from cocoon_p2p.inference.pipe import Pipe
from cocoon_p2p.inference.refusing import TOKEN_SIZE_MAX, refuse_endless, refuse_senseless, refuse_unfit
from cocoon_p2p.inference.tools import CallForm, PieceCalls
from cocoon_p2p.inference.wishes import ToolUse


class LlamaCppEngine:
    """An `Engine` on a loaded model. Made by `open_llamacpp`; lives in one trio run.

    Args:
        server: The loaded model. The engine closes it.
        capabilities: One model, and as many slots as the server has.
        template: The model's chat template.
        bos: The text of the model's begin token.
        token_size_max_bytes: A token stands for no more text than this. Prompts that cannot fit
            are refused by it: nobody has paid yet, and splitting a megabyte takes half a second.
        vocabulary: How many tokens the model has; 0 if that is unknown.
        form: How the model writes tool calls, if it does.
    """

    def __init__(
        self,
        server: LlamaServer,
        capabilities: Capabilities,
        template: ChatTemplate,
        *,
        bos: str,
        token_size_max_bytes: int = TOKEN_SIZE_MAX,
        vocabulary: int = 0,
        form: CallForm | None = None,
    ) -> None:
        self.capabilities = capabilities
        (self._card,) = capabilities.models
        self._server = server
        self._template = template
        self._bos = bos
        self._token_size_max = token_size_max_bytes
        self._vocabulary = vocabulary
        self._form = form
        self._table = cache_slots(capabilities.slots)
        self._splitting = trio.CapacityLimiter(4)
        self._counted = Counted[list[int]]()
        self._threads = LlamaThreads(capabilities.slots, server.close)

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Tokenise the prompt (`Engine.count`). A cancel waits for the splitting, some milliseconds."""
        prompt, _ = await self._prepared(request)
        self._counted.keep(request, prompt)
        return PromptCount(len(prompt), self._table.cached_tokens(request.cache_scope, prompt))

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Generate (`Engine.generate`). Waits for a slot if all are taken; leaving, for the engine."""
        prompt, grammar = await self._prepared(request)
        self._counted.drop(request)
        async with self._threads.run(lambda: self._work(request, prompt, grammar)) as pieces:
            yield pieces

    async def aclose(self) -> None:
        """Stop all generations and unload the model (`LlamaThreads.aclose`)."""
        await self._threads.aclose()

    async def _prepared(self, request: GenerateRequest) -> tuple[list[int], str]:
        """The request's tokens, as the engine splits them, and the grammar of its answer."""
        self._threads.refuse_closed()
        refuse_senseless(request, self._card)
        refuse_tokens(request, self._vocabulary)
        grammar = ""
        if request.constraint is not None or request.tool_use is ToolUse.REQUIRED:
            grammar = await trio.to_thread.run_sync(grammar_of, request, self._form, limiter=self._splitting)
        kept = self._counted.find(request)
        if kept is not None:
            return kept, grammar
        refuse_endless(request, self._card, token_size_max=self._token_size_max)
        prompt = await trio.to_thread.run_sync(self._split, request, limiter=self._splitting)
        refuse_unfit(prompt, self._card)
        return prompt, grammar

    def _split(self, request: GenerateRequest) -> list[int]:
        """Render and split a request's prompt. Blocks.

        What was already answered is split by itself and as plain text: that is how it came
        out of the model.
        """
        text = request.prompt if request.prompt is not None else self._render(request)
        prompt = self._server.tokenize(text)
        if request.answer_prefix:
            prompt += self._server.tokenize(request.answer_prefix, is_prompt=False)
        return prompt

    def _render(self, request: GenerateRequest) -> str:
        # A model that is not told of any tool calls none.
        tools = () if request.tool_use is ToolUse.NONE else request.tools
        text = self._template.render(request.messages, tools)
        # Many templates write the begin token themselves, and the engine would add another.
        if self._bos and text.startswith(self._bos) and self._server.tokenize(""):
            return text.removeprefix(self._bos)
        return text

    def _work(self, request: GenerateRequest, prompt: list[int], grammar: str) -> Work:
        """Claim a slot for a request, which is there to be had, and say what its thread does."""
        self._table, claim = self._table.claim(request.cache_scope, prompt)
        form = offered_form(request, self._form)
        asked = completion(
            request,
            prompt,
            self._card,
            slot=claim.slot,
            may_reuse=claim.may_reuse,
            grammar=grammar,
            form=form,
        )

        def compute(pipe: Pipe[Piece]) -> None:
            calls = None if form is None else PieceCalls(form, request.tools)
            generation = LlamaGeneration(request.stop, pipe.put, calls=calls, logprobs=request.logprobs)
            self._server.complete(asked, generation.on_event)
            generation.end()

        def let_go() -> None:
            self._table = self._table.release(claim.slot)

        return Work(compute, let_go)
