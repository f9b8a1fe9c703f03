"""Strings that an answer never holds: what could still become one is held back, and unsaid if it does.

    burst of tokens --> could end in a banned string? --> held
                    --> holds one?                    --> unsaid, from the burst on in which it begins
                    --> neither                       --> said

Rule 1: what was said is never taken back.
Rule 2: a burst is said or unsaid whole: a model goes back by tokens.

Nothing here does IO.
"""

from dataclasses import dataclass
from typing import NamedTuple

from cocoon_p2p.inference.text import first_complete, held_back


@dataclass(frozen=True, slots=True)
class Burst:
    """What an engine gave at once: tokens that together spell whole characters."""

    text: str
    tokens: tuple[int, ...]


class Verdict(NamedTuple):
    """What becomes of a burst."""

    held: "HeldBursts"
    said: tuple[Burst, ...]
    "May be delivered now."

    unsaid: tuple[Burst, ...]
    "Were never there: the answer goes on before them, and not with the first of their tokens."


@dataclass(frozen=True, slots=True)
class HeldBursts:
    """What was not said yet, because it may be the beginning of a banned string."""

    banned: tuple[str, ...]
    bursts: tuple[Burst, ...] = ()

    @property
    def token_count(self) -> int:
        return sum(len(burst.tokens) for burst in self.bursts)

    def take(self, burst: Burst) -> Verdict:
        """Judge one more burst."""
        bursts = (*self.bursts, burst)
        text = "".join(each.text for each in bursts)
        cut = first_complete(text, self.banned)
        if cut is not None:
            first = _within(bursts, cut)
            return Verdict(HeldBursts(self.banned, bursts[:first]), (), bursts[first:])
        free = _within(bursts, len(text) - held_back(text, self.banned))
        return Verdict(HeldBursts(self.banned, bursts[free:]), bursts[:free], ())


def _within(bursts: tuple[Burst, ...], end: int) -> int:
    """Count the bursts that lie before a place in their text."""
    for number, burst in enumerate(bursts):
        end -= len(burst.text)
        if end < 0:
            return number
    return len(bursts)
