"""A worker whose engine costs next to nothing, as a process of its own: what is measured is the network.

    python benchmarks/_scripted_worker.py FILE MODEL DELAY_SECONDS STEP_TOKENS SLOTS

FILE is a worker's config that names its proxies; its `model` is not looked at. Answers are
endless, and come STEP_TOKENS at a time. Prints `registered` once the proxy offers it, and runs
until it is killed.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio
from _network import open_worker

from cocoon_p2p.inference.engine import Capabilities, GenerateRequest, Piece, PromptCount
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model

ANSWER_STEPS = 60_000
CONTEXT_TOKENS = 1_000_000


class SteppingEngine:
    """A scripted engine of which each step counts as many tokens, as one that guesses ahead makes them."""

    def __init__(self, model: str, *, delay_seconds: float, step_tokens: int, slots: int) -> None:
        self._step_tokens = step_tokens
        self._engine = ScriptedEngine(
            (" token" * step_tokens,) * ANSWER_STEPS,
            models=[scripted_model(model, context_tokens=CONTEXT_TOKENS)],
            slots=slots,
            delay_seconds=delay_seconds,
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    async def count(self, request: GenerateRequest) -> PromptCount:
        return await self._engine.count(request)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        steps = request.completion_tokens_max // self._step_tokens
        async with self._engine.generate(replace(request, completion_tokens_max=steps)) as pieces:
            yield self._counted(pieces) if self._step_tokens > 1 else pieces

    async def aclose(self) -> None:
        await self._engine.aclose()

    async def _counted(self, pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
        async for piece in pieces:
            yield replace(piece, completion_tokens=piece.completion_tokens * self._step_tokens)


async def serve(file: Path, engine: SteppingEngine) -> None:
    async with open_worker(file, engine):
        print("registered", flush=True)
        await trio.sleep_forever()


def main() -> None:
    file, model, delay_seconds, step_tokens, slots = sys.argv[1:]
    engine = SteppingEngine(
        model, delay_seconds=float(delay_seconds), step_tokens=int(step_tokens), slots=int(slots)
    )
    trio.run(serve, Path(file), engine)


if __name__ == "__main__":
    main()
