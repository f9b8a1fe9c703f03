"""A model of a server's that writes: chats and completions.

    count     the server renders the chat and splits it           /tokenize
    generate  claim a slot --> the tokens themselves --> a stream /v1/completions
              tools, pictures      --> the chat, rendered there   /v1/chat/completions
    leave     the connection is closed; the server stops at its next step

The tokens that were counted are what is sent, so what was paid for is what is computed. What only the
server's chat can grant is counted by its own tokenizer, which was seen to count as it computes (`probing`).
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import httpx
import trio

from cocoon_p2p.inference.constraints import gbnf_of
from cocoon_p2p.inference.counted import Counted
from cocoon_p2p.inference.engine import (
    FeatureMissing,
    GenerateRequest,
    ModelCard,
    Piece,
    PromptCount,
)
from cocoon_p2p.inference.refusing import refuse_endless, refuse_senseless, refuse_unfit
from cocoon_p2p.inference.upstream import pace
from cocoon_p2p.inference.upstream.bodies import Body, Prompt, needs_chat, offers_tools, write_body
from cocoon_p2p.inference.upstream.constraining import Constraining
from cocoon_p2p.inference.upstream.dialects import Dialect
from cocoon_p2p.inference.upstream.generation import Terms, UpstreamGeneration
from cocoon_p2p.inference.upstream.health import Health
from cocoon_p2p.inference.upstream.reading import Reading
from cocoon_p2p.inference.upstream.telling import tell
from cocoon_p2p.inference.upstream.wire import stream_steps
from cocoon_p2p.inference.wishes import Constraint, Grammar
from cocoon_p2p.nursery import open_service_nursery


@dataclass(frozen=True, slots=True)
class Served:
    """One model of a server's, as it was found to be."""

    http: httpx.AsyncClient
    model: str
    "What the server calls it."

    dialect: Dialect
    constrainings: dict[Grammar, Constraining]
    "For each grammar the way of saying it that the server was seen to heed."

    image_tokens: int = 0
    "What each picture adds to a prompt, beyond what the server's tokenizer counts of it."

    async def split(self, request: GenerateRequest) -> Prompt:
        """Count a request's prompt, pictures included."""
        prompt = await self.dialect.split(request)
        images = sum(len(message.images) for message in request.messages)
        return Prompt(prompt.tokens + images * self.image_tokens, prompt.sent)

    def write(self, request: GenerateRequest, prompt: Prompt, tokens_max: int) -> tuple[str, Body]:
        """Say where a request goes, and what it says there."""
        path, body = write_body(self.model, request, prompt, tokens_max=tokens_max)
        body |= self.dialect.extras(request)
        if request.constraint is not None:
            body |= self.constrain(request.constraint)
        return path, body

    def constrain(self, constraint: Constraint) -> Body:
        """Say a constraint in the way that the server heeds.

        Raises:
            RequestMalformed: It has no words for this one.
        """
        return self.constrainings[constraint.grammar](constraint) or {}


class GeneratingModel:
    """A model that writes.

    Args:
        served: The model.
        card: What is promised of it.
        slots: Of all models of the server.
        health: Whether the server is well, as far as is known.
        prefill: How long its prompts take.
    """

    def __init__(
        self, served: Served, card: ModelCard, slots: trio.Semaphore, health: Health, prefill: pace.Pace
    ) -> None:
        self.card = card
        self.health = health
        self.dialect = served.dialect.name
        self._served = served
        self._slots = slots
        self._pace = prefill
        # A template that says the time would make another prompt when it is generated from.
        self._counted = Counted[Prompt]()

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Let the server tokenise the prompt (`Engine.count`). A cancel leaves nothing behind.

        What the server has cached is not known before, and so not promised.
        """
        self.health.require()
        return PromptCount(self._counted.keep(request, await self._split(request)).tokens)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Generate (`Engine.generate`). Waits for a slot if all are taken.

        Leaving closes the connection, by which the server learns that nobody reads any more.
        """
        prompt = await self._split(request)
        self._counted.drop(request)
        tokens_max = min(request.completion_tokens_max, self.card.context_tokens - prompt.tokens)
        path, body = self._served.write(request, prompt, tokens_max)
        generation = UpstreamGeneration(_terms(request, prompt, tokens_max))
        async with self._slots, open_service_nursery() as nursery:
            reading = Reading(stream_steps(self._served.http, path, body))
            nursery.start_soon(reading.run)
            with self._pace.waiting(prompt.tokens) as waiting:
                async with aclosing(tell(generation, reading, waiting, self.health)) as pieces:
                    yield pieces

    async def _split(self, request: GenerateRequest) -> Prompt:
        refuse_senseless(request, self.card)
        _refuse_together(request)
        if request.constraint is not None:
            # Whoever compiles it would be held up by a hostile one; it is read here first, within bounds.
            await trio.to_thread.run_sync(gbnf_of, request.constraint)
            self._served.constrain(request.constraint)
        kept = self._counted.find(request)
        if kept is not None:
            return kept
        refuse_endless(request, self.card)
        prompt = await self._served.split(request)
        refuse_unfit(range(prompt.tokens), self.card)
        return prompt


def _terms(request: GenerateRequest, prompt: Prompt, tokens_max: int) -> Terms:
    names = frozenset(tool.name for tool in request.tools) if offers_tools(request) else frozenset[str]()
    return Terms(prompt.tokens, tokens_max, request.stop, names, request.logprobs)


def _refuse_together(request: GenerateRequest) -> None:
    """Refuse what servers grant one by one only: llama.cpp says so when it is asked, others just leave it.

    Raises:
        FeatureMissing: By name.
    """
    if not needs_chat(request):
        return
    if offers_tools(request) and request.constraint is not None:
        raise FeatureMissing("this engine has no constraint for an answer that may call tools")
    if offers_tools(request) and request.logprobs is not None:
        raise FeatureMissing("this engine has no logprobs for an answer that may call tools")
