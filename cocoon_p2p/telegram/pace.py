"""How much a bot may say, and when: Telegram's limits kept before it has to insist on them.

A frame that would come too early is not shown at all; the next one holds its text. Only what must be said
waits for its turn. Telegram publishes rough figures and decides otherwise at times: then it says how long to
be silent, and for that long the chat is.

Source: core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this (a message a second in a chat,
20 a minute in a group, 30 a second in all).
"""

from dataclasses import dataclass, replace

METERS_MAX = 10_000
"Chats that are remembered at once. One that is forgotten may say a few words too early, and is told."


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and then one each `gap_seconds`."""

    gap_seconds: float
    burst: int = 1


PRIVATE = Rate(1.0, burst=4)
GROUP = Rate(3.2, burst=3)
DRAFTS = Rate(0.35, burst=2)
"No limit of theirs is published: as quick as reads well."

WHOLE_BOT = Rate(1 / 24, burst=6)
"No more than 30 in any second, also in the first."

SPARED = 1
"Of a burst that frames leave to what must be said."


@dataclass(frozen=True, slots=True)
class Meter:
    """What was said so far at one rate, as one number (the generic cell rate algorithm). Pure."""

    rate: Rate
    due: float = 0.0
    "When all that was said would have been said at one each gap."

    silent_until: float = 0.0
    "Told by the server."

    def delay(self, now: float, spared: int = 0) -> float:
        """Say in how many seconds one more may be said, so that `spared` more may be said after it."""
        slack = max(0, self.rate.burst - 1 - spared) * self.rate.gap_seconds
        return max(0.0, self.due - slack - now, self.silent_until - now)

    def taken(self, now: float) -> "Meter":
        """Count one more."""
        return replace(self, due=max(self.due, now) + self.rate.gap_seconds)

    def silenced(self, until: float) -> "Meter":
        """Say nothing until then."""
        return replace(self, silent_until=max(self.silent_until, until))

    def is_idle(self, now: float) -> bool:
        """Say whether it remembers nothing that a new one would not."""
        return max(self.due, self.silent_until) <= now


Subject = tuple[int | str, ...]
"What is metered: a bot's messages in a chat, its drafts there, or all of a bot's."


class Pace:
    """The meters of all chats of any number of bots."""

    def __init__(self) -> None:
        self._meters: dict[Subject, Meter] = {}

    def delay(self, subjects: dict[Subject, Rate], now: float, spared: int = 0) -> float:
        """Say in how many seconds one more may be said."""
        return max(self._meter(subject, rate).delay(now, spared) for subject, rate in subjects.items())

    def take(self, subjects: dict[Subject, Rate], now: float) -> None:
        """Count one more."""
        for subject, rate in subjects.items():
            self._meters[subject] = self._meter(subject, rate).taken(now)
        if len(self._meters) > METERS_MAX:
            self._forget(now)

    def silence(self, subject: Subject, rate: Rate, until: float) -> None:
        """Say nothing there until then."""
        self._meters[subject] = self._meter(subject, rate).silenced(until)

    def silence_left(self, subjects: dict[Subject, Rate], now: float) -> float:
        """Say for how many seconds nothing may be said, whatever was taken."""
        return max(self._meter(*one).silent_until - now for one in subjects.items())

    def _meter(self, subject: Subject, rate: Rate) -> Meter:
        return self._meters.get(subject) or Meter(rate)

    def _forget(self, now: float) -> None:
        busy = {subject: meter for subject, meter in self._meters.items() if not meter.is_idle(now)}
        # If all are busy the newest half are: they were counted last.
        self._meters = dict(list(busy.items())[-METERS_MAX // 2 :])
