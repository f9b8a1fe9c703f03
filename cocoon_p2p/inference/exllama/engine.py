"""The face of the generator's thread to the worker: an `Engine` in trio."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, NamedTuple

import trio

from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.counted import Counted
from cocoon_p2p.inference.engine import (
    Capabilities,
    EngineError,
    GenerateRequest,
    Piece,
    PromptCount,
    RequestMalformed,
)
from cocoon_p2p.inference.exllama.form import Form, Forms
from cocoon_p2p.inference.exllama.generator import Order
from cocoon_p2p.inference.exllama.splitting import Kind, Splitter
from cocoon_p2p.inference.exllama.thread import GeneratorThread, Job
from cocoon_p2p.inference.pipe import Pipe
from cocoon_p2p.inference.refusing import refuse_endless, refuse_senseless, refuse_unfit
from cocoon_p2p.inference.tools import CallForm, PieceCalls
from cocoon_p2p.inference.wishes import ToolUse

log = logging.getLogger(__name__)

LET_GO_SECONDS: Final = 10.0
"How long leaving a generation waits for the thread: for a step of decoding, or of a long prompt."


class Prompt(NamedTuple):
    """A request's tokens."""

    tokens: list[int]
    answered: int
    "How many of them, the last ones, are the beginning of the answer."


class ExllamaEngine:
    """An `Engine` on a loaded model. Made by `open_exllama`; lives in one trio run.

    Args:
        thread: Owns the generator. The engine closes it.
        capabilities: One model, and as many slots as the generator computes at once.
        template: The model's chat template.
        splitter: Its tokenizer.
        forms: What answers can be kept to.
        vocabulary: How many tokens the model has, whatever its tokenizer says.
        call_form: How the model writes tool calls, if it does.
    """

    def __init__(
        self,
        thread: GeneratorThread,
        capabilities: Capabilities,
        template: ChatTemplate,
        splitter: Splitter,
        forms: Forms,
        vocabulary: int,
        call_form: CallForm | None = None,
    ) -> None:
        self.capabilities = capabilities
        (self._card,) = capabilities.models
        self._thread = thread
        self._template = template
        self._splitter = splitter
        self._forms = forms
        self._vocabulary = vocabulary
        self._call_form = call_form
        self._free_slots = trio.Semaphore(capabilities.slots)
        self._splitting = trio.CapacityLimiter(4)
        self._counted = Counted[Prompt]()
        self._trio = trio.lowlevel.current_trio_token()

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Tokenise the prompt (`Engine.count`). A cancel waits for the splitting, some milliseconds."""
        prompt = await self._prompt(request)
        # Only to see that it can be kept to.
        await self._form(request, prompt)
        self._counted.keep(request, prompt)
        return PromptCount(len(prompt.tokens), self._thread.cached_tokens(self._order(request, prompt, None)))

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Generate (`Engine.generate`). Waits for a slot if all are taken.

        Leaving waits until the generator has let go of it, for `LET_GO_SECONDS` at most; a slot that is
        kept longer is not given to others until it is free.
        """
        prompt = await self._prompt(request)
        self._counted.drop(request)
        order = self._order(request, prompt, await self._form(request, prompt))
        await self._free_slots.acquire()
        has_let_go = trio.Event()

        def let_go() -> None:
            self._free_slots.release()
            has_let_go.set()

        def let_go_soon() -> None:
            with suppress(trio.RunFinishedError):
                self._trio.run_sync_soon(let_go)

        job = Job(order, request.stop, Pipe[Piece](), let_go_soon, self._calls(request))
        try:
            self._thread.submit(job)
        except EngineError:
            let_go()
            raise
        try:
            with job.pipe as pieces:
                yield pieces
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LET_GO_SECONDS):
                await has_let_go.wait()
            if not has_let_go.is_set():
                log.warning("engine keeps a slot", extra={"seconds": LET_GO_SECONDS})

    async def aclose(self) -> None:
        """Fail all generations, and unload the model. A cancel waits for that: a step, at most."""
        await trio.to_thread.run_sync(self._thread.close)

    def _order(self, request: GenerateRequest, prompt: Prompt, form: Form | None) -> Order:
        return Order(
            prompt=prompt.tokens,
            tokens_max=min(request.completion_tokens_max, self._card.context_tokens - len(prompt.tokens)),
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            ignore_eos=request.ignore_eos,
            cache_scope=request.cache_scope,
            answered=prompt.answered,
            logit_bias=request.logit_bias,
            frequency_penalty=request.frequency_penalty,
            presence_penalty=request.presence_penalty,
            banned=request.banned,
            logprobs=request.logprobs,
            shows_control_tokens=self._calls(request) is not None,
            form=form,
        )

    def _calls(self, request: GenerateRequest) -> PieceCalls | None:
        if self._call_form is None or not request.tools or request.tool_use is ToolUse.NONE:
            return None
        return PieceCalls(self._call_form, request.tools)

    async def _form(self, request: GenerateRequest, prompt: Prompt) -> Form | None:
        answered = prompt.tokens[len(prompt.tokens) - prompt.answered :]
        make: Callable[[], Form]
        if request.constraint is not None:
            make = partial(self._forms.make, request.constraint, answered)
        elif request.tool_use is ToolUse.REQUIRED and self._call_form is not None:
            make = partial(self._forms.make_calls, self._call_form, request.tools, answered)
        else:
            return None
        return await trio.to_thread.run_sync(make, limiter=self._splitting)

    async def _prompt(self, request: GenerateRequest) -> Prompt:
        if not self._thread.is_alive:
            raise EngineError("the engine is closed, or has failed for good")
        refuse_senseless(request, self._card)
        self._refuse_unknown(token for token, _ in request.logit_bias)
        kept = self._counted.find(request)
        if kept is not None:
            return kept
        refuse_endless(request, self._card)
        prompt = await trio.to_thread.run_sync(self._split, request, limiter=self._splitting)
        refuse_unfit(prompt.tokens, self._card)
        self._refuse_unknown(prompt.tokens)
        return prompt

    def _refuse_unknown(self, tokens: Iterable[int]) -> None:
        # A tokenizer may name more tokens than its model has: one of these would fail the step of everybody.
        if any(not 0 <= token < self._vocabulary for token in tokens):
            raise RequestMalformed(f"there is no such token (vocabulary={self._vocabulary})")

    def _split(self, request: GenerateRequest) -> Prompt:
        """Render and split. What was answered already is split by itself and as plain text: that is how it
        came out of the model. Blocks."""
        if request.prompt is None:
            # A model that is not told of any tool calls none.
            tools = () if request.tool_use is ToolUse.NONE else request.tools
            prompt = self._splitter.split(self._template.render(request.messages, tools), Kind.CHAT)
        else:
            prompt = self._splitter.split(request.prompt, Kind.PROMPT)
        answered = self._splitter.split(request.answer_prefix, Kind.PLAIN)
        return Prompt(prompt + answered, len(answered))
