"""How often a worker kept its word, and how it broke it; both fade with time.

Only what the proxy saw for itself counts, and only what no client can bring about. A request may
still be what makes an engine fail; so each client's exchanges count up to a bound, for a worker and
against it, and a client whose requests alone fail cannot have a worker put to rest for ever.

A newcomer is credited with little, and with a doubt: who kept its word a few times stands better,
so there is nothing to gain by coming back under another name.
"""

from dataclasses import dataclass
from enum import Enum

from cocoon_p2p.scheduling.witness import ANYBODY, OURSELVES, Witness, faded

HALF_LIFE_SECONDS = 3_600.0
"After this long an end counts half: who is unreliable is so for hours, and who was mended is not."

KEPT_PRIOR = 4.0
"How many kept exchanges a newcomer is credited with: one failure among them costs a fifth."

BROKEN_PRIOR = 0.4
"And how many broken ones: the doubt."

KEPT_MOST = 200.0
"A long good name counts no more than this: it is no licence to fail."

BROKEN_MOST = 200.0
"More says no more."

KEPT_SHARE_MOST = 16.0
BROKEN_SHARE_MOST = 3.0
"How much the exchanges of one client can count for a worker, or against it, at any time."

SHARES_MAX = 16
"""Clients whose part is told apart. Who comes when all are taken inherits the least one: so nobody's part is
ever taken for less than it is, however many others there are."""


class Fault(Enum):
    """How a worker broke its word: a stable name, and how much it weighs."""

    LOST = ("lost", 1.0)
    "It or the way to it went away in the middle."

    FAILED = ("engine failed", 1.0)
    "It said itself that its engine failed."

    RULES_BROKEN = ("rules broken", 4.0)
    "It sent what the protocol does not allow, or a paper that does not hold."

    MISCOUNTED = ("tokens miscounted", 4.0)
    "It counted other tokens for a text than all others do."

    CANARY = ("canary failed", 2.0)
    "It did not answer, or not sensibly, what the proxy asked for its own sake."

    def __init__(self, words: str, weight: float) -> None:
        self.words = words
        self.weight = weight


@dataclass(frozen=True, slots=True)
class Share:
    """One client's part in it."""

    kept: float = 0.0
    broken: float = 0.0


@dataclass(frozen=True, slots=True)
class Odds:
    """How exchanges with a worker ended."""

    kept: float = 0.0
    broken: float = 0.0
    "By its fault, heavier faults more than once."

    at: float = 0.0
    "When that was so."

    shares: tuple[tuple[Witness, Share], ...] = ()
    faults: tuple[tuple[Fault, float], ...] = ()
    "What `broken` is made of, as far as it is known."

    def faded(self, now: float) -> "Odds":
        """Say what is left of it."""
        left = faded(now - self.at, HALF_LIFE_SECONDS)
        return Odds(
            self.kept * left,
            self.broken * left,
            max(self.at, now),
            tuple((who, Share(part.kept * left, part.broken * left)) for who, part in self.shares),
            tuple((fault, count * left) for fault, count in self.faults),
        )

    def after_kept(self, now: float, by: Witness = ANYBODY) -> "Odds":
        """Count an exchange that it brought to its end."""
        odds = self.faded(now)
        parts, part = _with_room(odds.shares, by)
        # Also for our own questions: a worker may know them, and answer nobody else.
        room = float("inf") if by == ANYBODY else KEPT_SHARE_MOST - part.kept
        more = max(0.0, min(_left(odds, now), room, KEPT_MOST - odds.kept))
        parts[by] = Share(part.kept + more, part.broken)
        return Odds(odds.kept + more, odds.broken, odds.at, tuple(parts.items()), odds.faults)

    def after_fault(self, fault: Fault, now: float, by: Witness = ANYBODY) -> "Odds":
        """Count one that it broke."""
        odds = self.faded(now)
        parts, part = _with_room(odds.shares, by)
        # Nobody else has a hand in our own: what we saw counts.
        most = float("inf") if by in (OURSELVES, ANYBODY) else BROKEN_SHARE_MOST
        room = min(most - part.broken, BROKEN_MOST - odds.broken)
        more = max(0.0, min(fault.weight * _left(odds, now), room))
        parts[by] = Share(part.kept, part.broken + more)
        counts = dict(odds.faults)
        counts[fault] = counts.get(fault, 0.0) + more
        return Odds(odds.kept, odds.broken + more, odds.at, tuple(parts.items()), tuple(counts.items()))

    def is_blameless(self, now: float, by: Witness) -> bool:
        """Say whether it fails with this client alone, who has complained enough: others had no cause to.

        Never when it failed us: what clients' exchanges kept before says nothing of its generator now.
        """
        if by == OURSELVES:
            return False
        odds = self.faded(now)
        part = dict(odds.shares).get(by, Share())
        others = sum(share.kept for who, share in odds.shares if who != by)
        return part.broken > BROKEN_SHARE_MOST - 1.0 and others >= 1.0

    def kept_for_others(self, now: float) -> float:
        """Say how much of what it kept was for clients, not for ourselves."""
        return sum(share.kept for who, share in self.faded(now).shares if who != OURSELVES)

    def tries(self, now: float) -> float:
        """Say how many tries an answer is expected to take, at least 1."""
        left = faded(now - self.at, HALF_LIFE_SECONDS)
        kept = KEPT_PRIOR + self.kept * left
        return (kept + BROKEN_PRIOR + self.broken * left) / kept


def _left(odds: Odds, now: float) -> float:
    """Say what is left, by the time of `odds`, of what was seen then."""
    return faded(odds.at - now, HALF_LIFE_SECONDS)


def _with_room(shares: tuple[tuple[Witness, Share], ...], by: Witness) -> tuple[dict[Witness, Share], Share]:
    """Give all parts with room for one more, and what this one's is by now."""
    parts = dict(shares)
    if by in parts or len(parts) < SHARES_MAX:
        return parts, parts.get(by, Share())
    # Our own stays: it is of another kind.
    least = min(
        (who for who in parts if who != OURSELVES), key=lambda who: parts[who].kept + parts[who].broken
    )
    inherited = parts.pop(least)
    return parts, Share() if by == OURSELVES else inherited


NO_ENDS = Odds()
"Of a newcomer."
