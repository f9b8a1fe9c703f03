"""What the pieces of some requests that ran at once say about speed.

    start ......... first token . . . . . . . . . . last token
    |-- prefill --| |------------- decode -----------|

Rates are tokens per second, times seconds on one clock.

Spec: inference/measuring.md (What the figures are).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Timeline:
    """What one request's pieces said, and when."""

    started: float
    computed_tokens: int
    "Of its prompt, cached ones not among them."

    answered: float
    "When its first token came; where an answer has none, when it was whole."

    steps: tuple[tuple[float, int], ...] = ()
    "When tokens came, and how many there were by then: ascending, the first as of `answered`."

    @property
    def ended(self) -> float:
        """When its last token came."""
        return self.steps[-1][0] if self.steps else self.answered

    @property
    def first_token_seconds(self) -> float:
        return self.answered - self.started


def prefill_rate(timelines: Sequence[Timeline]) -> float | None:
    """Give the prompt tokens per second of requests that ran at once, all together."""
    seconds = max(each.answered for each in timelines) - min(each.started for each in timelines)
    tokens = sum(each.computed_tokens for each in timelines)
    return tokens / seconds if tokens and seconds > 0 else None


def decode_rate(timelines: Sequence[Timeline]) -> float | None:
    """Give the completion tokens per second of each of some requests that ran at once.

    Counted while all of them were writing. If they never were, because the engine took them in
    turns, it is what each had of the whole time.
    """
    spans = [each.steps for each in timelines if len(each.steps) > 1]
    if len(spans) < len(timelines):
        return None
    begin, end = max(steps[0][0] for steps in spans), min(steps[-1][0] for steps in spans)
    rates = [_rate([step for step in steps if begin <= step[0] <= end]) for steps in spans]
    together = [rate for rate in rates if rate is not None]
    if len(together) == len(spans):
        return median(together)
    tokens = sum(steps[-1][1] - steps[0][1] for steps in spans)
    seconds = max(steps[-1][0] for steps in spans) - min(steps[0][0] for steps in spans)
    return tokens / seconds / len(spans) if seconds > 0 and tokens else None


def _rate(steps: Sequence[tuple[float, int]]) -> float | None:
    if len(steps) < 2 or steps[-1][0] <= steps[0][0]:
        return None
    return (steps[-1][1] - steps[0][1]) / (steps[-1][0] - steps[0][0]) or None
