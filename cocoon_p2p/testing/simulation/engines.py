"""Engines whose every token is known by its looks, and that say whose request they compute, and how far.

A token names its request and its place, so whatever is lost, repeated or another's shows in the text.
One that is asked to go on from anything but a beginning of its answer, cut where a token ends, says
so in words that no answer has.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import trio

from cocoon_p2p.inference.engine import Capabilities, GenerateRequest, Piece, PromptCount
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.simulation.plan import Bench

LIE = 5
"""How often a worker that lies counts each token of a prompt: little enough to be within what a client that
has no tokenizer must believe."""

WRONG_SEAM = "wrong-seam "
"What is said by an engine that was told another beginning than its answer's."


def script(request: GenerateRequest) -> tuple[str, ...]:
    """Answer `count 3 abc` with `abc:0 `, `abc:1 ` and `abc:2 `."""
    count, tag = _asked(request)
    tokens = answer_to(tag, count)
    beginnings = {"".join(tokens[:length]) for length in range(count + 1)}
    return tokens if request.answer_prefix in beginnings else (WRONG_SEAM,) * (2 * count + 2)


def question(tag: str, tokens: int) -> str:
    """Spell what asks for this answer."""
    return f"count {tokens} {tag}"


def answer_to(tag: str, tokens: int) -> tuple[str, ...]:
    """Give the tokens of the undisturbed answer."""
    return tuple(f"{tag}:{number} " for number in range(tokens))


def prompt_tokens_after(delivered: int) -> int:
    """Count the prompt of a request whose answer has so many tokens already: a text and its words, twice."""
    return 4 + (1 + delivered if delivered else 0)


def _asked(request: GenerateRequest) -> tuple[int, str]:
    _, count, tag = request.messages[-1].content.split()
    return int(count), tag


@dataclass(slots=True)
class Generation:
    """A request that an engine computes now."""

    tag: str
    began: float
    tokens: int = 0


class SimulatedEngine(ScriptedEngine):
    """A worker's engine.

    Attributes:
        at_work: What it computes now.
        lies: Whether it counts `LIE` times the tokens that a prompt has.
        lied_to: The requests for which it did.
        has_failed: How often an answer ended so.
        has_stalled: How often one fell silent.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__(
            script,
            slots=bench.slots,
            delay_seconds=bench.token_seconds,
            prefill_seconds=bench.prefill_seconds,
            prefill_steps=1,
            caches=True,
        )
        self._says_slots = bench.says_slots
        self.at_work: list[Generation] = []
        self.lies = False
        self.lied_to: set[str] = set()
        self.has_failed = 0
        self.has_stalled = 0
        self._reached: dict[int, trio.Event] = {}

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, slots=self._says_slots)

    async def count(self, request: GenerateRequest) -> PromptCount:
        counted = await super().count(request)
        if not self.lies:
            return counted
        self.lied_to.add(_asked(request)[1])
        return PromptCount(LIE * counted.prompt_tokens, counted.cached_tokens)

    async def reached(self, tokens: int) -> None:
        """Return in the midst of an answer: as soon as one has so many tokens."""
        await self._reached.setdefault(tokens, trio.Event()).wait()

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        generation = Generation(_asked(request)[1], trio.current_time())
        self.at_work.append(generation)
        try:
            async with super().generate(request) as pieces:
                yield _Watched(self, generation, pieces)
        finally:
            self.at_work.remove(generation)

    def note(self, generation: Generation, tokens: int) -> None:
        """Take note of how far an answer is."""
        generation.tokens = tokens
        event = self._reached.pop(tokens, None)
        if event is not None:
            event.set()

    async def _break_down_at(self, count: int) -> None:
        self.has_failed += count == self.fail_at
        self.has_stalled += count == self.stall_at
        await super()._break_down_at(count)


class _Watched:
    """Pieces on their way to the worker."""

    def __init__(self, engine: SimulatedEngine, generation: Generation, pieces: AsyncIterator[Piece]) -> None:
        self._engine, self._generation, self._pieces = engine, generation, pieces

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Piece:
        piece = await anext(self._pieces)
        self._engine.note(self._generation, piece.completion_tokens)
        if self._generation.tag in self._engine.lied_to:
            return replace(piece, prompt_tokens=LIE * piece.prompt_tokens)
        return piece
