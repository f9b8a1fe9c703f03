"""Flood control: when a bot must wait, as a pure account of what it sent.

Telegram publishes three figures (core.telegram.org/bots/faq#my-bot-is-hitting-limits): about one message a
second in a chat, with short bursts allowed; 20 a minute in a group; about 30 a second over all chats. Edits
are counted too, in groups strictly. The true limits are not published and move: a bot that holds to these may
still be told to wait, so there is `Faults.flood`.
"""

import math
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """How much one bot may send. Zero in a field switches that limit off."""

    chat_per_second: float = 1.0
    "Messages and edits together in one chat, in the long run."

    chat_burst: int = 5
    "So many of them at once, after a quiet time."

    group_per_minute: int = 20
    "New messages in one group within any sixty seconds."

    group_edits_per_minute: int = 20
    "Edits in one group within any sixty seconds."

    all_per_second: int = 30
    "Messages and edits of the bot within any second."

    drafts_per_second: float = 0.0
    "Drafts in one chat. No limit of theirs is known; a test may suppose one."


UNLIMITED = FloodLimits(0, 0, 0, 0, 0, 0)
"For tests that are about something else."


@dataclass(slots=True)
class _Window:
    """At most `limit` events within any `seconds`."""

    limit: int
    seconds: float
    times: deque[float] = field(default_factory=lambda: deque[float]())

    def wait(self, now: float) -> float:
        while self.times and self.times[0] <= now - self.seconds:
            self.times.popleft()
        if self.limit == 0 or len(self.times) < self.limit:
            return 0.0
        return self.times[0] + self.seconds - now

    def count(self, now: float) -> None:
        if self.limit:
            self.times.append(now)


@dataclass(slots=True)
class _Bucket:
    """Holds `burst`, and fills by `rate` a second."""

    rate: float
    burst: int
    level: float
    filled_at: float = -math.inf

    def wait(self, now: float) -> float:
        self.level = min(self.burst, self.level + max(0.0, now - self.filled_at) * self.rate)
        self.filled_at = now
        # A millionth: what a float loses over a clock that counts from 1970.
        return 0.0 if self.rate == 0 or self.level >= 1 - 1e-6 else (1 - self.level) / self.rate

    def count(self, _now: float) -> None:
        self.level = max(0.0, self.level - 1)


class FloodControl:
    """What one bot sent, and whether it may send more.

    Rule: a call that is refused is not counted, so who waits as long as it was told gets through.

    Args:
        limits: How much.
    """

    def __init__(self, limits: FloodLimits) -> None:
        self._limits = limits
        self._all = _Window(limits.all_per_second, 1.0)
        self._accounts: dict[tuple[int, str], _Window | _Bucket] = {}

    def send(self, chat_id: int, now: float) -> int:
        """Count a new message; or give the whole seconds to wait, and count nothing."""
        group = (self._window(chat_id, "messages", self._limits.group_per_minute),) if chat_id < 0 else ()
        return _count_or_wait((self._all, self._bucket(chat_id), *group), now)

    def edit(self, chat_id: int, now: float) -> int:
        """Count an edit; or give the whole seconds to wait, and count nothing."""
        group = (self._window(chat_id, "edits", self._limits.group_edits_per_minute),) if chat_id < 0 else ()
        return _count_or_wait((self._all, self._bucket(chat_id), *group), now)

    def draft(self, chat_id: int, now: float) -> int:
        """Count a draft; or give the whole seconds to wait, and count nothing."""
        rate = self._limits.drafts_per_second
        made = _Bucket(rate, max(1, math.ceil(rate)), max(1, math.ceil(rate)))
        return _count_or_wait((self._accounts.setdefault((chat_id, "drafts"), made),), now)

    def _bucket(self, chat_id: int) -> _Window | _Bucket:
        burst = max(1, self._limits.chat_burst)
        made = _Bucket(self._limits.chat_per_second, burst, burst)
        return self._accounts.setdefault((chat_id, "chat"), made)

    def _window(self, chat_id: int, what: str, limit: int) -> _Window | _Bucket:
        return self._accounts.setdefault((chat_id, what), _Window(limit, 60.0))


def _count_or_wait(accounts: tuple[_Window | _Bucket, ...], now: float) -> int:
    wait = max(account.wait(now) for account in accounts)
    if wait > 0:
        return max(1, math.ceil(wait - 1e-6))
    for account in accounts:
        account.count(now)
    return 0
