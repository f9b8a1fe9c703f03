"""How long a server may be silent before it counts as stalled.

llama.cpp says how far a prompt is, so silence of `STEP_SECONDS` is a stall. Others say nothing until the
first token: a prompt of 100,000 tokens may take minutes, and nobody hears whether it is computed. For
those the bound grows with what is to be computed, by the time that a prompt took when the server was
opened; the worker is told meanwhile that it waits within that bound, and no progress is claimed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS

STEP_SECONDS: Final = ENGINE_STALL_SECONDS
"Without a step for this long an engine has failed."

BEAT_SECONDS: Final = ENGINE_STALL_SECONDS / 3
"A wait within its bound is told this often."

SLACK: Final = 4.0
"A server that computes other answers besides takes so many times as long as one that was idle."

PREFILL_MAX_SECONDS: Final = 900.0
"A prompt that nobody hears of for longer is given up, whatever was measured."


class Pace:
    """What is known of one model's prefill.

    Args:
        seconds_per_token: As it was measured; 0 where that was too quick to tell.
    """

    def __init__(self, seconds_per_token: float) -> None:
        self.seconds_per_token = seconds_per_token
        self._waiting = set[Waiting]()

    @contextmanager
    def waiting(self, tokens: int) -> Iterator["Waiting"]:
        """Count a prompt among those that wait for their first token, until `Waiting.begun`."""
        waiting = Waiting(self, tokens)
        self._waiting.add(waiting)
        load = sum(each.tokens for each in self._waiting)
        for each in self._waiting:
            each.load_tokens = max(each.load_tokens, load)
        try:
            yield waiting
        finally:
            waiting.begun()

    def begun(self, waiting: "Waiting") -> None:
        """One of the prompts is computed, or given up. Twice does no harm."""
        self._waiting.discard(waiting)

    def first_token_seconds(self, load_tokens: int) -> float:
        """How long a first token may take behind so much: all prompts that wait may be computed before it."""
        bound = STEP_SECONDS + SLACK * self.seconds_per_token * load_tokens
        return min(bound, max(PREFILL_MAX_SECONDS, STEP_SECONDS))


class Waiting:
    """One prompt that waits for its first token."""

    def __init__(self, pace: Pace, tokens: int) -> None:
        self.tokens = tokens
        self.load_tokens = tokens
        """Of all that waited at once while this one did, at most. Who waited behind a long prompt did so
        also after that prompt has begun, or its reader has left."""

        self._pace = pace
        self._has_begun = False

    def begun(self) -> None:
        """The first token came, or nobody waits any more. Once is enough, twice does no harm."""
        self._has_begun = True
        self._pace.begun(self)

    @property
    def patience_seconds(self) -> float:
        """How long the next step may take."""
        return STEP_SECONDS if self._has_begun else self._pace.first_token_seconds(self.load_tokens)
