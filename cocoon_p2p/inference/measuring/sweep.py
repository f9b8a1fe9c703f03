"""Measuring an engine: one request, then two at once, then four, until more brings nothing.

    warm-up --> level 1 --> level 2 --> level 4 ...     each: rounds of prefill, rounds of decode

A level's rounds are as long as fit its share of the time, judged by what the engine did so far;
so a slow one is asked for little and a quick one for enough to tell. What runs beside it shows in
the figures: measure where nothing else does.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import trio

from cocoon_p2p.inference.engine import Engine, EngineError, GenerateRequest, ModelCard, PromptTooLong
from cocoon_p2p.inference.measuring.levels import Level, brings_nothing
from cocoon_p2p.inference.measuring.timeline import Timeline, decode_rate, prefill_rate
from cocoon_p2p.inference.measuring.workload import Workload

ROUNDS_MAX: Final = 5
"Of each kind and level. The median of five is steady enough."

ROUNDS_WANTED: Final = 3
"Rounds that a level's time should do for."

WARM_UP_SIZE: Final = 8
WARM_UP_TOKENS: Final = 4
"The first request is slower than all others: what it touches comes from the disk."

DECODE_TOKENS: Final = (12, 512)
"Of each answer, at least and at most. Shorter ones tell nothing, longer ones nothing more."

DECODE_SECONDS_MIN: Final = 0.1
"""What is written in less time is asked for again, longer: on a busy machine a few tokens come in one bunch,
and their times tell nothing."""

DECODE_PROMPT_SIZE: Final = 4
"Words (or seconds) before what is written: few, so that all requests of a round soon write at once."

SILENT_SECONDS: Final = 60.0
"Of some requests at once, one must have gone on by then: an engine without a step for 30 seconds has failed."


@dataclass(frozen=True, slots=True)
class _Pace:
    """What an engine did so far, to size what comes."""

    tokens_per_size: float
    prefill: float
    "Prompt tokens per second, in all."

    decode: float
    "Completion tokens per second, of each."


async def sweep(
    engine: Engine,
    card: ModelCard,
    *,
    concurrencies: Sequence[int],
    seconds: float,
    draw: Callable[[int], bytes] = os.urandom,
    tell: Callable[[Level], None] = lambda _level: None,
) -> tuple[Level, ...]:
    """Measure one model of an engine that does nothing else meanwhile.

    Args:
        engine: It runs the model.
        card: Which model.
        concurrencies: Requests at once, ascending, the first 1, the last no more than the engine has slots.
        seconds: About how long it may take. Each level that is begun is finished, once at least.
        draw: Draws random bytes.
        tell: Told of each level when it is done.

    Returns:
        The levels that were tried, one at least. It ends early where more at once brings nothing, or
        where no time is left for another level.

    Raises:
        EngineError: The engine failed, or made nothing for a minute.

    A cancel leaves nothing behind.
    """
    load = Workload(card, draw)
    ends = trio.current_time() + seconds
    pace = await _warm_up(engine, load)
    levels: list[Level] = []
    for number, concurrency in enumerate(concurrencies):
        began = trio.current_time()
        share = (ends - began) / (len(concurrencies) - number)
        level = await _level(engine, load, pace, concurrency, share)
        levels.append(level)
        tell(level)
        pace = _Pace(pace.tokens_per_size, level.prefill, level.decode or pace.decode)
        took, left = trio.current_time() - began, ends - trio.current_time()
        # Who took far more than its share, with the least that tells anything, takes even more for more.
        is_too_slow = took > 2 * share and left < took
        if left <= 0 or is_too_slow or brings_nothing(levels):
            break
    return tuple(levels)


async def _warm_up(engine: Engine, load: Workload) -> _Pace:
    size = WARM_UP_SIZE
    while True:
        request = load.request(size, WARM_UP_TOKENS)
        try:
            counted = (await engine.count(request)).prompt_tokens
            break
        except PromptTooLong:
            if size == 1:
                raise
            size //= 2
    (timeline,) = await _together(engine, [request])
    prefill, decode = prefill_rate([timeline]), decode_rate([timeline])
    if prefill is None:
        raise EngineError("the engine answers in no time, or computes no prompt: it cannot be measured")
    return _Pace(counted / size, prefill, decode or prefill)


async def _level(engine: Engine, load: Workload, pace: _Pace, concurrency: int, seconds: float) -> Level:
    """Measure one level, in rounds."""
    kinds = 2 if load.writes else 1
    round_seconds = max(0.0, seconds) / kinds / ROUNDS_WANTED
    room = load.card.context_tokens // 2
    prompt = min(_within(load.prompt_tokens, pace.prefill * round_seconds / concurrency), room)
    size = max(1, int(prompt / pace.tokens_per_size))
    tokens = int(min(_within(DECODE_TOKENS, pace.decode * round_seconds), room))

    prefills, decodes, firsts = list[float](), list[float](), list[float]()
    ends = trio.current_time() + seconds
    for number in range(ROUNDS_MAX):
        if number and trio.current_time() + kinds * round_seconds > ends:
            break
        read = await _together(engine, [load.request(size, 1) for _ in range(concurrency)])
        prefills += _known(prefill_rate(read))
        firsts += [each.first_token_seconds for each in read]
        if load.writes:
            written, tokens = await _write(engine, load, concurrency, tokens)
            decodes += _known(decode_rate(written))
    if not prefills:
        raise EngineError("the engine answers in no time, or computes no prompt: it cannot be measured")
    return Level(concurrency, median(prefills), median(decodes) if decodes else None, median(firsts))


async def _write(engine: Engine, load: Workload, concurrency: int, tokens: int) -> tuple[list[Timeline], int]:
    """Have answers of so many tokens written, or of as many more as take long enough to be timed."""
    tokens_max = max(2, min(DECODE_TOKENS[1], load.card.context_tokens // 2))
    while True:
        tokens = max(2, min(tokens, tokens_max))
        written = await _together(
            engine, [load.request(DECODE_PROMPT_SIZE, tokens) for _ in range(concurrency)]
        )
        seconds = max(each.ended for each in written) - min(each.answered for each in written)
        if seconds >= DECODE_SECONDS_MIN or tokens == tokens_max:
            return written, tokens
        tokens *= 4


def _within(bounds: tuple[int, int], wanted: float) -> float:
    least, most = bounds
    return max(least, min(wanted, most))


def _known(rate: float | None) -> list[float]:
    return [] if rate is None else [rate]


async def _together(engine: Engine, requests: Sequence[GenerateRequest]) -> list[Timeline]:
    """Run requests at once, to their ends.

    Raises:
        EngineError: One of them failed, or none went on for `SILENT_SECONDS`.
    """
    counted = [await engine.count(request) for request in requests]
    timelines: list[Timeline] = []

    async def run(request: GenerateRequest, computed_tokens: int, scope: trio.CancelScope) -> None:
        timelines.append(await _run(engine, request, computed_tokens, scope))

    with trio.move_on_after(SILENT_SECONDS) as scope:
        try:
            async with trio.open_nursery() as nursery:
                for request, count in zip(requests, counted, strict=True):
                    computed = count.prompt_tokens - count.cached_tokens
                    nursery.start_soon(run, request, computed, scope)
        except* EngineError as group:
            raise _first(group) from None
    if scope.cancelled_caught:
        raise EngineError(f"the engine hangs: nothing came for {SILENT_SECONDS:.0f} s")
    return timelines


def _first(group: BaseExceptionGroup[EngineError]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def _run(
    engine: Engine, request: GenerateRequest, computed_tokens: int, scope: trio.CancelScope
) -> Timeline:
    started = trio.current_time()
    steps: list[tuple[float, int]] = []
    async with engine.generate(request) as pieces:
        async for piece in pieces:
            now = trio.current_time()
            scope.deadline = now + SILENT_SECONDS
            if piece.completion_tokens > (steps[-1][1] if steps else 0):
                steps.append((now, piece.completion_tokens))
            if piece.finish is not None:
                break
    return Timeline(started, computed_tokens, steps[0][0] if steps else trio.current_time(), tuple(steps))
