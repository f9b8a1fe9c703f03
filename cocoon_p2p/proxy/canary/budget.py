"""What a proxy may spend on its own questions: so much an hour, whatever happens.

What is not spent piles up for three minutes only, so the money lasts the whole hour. It starts
empty: a proxy that is started again and again spends no more either.
"""

from dataclasses import dataclass

from cocoon_p2p.units import Nano

HOUR_SECONDS = 3600.0

PILE_PART = 20
"Of an hour's money, this part can pile up. The rest comes evenly, so that no hour has more than an hour's."


@dataclass(frozen=True, slots=True)
class Budget:
    """Money in hand."""

    per_hour: Nano
    at: float
    "When `left` was so."

    left: float = 0.0
    "nanoTON."

    @property
    def most(self) -> Nano:
        """The most that can be in hand: one question may not cost more."""
        return Nano(self.per_hour // PILE_PART)

    def take(self, amount: Nano, now: float) -> "Budget | None":
        """Take money for something; None if there is not enough."""
        left = self._left(now)
        return Budget(self.per_hour, max(self.at, now), left - amount) if amount <= left else None

    def give_back(self, amount: Nano, now: float) -> "Budget":
        """Put back what was not needed."""
        return Budget(self.per_hour, max(self.at, now), min(self.most, self._left(now) + amount))

    def _left(self, now: float) -> float:
        rate = (self.per_hour - self.most) / HOUR_SECONDS
        return min(self.most, self.left + max(0.0, now - self.at) * rate)
