"""What one constraint may take of us and of the engine, all of its parts together."""

from dataclasses import dataclass
from typing import Final

from cocoon_p2p.inference.constraints.expressions import ConstraintRefused

WORK_MAX: Final = 400_000
"Steps to find automata: some tenths of a second."

RULES_MAX: Final = 6_000
COUNTS_MAX: Final = 8_000
"Of how often something comes: engines write each time out."


@dataclass(slots=True)
class Effort:
    """What is left of it. Every method raises ConstraintRefused where nothing is."""

    work: int = WORK_MAX
    rules: int = RULES_MAX
    counts: int = COUNTS_MAX

    def pay_work(self, steps: int) -> None:
        self.work -= steps
        if self.work < 0:
            raise ConstraintRefused("the constraint takes too much work to read")

    def pay_rules(self, rules: int) -> None:
        self.rules -= rules
        if self.rules < 0:
            raise ConstraintRefused(f"the schema is too large (rules={RULES_MAX} at most)")

    def pay_count(self, count: int) -> None:
        self.counts -= count
        if self.counts < 0:
            raise ConstraintRefused(f"the schema counts too much (together={COUNTS_MAX} at most)")
