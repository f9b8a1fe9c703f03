"""What one paid request tells about its engine's speed. Pure: who calls brings the times.

A reader that is slow, or a client that pays late, holds an answer up; then the times tell of them and
not of the engine, and are left out. So is a prompt that was computed beside others.
"""

from dataclasses import dataclass

PROMPT_TOKENS_MIN = 64
"Shorter prompts tell of the step to the first token, not of prefill."

FIRST_TOKENS_MAX = 4
"""A first piece has the tokens of one character, or of a step that a draft guessed. With more of them it was
held back (a tool call is whole), and its time tells of the answer too."""

COMPLETION_TOKENS_MIN = 16
COMPLETION_SECONDS_MIN = 0.1
"On a busy machine a few tokens come in one bunch, and their times tell nothing."

HELD_UP_MAX = 0.1
"Of the time that an answer took: so much may be waits for its reader."


@dataclass(frozen=True, slots=True)
class Observation:
    """How quick one request was, in tokens per second; None where it does not tell."""

    running: float
    "Requests that ran meanwhile, this one among them, on the average."

    prefill: float | None
    decode: float | None


class Stopwatch:
    """Taken along by one request. Times are seconds on one clock.

    Args:
        started: When the engine was asked.
        running: Requests that run then, this one among them.
    """

    def __init__(self, started: float, running: int) -> None:
        self._started = started
        self._running_at_start = running
        self._first: tuple[float, int] | None = None
        self._last = (0.0, 0)
        self._prefill: float | None = None
        self._held_up = 0.0

    def stepped(self, now: float, completion_tokens: int, computed_tokens: int, running: int) -> None:
        """Note a piece that tells something of the answer: it has tokens, or is the last.

        Args:
            now: When it came.
            completion_tokens: Cumulative.
            computed_tokens: Of the prompt, cached ones not among them.
            running: Requests that run now, this one among them.
        """
        if self._first is not None:
            if completion_tokens > self._last[1]:
                self._last = (now, completion_tokens)
            return
        self._first = self._last = (now, completion_tokens)
        was_alone = max(running, self._running_at_start) == 1
        tells = was_alone and completion_tokens <= FIRST_TOKENS_MAX
        if tells and computed_tokens >= PROMPT_TOKENS_MIN and now > self._started:
            self._prefill = computed_tokens / (now - self._started)

    def waited(self, seconds: float) -> None:
        """Note that the reader was waited for."""
        if self._first is not None:
            self._held_up += seconds

    def read(self, running: int) -> Observation:
        """Say what the request told. `running`: requests that run now, this one among them."""
        decode = None
        if self._first is not None:
            (begin, before), (end, after) = self._first, self._last
            is_long = after - before >= COMPLETION_TOKENS_MIN and end - begin >= COMPLETION_SECONDS_MIN
            if is_long and self._held_up <= HELD_UP_MAX * (end - begin):
                decode = (after - before) / (end - begin)
        return Observation((self._running_at_start + running) / 2, self._prefill, decode)
