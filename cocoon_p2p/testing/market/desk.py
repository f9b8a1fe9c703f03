"""A worker at work: some requests share the machine, the others wait in its line.

Everything that runs slows everything else alike, so one clock serves them all: it goes by the
seconds that a request alone would have had. A request is done when that clock has gone on by the
seconds that it takes alone, whoever came and went meanwhile. Nothing has to be reckoned anew.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field

from cocoon_p2p.testing.market.demand import Wanted
from cocoon_p2p.testing.market.mix import Machine

_ROUNDING = 1e-9


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way. All times are of one clock, in seconds; None: not yet."""

    wanted: Wanted
    proxy: int
    worker: int = -1
    sent: float = 0.0
    "To the worker that has it."

    began: float | None = None
    first: float | None = None
    "When its first token came."

    ended: float | None = None
    refusals: int = 0
    "By workers that turned out to be full."

    forecast: float | None = None
    "What it was expected to take of a slot when it had to wait for one, in seconds."


@dataclass(slots=True)
class Desk:
    """One worker."""

    machine: Machine
    running: int = 0
    line: deque[Job] = field(default_factory=deque[Job])
    by_proxy: dict[int, int] = field(default_factory=dict[int, int])
    "Jobs of each proxy's that are here, in the line too."

    turn: int = 0
    "Goes up whenever the time of the next mark changes."

    busy_slot_seconds: float = 0.0
    alone_seconds: float = 0.0
    "Work done, in seconds that it takes alone."

    _now: float = 0.0
    _clock: float = 0.0
    _marks: list[tuple[float, int, Job]] = field(default_factory=list[tuple[float, int, Job]])
    _count: int = 0

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""
        return self.running >= self.machine.slots

    @property
    def taken(self) -> int:
        """How many jobs are here, in the line too."""
        return self.running + len(self.line)

    def advance(self, now: float) -> None:
        """Work until now."""
        if self.running:
            passed = now - self._now
            alone = passed / self.machine.slowing(self.running)
            self._clock += alone
            self.busy_slot_seconds += passed * self.running
            self.alone_seconds += alone * self.running
        self._now = now

    def begin(self, job: Job, now: float) -> None:
        """Give a job a slot."""
        self.advance(now)
        job.began = now
        self.running += 1
        machine, wanted = self.machine, job.wanted
        self._mark(self._clock + machine.seconds(wanted.prompt, 1), job)
        self._mark(self._clock + machine.seconds(wanted.prompt, wanted.answer), job)

    def due(self) -> float | None:
        """Say when the next token that counts comes, if nothing changes: an answer's first or its last."""
        if not self._marks:
            return None
        ahead = max(0.0, self._marks[0][0] - self._clock)
        return self._now + ahead * self.machine.slowing(self.running)

    def reach(self, now: float) -> list[Job]:
        """Note all that was due by now, and give the jobs that have ended."""
        self.advance(now)
        ended: list[Job] = []
        while self._marks and self._marks[0][0] <= self._clock + _ROUNDING:
            job = heapq.heappop(self._marks)[2]
            if job.first is None:
                job.first = now
            else:
                job.ended = now
                self.running -= 1
                ended.append(job)
        return ended

    def _mark(self, clock: float, job: Job) -> None:
        self._count += 1
        heapq.heappush(self._marks, (clock, self._count, job))
