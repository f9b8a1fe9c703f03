"""From a server's steps to the pieces of an answer, and to what is known of the server's health."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio

from cocoon_p2p.inference.engine import EngineError, Piece, PromptTooLong
from cocoon_p2p.inference.upstream import pace
from cocoon_p2p.inference.upstream.calls import CallsAstray
from cocoon_p2p.inference.upstream.generation import UpstreamGeneration
from cocoon_p2p.inference.upstream.health import Health
from cocoon_p2p.inference.upstream.reading import Reading
from cocoon_p2p.inference.upstream.wire import RequestRefused, ServerBusy


async def tell(
    generation: UpstreamGeneration, reading: Reading, waiting: pace.Waiting, health: Health
) -> AsyncGenerator[Piece, None]:
    """Give the pieces of an answer; while there is nothing to give for long, that it is waited for.

    Raises:
        EngineError: The server refuses, fails, stalls, or says what cannot be.
    """
    try:
        async with aclosing(reading.steps(lambda: waiting.patience_seconds)) as steps:
            told_at = trio.current_time()
            async for step in steps:
                piece = None
                if step is not None:
                    # Each step shows it: a server that is busy for long need not prove it besides.
                    health.succeeded()
                    piece = generation.take(step)
                if generation.has_begun:
                    waiting.begun()
                if piece is None and trio.current_time() >= told_at + pace.BEAT_SECONDS:
                    piece = generation.beat()
                if piece is not None:
                    told_at = trio.current_time()
                    yield piece
                    if piece.finish is not None:
                        return
        yield generation.end()
    except EngineError as exc:
        blame(health, exc)
        raise


def blame(health: Health, error: EngineError) -> None:
    """Take note of what a failure says of a server."""
    if isinstance(error, RequestRefused | PromptTooLong):
        # Perhaps for what is in it, and then nobody else is to wait for that.
        health.suspect()
    elif not isinstance(error, ServerBusy | CallsAstray):
        health.failed(error)
