"""What the levels of load that were measured come to: how quick, and how many requests at once.

1 request    34 tokens/s each     34 in all
2            31                   62            nearly twice as much: go on
4            17                   68            a tenth more: two at once are as many as pay
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GAIN_LEAST = 1.15
"More requests at once are worth having if they bring so much more in all: with less, each only waits longer."

BARREN_LEVELS = 2
"After so many in a row that bring nothing no more are tried."


@dataclass(frozen=True, slots=True)
class Speeds:
    """What is advertised of one model, in tokens per second."""

    prefill: float
    "Of one request that is alone, to its first token."

    decode: float | None = None
    "Of one request that is alone; None where a model writes nothing."

    decode_full: float | None = None
    "Of each, where every slot is taken."


@dataclass(frozen=True, slots=True)
class Level:
    """So many requests at once. Medians over its rounds."""

    concurrency: int
    prefill: float
    "Prompt tokens per second, of all requests together."

    decode: float | None
    "Completion tokens per second, of each."

    first_token_seconds: float

    @property
    def decode_all(self) -> float | None:
        """Completion tokens per second, of all requests together."""
        return None if self.decode is None else self.decode * self.concurrency

    @property
    def yields(self) -> float:
        """What more requests at once should raise."""
        return self.prefill if self.decode_all is None else self.decode_all


def concurrencies(slots: int) -> tuple[int, ...]:
    """List the levels to try: 1, 2, 4, ... and as many as there are slots."""
    powers = [1 << power for power in range(slots.bit_length()) if 1 << power < slots]
    return (*powers, slots)


def brings_nothing(levels: Sequence[Level]) -> bool:
    """Say whether more requests at once are not worth trying: the last two levels brought nothing.

    One level may have had the bad luck of other work on the machine.
    """
    if len(levels) <= BARREN_LEVELS:
        return False
    best_before = max(level.yields for level in levels[:-BARREN_LEVELS])
    return max(level.yields for level in levels[-BARREN_LEVELS:]) < GAIN_LEAST * best_before


def slots_worth_having(levels: Sequence[Level], slots: int) -> int | None:
    """Say how many requests at once are worth having: the fewest that bring nearly all there is.

    Args:
        levels: What was tried, in ascending order.
        slots: How many there are.

    Returns:
        None if there was no time to find out.
    """
    if levels[-1].concurrency < slots and not brings_nothing(levels):
        return None
    best = max(level.yields for level in levels)
    return next(level.concurrency for level in levels if GAIN_LEAST * level.yields >= best)


def speeds_at(levels: Iterable[Level], slots: int) -> Speeds:
    """Say what to advertise with so many slots. The first level is that of one request.

    Where that many were not tried, they share what the most that were tried had: fewer brought all that
    there is, or there was no time to see.
    """
    tried = [level for level in levels if level.concurrency <= slots]
    alone, most = tried[0], tried[-1]
    full = None if most.decode_all is None else most.decode_all / slots
    return Speeds(alone.prefill, alone.decode, full)
