"""An engine whose speed is known exactly, on trio's clock."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.inference.engine import (
    Capabilities,
    Finish,
    GenerateRequest,
    ModelCard,
    Piece,
    PromptCount,
    PromptTooLong,
)
from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.testing.engine import scripted_model


class PacedEngine:
    """Reads a fixed number of tokens per second in all, and writes at a pace that load sets.

    Args:
        read: Prompt tokens per second of all requests together; three tokens a word.
        write: Tokens per second of each request, of how many run.
        turns: Whether requests are taken one after the other.
        answer_max: Tokens after which every answer ends by itself.
        bunch: Tokens that come at once at the beginning, when the last of them is made.
    """

    def __init__(
        self,
        *,
        read: float = 100.0,
        write: Callable[[int], float] = lambda _running: 10.0,
        slots: int = 4,
        card: ModelCard | None = None,
        turns: bool = False,
        answer_max: int = 10_000,
        bunch: int = 1,
    ) -> None:
        self.capabilities = Capabilities("paced 1", (card or scripted_model(),), slots)
        self._read = read
        self._write = write
        self._turn = trio.Lock() if turns else trio.Semaphore(slots)
        self._answer_max = answer_max
        self._bunch = bunch
        self.running = 0
        self.requests: list[GenerateRequest] = []

    async def count(self, request: GenerateRequest) -> PromptCount:
        await trio.lowlevel.checkpoint()
        tokens = self._tokens(request)
        if tokens >= self.capabilities.models[0].context_tokens:
            raise PromptTooLong(f"too large ({tokens})")
        return PromptCount(tokens)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        self.requests.append(request)
        async with self._turn:
            self.running += 1
            pieces = self._pieces(request)
            try:
                yield pieces
            finally:
                self.running -= 1
                await pieces.aclose()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _pieces(self, request: GenerateRequest) -> AsyncGenerator[Piece, None]:
        prompt = self._tokens(request)
        await trio.sleep(prompt * self.running / self._read)
        if self.capabilities.models[0].kind is Kind.EMBEDDING:
            yield Piece("", 0, prompt, finish=Finish.STOP, vectors=(b"",))
            return
        most = min(request.completion_tokens_max, self._answer_max)
        for count in range(1, most + 1):
            if count > 1:
                await trio.sleep(1 / self._write(self.running))
            if count < min(self._bunch, most):
                continue
            yield Piece("a", count, prompt, finish=Finish.LENGTH if count == most else None)

    def _tokens(self, request: GenerateRequest) -> int:
        if request.audio is not None:
            return 50 * (len(request.audio.data) // 32_000)
        return 3 * len(" ".join((request.prompt or "", *request.inputs)).split())
