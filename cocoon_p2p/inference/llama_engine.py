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

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import trio

from cocoon_p2p.inference.cache_slots import cache_slots
from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.engine import (
    Capabilities,
    EngineError,
    GenerateRequest,
    Piece,
    PromptCount,
    PromptKey,
)
from cocoon_p2p.inference.llama_generation import LlamaGeneration
from cocoon_p2p.inference.llama_messages import Completion
from cocoon_p2p.inference.llama_server import LlamaServer
from cocoon_p2p.inference.llama_wishes import calls_of, completion, grammar_of, refuse_tokens
from cocoon_p2p.inference.pipe import Pipe
from cocoon_p2p.inference.refusing import TOKEN_SIZE_MAX, refuse_endless, refuse_senseless, refuse_unfit
from cocoon_p2p.inference.tools import CallForm
from cocoon_p2p.inference.wishes import ToolUse

log = logging.getLogger(__name__)

LET_GO_SECONDS: Final = 10.0
"""How long leaving a generation waits for the engine. A decoding step takes a tenth of a second at
most, a step of a long prompt some seconds on a slow machine."""

PROMPTS_KEPT: Final = 32
"Prompts between their count and their generation, so that each is split once."


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A generation in progress."""

    pipe: Pipe[Piece]
    slot: int
    has_let_go: trio.Event
    "Set once the engine's thread is done with the slot."


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
        self._free_slots = trio.Semaphore(capabilities.slots)
        self._splitting = trio.CapacityLimiter(4)
        self._prompts = OrderedDict[PromptKey, list[int]]()
        self._running = set[_Running]()
        self._trio = trio.lowlevel.current_trio_token()
        self._is_closed = False

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Tokenise the prompt (`Engine.count`). A cancel waits for the splitting, some milliseconds."""
        prompt, _ = await self._prepared(request)
        self._prompts[request.prompt_key] = prompt
        if len(self._prompts) > PROMPTS_KEPT:
            self._prompts.popitem(last=False)
        return PromptCount(len(prompt), self._table.cached_tokens(request.cache_scope, prompt))

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Generate (`Engine.generate`). Waits for a slot if all are taken.

        Leaving waits until the engine has let go of the slot, for `LET_GO_SECONDS` at most;
        a slot that is kept longer is not given to others until it is free.
        """
        prompt, grammar = await self._prepared(request)
        self._prompts.pop(request.prompt_key, None)
        await self._free_slots.acquire()
        if self._is_closed:
            self._free_slots.release()
            raise EngineError("the engine is closed")
        running = self._start(request, prompt, grammar)
        try:
            with running.pipe as pieces:
                yield pieces
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LET_GO_SECONDS):
                await running.has_let_go.wait()
            if not running.has_let_go.is_set():
                log.warning("engine keeps a slot", extra={"slot": running.slot, "seconds": LET_GO_SECONDS})

    async def aclose(self) -> None:
        """Stop all generations, wait until the engine has let go of them, and unload the model.

        A cancel does not cut it short; it waits for `LET_GO_SECONDS` at most. An engine that
        has not let go by then is left as it is: unloading it would stop this process.
        """
        self._is_closed = True
        for running in self._running:
            running.pipe.close(EngineError("the engine was closed"))
            running.pipe.stop()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(LET_GO_SECONDS):
                for running in tuple(self._running):
                    await running.has_let_go.wait()
            if self._running:
                log.error("engine does not stop", extra={"generations": len(self._running)})
                return
            await trio.to_thread.run_sync(self._server.close)

    async def _prepared(self, request: GenerateRequest) -> tuple[list[int], str]:
        """The request's tokens, as the engine splits them, and the grammar of its answer."""
        if self._is_closed:
            raise EngineError("the engine is closed")
        refuse_senseless(request, self._card)
        refuse_tokens(request, self._vocabulary)
        grammar = ""
        if request.constraint is not None or request.tool_use is ToolUse.REQUIRED:
            grammar = await trio.to_thread.run_sync(grammar_of, request, self._form, limiter=self._splitting)
        kept = self._prompts.get(request.prompt_key)
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

    def _start(self, request: GenerateRequest, prompt: list[int], grammar: str) -> _Running:
        """Start the thread that takes the answer out of the engine."""
        self._table, claim = self._table.claim(request.cache_scope, prompt)
        running = _Running(Pipe[Piece](), claim.slot, trio.Event())
        self._running.add(running)
        asked = completion(
            request,
            prompt,
            self._card,
            slot=claim.slot,
            may_reuse=claim.may_reuse,
            grammar=grammar,
            form=self._form,
        )
        generation = LlamaGeneration(
            request.stop,
            running.pipe.put,
            calls=calls_of(request, self._form),
            logprobs=request.logprobs,
        )
        trio.lowlevel.start_thread_soon(
            lambda: self._compute(asked, generation, running.pipe),
            lambda _: self._has_let_go_soon(running),
            name="llama.cpp request",
        )
        return running

    def _compute(self, asked: Completion, generation: LlamaGeneration, pipe: Pipe[Piece]) -> None:
        """Take one answer out of the engine. The top of its thread."""
        error: EngineError | None = None
        try:
            self._server.complete(asked, generation.on_event)
            generation.end()
        except EngineError as exc:
            error = exc
        except Exception as exc:
            log.exception("engine thread failed")
            error = EngineError(f"llama.cpp failed: {exc!r}")
        pipe.close(error)

    def _has_let_go_soon(self, running: _Running) -> None:
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(self._has_let_go, running)

    def _has_let_go(self, running: _Running) -> None:
        self._running.discard(running)
        self._table = self._table.release(running.slot)
        self._free_slots.release()
        running.has_let_go.set()
