"""How often one peer may do something: so many at once, and so many a second in the long run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one peer has left."""

    left: float
    at: float
    "When that was reckoned, in seconds on the caller's clock."

    @classmethod
    def whole(cls, rate: Rate, now: float) -> "Allowance":
        """Begin with a whole burst."""
        return cls(rate.burst, now)

    def take(self, rate: Rate, now: float) -> tuple["Allowance", bool]:
        """Use one up, and say whether there was one."""
        left = self._left(rate, now)
        return (Allowance(left - 1, now), True) if left >= 1 else (Allowance(left, now), False)

    def give_back(self, rate: Rate, now: float, uses: int = 1) -> "Allowance":
        """Take uses back: they were none that are to be limited."""
        return Allowance(min(rate.burst, self._left(rate, now) + uses), now)

    def is_whole(self, rate: Rate, now: float) -> bool:
        """Say whether it is as good as new, so that nothing is lost by forgetting it."""
        return self._left(rate, now) >= rate.burst

    def _left(self, rate: Rate, now: float) -> float:
        return min(rate.burst, self.left + (now - self.at) * rate.per_second)
