"""Requests that were read, as work: who is asked for what, and how what comes is written down."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from cocoon_p2p.client import Answer, Asked, Client, Wishes
from cocoon_p2p.client.embeddings import collect
from cocoon_p2p.gateway.chat_request import ChatRequest, chat_messages, chat_wishes
from cocoon_p2p.gateway.chat_spelling import ChatChunks, whole_chat
from cocoon_p2p.gateway.chunks import Chunks
from cocoon_p2p.gateway.completion_request import CompletionRequest, completion_prompt, completion_wishes
from cocoon_p2p.gateway.completion_spelling import CompletionChunks, whole_completion
from cocoon_p2p.gateway.embedding import EmbeddingRequest, embedding_inputs, spell_embeddings
from cocoon_p2p.gateway.fields import Fields, common_wishes
from cocoon_p2p.gateway.flights import Flight, Work
from cocoon_p2p.gateway.flow import Flow
from cocoon_p2p.gateway.refusals import Refusal, RequestRefused
from cocoon_p2p.gateway.sampling import wants_usage
from cocoon_p2p.gateway.settings import Settings
from cocoon_p2p.gateway.spelling import answer_headers, stream_headers, whole_headers
from cocoon_p2p.gateway.transcription import TranscriptionRequest, spell_transcription, transcription_wishes
from cocoon_p2p.protocols.wishes import TokenLogprob

TOKENS_MAX = 8192
"""Completion tokens where nobody says a number. OpenAI's answers then go on until the model ends them; here
the price and the context bound them too."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Where requests are handed in: whom to ask, and who pays."""

    client: Client
    settings: Settings
    purse: str | None
    clock: Callable[[], float] = time.time

    # Bodies are read by their endpoints; what is wrong with one is found before it becomes work.

    def chat(self, body: ChatRequest) -> Work:
        """Have a chat answered. Raises `RequestRefused` for what cannot be asked."""
        messages, wishes = chat_messages(body), chat_wishes(body)
        wishes.setdefault("completion_tokens_max", TOKENS_MAX)
        ask = partial(self.client.chat, body.model, messages)
        return partial(self._work, body, ask, wishes, self._stream_chat if body.stream else self._whole_chat)

    def complete(self, body: CompletionRequest) -> Work:
        """Have a bare prompt continued. Raises `RequestRefused` for what cannot be asked."""
        prompt, wishes = completion_prompt(body), completion_wishes(body)
        ask = partial(self.client.complete, body.model, prompt)
        write = self._stream_completion if body.stream else self._whole_completion
        return partial(self._work, body, ask, wishes, write)

    def transcribe(self, body: TranscriptionRequest, recording: bytes) -> Work:
        """Have speech written down."""
        language, prompt = body.language or "", body.prompt or ""
        ask = partial(self.client.transcribe, body.model, recording, language=language, prompt=prompt)
        return partial(self._work, body, ask, transcription_wishes(body), _write_transcription)

    def embed(self, body: EmbeddingRequest) -> Work:
        """Have texts turned into vectors. Raises `RequestRefused` for what cannot be asked."""
        return partial(self._embed, body, embedding_inputs(body), common_wishes(body))

    # ------------------------------------------------------------ asking

    async def _work(
        self, body: Any, ask: Callable[..., Asked], wishes: Wishes, write: Callable[..., Any], flight: Flight
    ) -> None:
        async with _charged_to(flight, ask(**self._payable(wishes, body, flight))) as answer:
            await write(answer, body, flight.flow)

    async def _embed(self, body: EmbeddingRequest, inputs: list[str], wishes: Wishes, flight: Flight) -> None:
        payable = self._payable(wishes, body, flight)
        async with _charged_to(flight, self.client.vectors(body.model, inputs, **payable)) as answer:
            made = await collect(answer)
        flight.flow.begin(whole_headers(made.answer))
        flight.flow.write(spell_embeddings(made, body))

    def _payable(self, wishes: Wishes, body: Fields, flight: Flight) -> Wishes:
        """Add to what is wanted what it may cost, and from whose purse.

        Raises:
            RequestRefused: Earlier tries have used the max price up.
        """
        price = body.max_price or self.settings.max_price
        left = price - flight.spent_before
        if left <= 0:
            facts = f"max_price={price} spent={flight.spent_before} nanoTON"
            message = f"earlier tries have used up the max price ({facts})"
            raise RequestRefused(Refusal(402, message, "price-above-limit", must_not_retry=True))
        payable: Wishes = {**wishes, "max_cost": left, "timeout_seconds": self.settings.answer_seconds}
        if self.purse is not None:
            payable["purse"] = self.purse
        return payable

    # ------------------------------------------------------------ writing

    async def _whole_chat(self, answer: Answer, body: ChatRequest, flow: Flow) -> None:
        logprobs = await _read(answer)
        told = logprobs if body.logprobs else None
        flow.begin(whole_headers(answer))
        flow.write(whole_chat(answer, model=body.model, created=self._now(), told=told))

    async def _stream_chat(self, answer: Answer, body: ChatRequest, flow: Flow) -> None:
        has_usage = wants_usage(body)
        chunks = ChatChunks(answer, model=body.model, created=self._now(), has_usage=has_usage)
        await _stream(answer, chunks, flow)

    async def _whole_completion(self, answer: Answer, body: CompletionRequest, flow: Flow) -> None:
        logprobs = await _read(answer)
        told = None if body.logprobs is None else logprobs
        flow.begin(whole_headers(answer))
        flow.write(whole_completion(answer, model=body.model, created=self._now(), told=told))

    async def _stream_completion(self, answer: Answer, body: CompletionRequest, flow: Flow) -> None:
        has_usage = wants_usage(body)
        chunks = CompletionChunks(answer, model=body.model, created=self._now(), has_usage=has_usage)
        await _stream(answer, chunks, flow)

    def _now(self) -> int:
        return int(self.clock())


async def _read(answer: Answer) -> list[TokenLogprob]:
    """Read an answer to its end; give what was told of its tokens."""
    return [told async for piece in answer for told in piece.logprobs]


async def _stream(answer: Answer, chunks: Chunks, flow: Flow) -> None:
    flow.begin(stream_headers(answer))
    flow.write(chunks.first())
    async for piece in answer:
        flow.write(chunks.piece(piece))
        await flow.room()
    flow.write(chunks.last(answer))


async def _write_transcription(answer: Answer, body: TranscriptionRequest, flow: Flow) -> None:
    await answer.read()
    content_type, said = spell_transcription(answer, body)
    flow.begin([content_type, *answer_headers(answer, is_over=True)])
    flow.write(said)


@asynccontextmanager
async def _charged_to(flight: Flight, asked: Asked) -> AsyncIterator[Answer]:
    """Enter an answer, and note on its flight what it has cost, once that is known."""
    try:
        async with asked as answer:
            flight.exchange = _exchange(answer)
            yield answer
    finally:
        # What the proxy is silent about so far counts too: it may still be charged.
        flight.charged = asked.charged_max


def _exchange(answer: Answer) -> str | None:
    return None if answer.exchange is None else answer.exchange.hex()
