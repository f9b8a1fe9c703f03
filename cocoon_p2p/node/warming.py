"""Has each model that is to be sold make something first: a worker whose engine is dead sells nothing.

The first request touches what lies on the disk and is slower than all others, so it is better nobody's.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from cocoon_p2p.inference.engine import Engine, EngineError, ModelCard
from cocoon_p2p.inference.measuring.workload import Workload
from cocoon_p2p.node.steps import Steps

TOKENS = 8
WORDS = 4
"What a model is asked for, and by how much of a prompt: enough to tell a rate from, and soon done."

AGAIN_FIRST_SECONDS, AGAIN_LAST_SECONDS = 5.0, 60.0
"Between two tries while no model makes anything; pauses double."

TRY_SECONDS = 300.0
"How long one model may keep others waiting: a server that takes a request may never answer it."

HINT = "try it alone with `cocoon bench`; a damaged file is found by `cocoon model verify`"


@dataclass(frozen=True, slots=True)
class Warmth:
    """What one generation of a model came to."""

    tokens: int
    "0 for a model that writes none, such as one for embeddings."

    seconds: float
    "From the request to the last of them."

    @property
    def tokens_per_second(self) -> float | None:
        """The prompt's time is in it: what measures better is `cocoon bench`. None: it writes no tokens."""
        return self.tokens / self.seconds if self.tokens and self.seconds > 0 else None


async def warm_up(engine: Engine, card: ModelCard, tokens: int = TOKENS) -> Warmth:
    """Have a model generate a few tokens. A cancel frees its slot.

    Raises:
        EngineError: It cannot, or nothing came.
    """
    request = Workload(card, os.urandom).request(WORDS, tokens)
    began, made, is_any = trio.current_time(), 0, False
    async with engine.generate(request) as pieces:
        async for piece in pieces:
            # Speech models may rightly write nothing.
            is_any = is_any or bool(piece.completion_tokens or piece.vectors or piece.finish)
            made = piece.completion_tokens
    if not is_any:
        raise EngineError(f"{card.name} has nothing to say")
    return Warmth(made, trio.current_time() - began)


async def warm_all(engine: Engine, cards: Sequence[ModelCard], steps: Steps, *, tokens: int = TOKENS) -> None:
    """Have every model make something, and tell of it; return once one of them has.

    While none can, it is tried again: an engine may need its time, and a server may come back.
    """
    pause, seconds = AGAIN_FIRST_SECONDS, TRY_SECONDS if len(cards) > 1 else math.inf
    while True:
        tried = [await _warm_one(engine, card, steps, tokens, seconds) for card in cards]
        if any(tried) or not cards:
            return
        await trio.sleep(pause)
        pause = min(2 * pause, AGAIN_LAST_SECONDS)


async def _warm_one(engine: Engine, card: ModelCard, steps: Steps, tokens: int, seconds: float) -> bool:
    try:
        with steps.expect(
            "warm-up", "the engine takes long; `cocoon bench` shows how quick it is", model=card.name
        ):
            warmth = None
            with trio.move_on_after(seconds):
                warmth = await warm_up(engine, card, tokens)
            if warmth is None:
                raise EngineError(f"{card.name} has not answered for {seconds:.0f} s")
    except EngineError:
        return False
    rate = warmth.tokens_per_second
    steps(
        "warm-up",
        model=card.name,
        tokens=warmth.tokens,
        took_seconds=round(warmth.seconds, 3),
        **({} if rate is None else {"tokens_per_second": round(rate, 1)}),
    )
    return True
