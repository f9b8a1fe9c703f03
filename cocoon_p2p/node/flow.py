"""How much went through a node in the last minute, kept as it happens."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio

from cocoon_p2p.journal import Entry
from cocoon_p2p.overview.snapshot import LatelyView

SPAN_SECONDS = 60

_WELL = ("finished", "cancelled")


@dataclass(slots=True)
class _Second:
    at: int
    exchanges: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_tokens: int = 0
    first_token_seconds: float = 0.0


class Flow:
    """Counts what the journal notes, by the second; at most a minute's worth is kept."""

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        self._seconds: deque[_Second] = deque(maxlen=SPAN_SECONDS)

    def note(self, entry: Entry) -> None:
        """Count an exchange that has ended."""
        now = int(self._clock())
        if not self._seconds or self._seconds[-1].at != now:
            self._seconds.append(_Second(now))
        second = self._seconds[-1]
        second.exchanges += 1
        second.failed += entry.outcome not in _WELL
        second.prompt_tokens += entry.prompt_tokens
        second.completion_tokens += entry.completion_tokens
        if entry.first_token_seconds is not None:
            second.first_tokens += 1
            second.first_token_seconds += entry.first_token_seconds

    def view(self) -> LatelyView:
        """Say what the last minute came to."""
        since = int(self._clock()) - SPAN_SECONDS
        kept = [second for second in self._seconds if second.at > since]
        first_tokens = sum(second.first_tokens for second in kept)
        return LatelyView(
            over_seconds=SPAN_SECONDS,
            exchanges=sum(second.exchanges for second in kept),
            failed=sum(second.failed for second in kept),
            prompt_tokens=sum(second.prompt_tokens for second in kept),
            completion_tokens=sum(second.completion_tokens for second in kept),
            first_token_seconds=sum(second.first_token_seconds for second in kept) / first_tokens
            if first_tokens
            else None,
        )
