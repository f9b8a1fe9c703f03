"""An engine that computes nothing: a thread says tokens as fast as they are taken. Also a child process."""

import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from cocoon_p2p.inference.engine import Capabilities, Engine, Finish, GenerateRequest, Piece, PromptCount
from cocoon_p2p.inference.hash_memory import HashMemory
from cocoon_p2p.inference.isolated.child import run
from cocoon_p2p.inference.manifest import Progress
from cocoon_p2p.inference.pipe import Pipe
from cocoon_p2p.testing.engine import scripted_model


class FloodOpening(msgspec.Struct):
    """Nothing needs to be known."""


class FloodEngine:
    """Says as many tokens as are asked for, through a `Pipe` as real engines do."""

    capabilities = Capabilities("flood 1", (scripted_model(context_tokens=10_000_000),), 4)

    async def count(self, request: GenerateRequest) -> PromptCount:
        return PromptCount(1)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        with Pipe[Piece]() as pipe:
            threading.Thread(target=_say, args=(pipe, request.completion_tokens_max), daemon=True).start()
            yield pipe

    async def aclose(self) -> None:
        pass


def _say(pipe: Pipe[Piece], tokens: int) -> None:
    for number in range(1, tokens + 1):
        if not pipe.put(Piece(" word", number, 1, 0, Finish.LENGTH if number == tokens else None)):
            return
    pipe.close()


@asynccontextmanager
async def _open() -> AsyncIterator[Engine]:
    yield FloodEngine()


def open_flood(
    _opening: bytes, _memory: HashMemory | None, _progress: Progress
) -> AbstractAsyncContextManager[Engine]:
    return _open()


if __name__ == "__main__":
    run(open_flood)
