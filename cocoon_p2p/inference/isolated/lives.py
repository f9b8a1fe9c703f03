"""When an engine's process that died is started again, and when no more. Pure.

    serves --died--> rests --over--> starts --opened--> serves
                       |                |
                       |                +--died--> rests, for longer
                       +-- too many deaths in a row --> given up

A death after a long service begins a new row: a crash a day costs a second each. Deaths that
follow each other closely are a fault that starting again does not mend: a model that kills its
engine, a card that is broken, too little memory.
"""

from dataclasses import dataclass, replace
from typing import Final

REST_FIRST_SECONDS: Final = 1.0
REST_LAST_SECONDS: Final = 30.0
"Rests double from the first to the last."

STEADY_SECONDS: Final = 120.0
"Who has served for so long has recovered."

DEATHS_MAX: Final = 6
"In a row; the sixth is the last. With the rests between them, that is a minute of trying or more."


@dataclass(frozen=True, slots=True)
class Lives:
    """What is remembered of a process's deaths."""

    deaths: int = 0
    "In a row."

    opened_at: float | None = None
    "When it began to serve, on the caller's clock; None: it does not serve."

    @property
    def is_given_up(self) -> bool:
        return self.deaths >= DEATHS_MAX

    @property
    def rest_seconds(self) -> float:
        """How long to wait before the next start."""
        return min(REST_FIRST_SECONDS * 2.0 ** max(self.deaths - 1, 0), REST_LAST_SECONDS)


def opened(lives: Lives, now: float) -> Lives:
    """Note that it serves."""
    return replace(lives, opened_at=now)


def died(lives: Lives, now: float) -> Lives:
    """Note a death, be it of one that served or of one that never came to it."""
    has_recovered = lives.opened_at is not None and now - lives.opened_at >= STEADY_SECONDS
    return Lives(1 if has_recovered else lives.deaths + 1)
