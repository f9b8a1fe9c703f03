"""One run: requests come, are sent, share machines, and end. A heap of events, and nothing else.

    came -> ask -- choose -> sent -> [the worker's line] -> began -> first token -> ended
             ^      |  |
             |      |  '- nobody has a slot: the proxy's line, until it hears of one
             |      '---- the worker is full after all: another Ask, `ANEW_SECONDS` later
             '------------'

Requests keep coming until the end. Those of the window in the middle are looked at.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS
from cocoon_p2p.testing.market.demand import draw_demand
from cocoon_p2p.testing.market.desk import Desk, Job
from cocoon_p2p.testing.market.mix import Market
from cocoon_p2p.testing.market.rules import Rule

ANEW_SECONDS = 0.2
"What a full worker costs: its refusal's way back, and another Ask."


@dataclass(frozen=True, slots=True)
class Span:
    """How long a run is. All in seconds."""

    warm_up: float = 60.0
    "Until machines are as busy as they will be."

    window: float = 120.0
    "In which the requests come that are looked at."

    cool_down: float = 60.0
    "More come, so that those can end under the same load. Who has not by then is known to take longer."

    @property
    def closes(self) -> float:
        """When the window does."""
        return self.warm_up + self.window

    @property
    def end(self) -> float:
        """When all does."""
        return self.closes + self.cool_down


@dataclass(frozen=True, slots=True)
class Record:
    """All that happened."""

    market: Market
    span: Span
    jobs: tuple[Job, ...]
    "Those that came in the window."

    desks: tuple[Desk, ...]
    "With what each worker did from the warm-up to the end."


class Run:
    """One market under one rule.

    Args:
        market: Everybody.
        rule: The same for each proxy; each has its own view.
        load: What is asked for, over what could be done with every slot taken.
        span: How long.
        word_seconds: How long at least a worker waits from one word of its load to the next, so how
            old a proxy's view of others' jobs may be.
    """

    def __init__(
        self,
        market: Market,
        rule: type[Rule],
        load: float,
        span: Span,
        *,
        word_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._market = market
        self._span = span
        self._word_seconds = word_seconds
        self._demand = draw_demand(market, load, span.end)
        dice = random.Random(f"luck {market.seed} {load}")
        self.rules = [rule(market, known, dice) for known in market.known()]
        self._listens = rule.listens
        self._queues = rule.queues
        self.desks = [
            Desk(seller.machine, by_proxy=dict.fromkeys(seller.proxies, 0)) for seller in market.sellers
        ]
        self._told = [-word_seconds] * len(self.desks)
        self._has_news = [False] * len(self.desks)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._now = 0.0
        self._jobs: list[Job] = []

    def run(self) -> Record:
        """Run to the end."""
        self._at(self._span.warm_up, self._begin_to_count)
        self._next()
        while self._events and self._events[0][0] < self._span.end:
            self._now, _, event = heapq.heappop(self._events)
            event()
        for desk in self.desks:
            desk.advance(self._span.end)
        return Record(self._market, self._span, tuple(self._jobs), tuple(self.desks))

    def _at(self, when: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, event))

    # ------------------------------------------------------------ requests

    def _next(self) -> None:
        """Await the next request: each brings the one after it."""
        wanted = next(self._demand, None)
        if wanted is not None:
            self._at(wanted.at, partial(self._come, Job(wanted, wanted.client % self._market.proxies)))

    def _come(self, job: Job) -> None:
        if self._span.warm_up <= self._now < self._span.closes:
            self._jobs.append(job)
        self._next()
        self._ask(job)

    def _ask(self, job: Job) -> None:
        rule = self.rules[job.proxy]
        # Nobody passes those who wait already: what would suit the newcomer suits them.
        worker = None if rule.waiting else rule.choose(job, self._now)
        if worker is None:
            rule.join(job, self._now)
        else:
            self._try(job, worker)

    def _try(self, job: Job, worker: int) -> None:
        """Send a job, unless its worker has no room and refuses it."""
        if self._queues or not self.desks[worker].is_full:
            self._send(job, worker)
            return
        self.rules[job.proxy].refused(worker, self._now)
        job.refusals += 1
        self._at(self._now + ANEW_SECONDS, partial(self._ask, job))

    def _serve(self, proxy: int) -> None:
        """Give slots that are free to those who wait for one."""
        rule = self.rules[proxy]
        while rule.waiting and rule.has_room():
            job = rule.take()
            worker = rule.choose(job, self._now)
            assert worker is not None, "there was room"
            self._try(job, worker)

    def _send(self, job: Job, worker: int) -> None:
        desk = self.desks[worker]
        job.worker, job.sent = worker, self._now
        desk.by_proxy[job.proxy] += 1
        self.rules[job.proxy].sent(job, self._now)
        if desk.is_full:
            desk.line.append(job)
        else:
            desk.begin(job, self._now)
            self._await_mark(worker)
        self._tell_soon(worker)

    # ------------------------------------------------------------ workers

    def _await_mark(self, worker: int) -> None:
        desk = self.desks[worker]
        desk.turn += 1
        if (due := desk.due()) is not None:
            self._at(due, partial(self._mark, worker, desk.turn))

    def _mark(self, worker: int, turn: int) -> None:
        desk = self.desks[worker]
        if turn != desk.turn:
            return
        ended: list[int] = []
        for job in desk.reach(self._now):
            desk.by_proxy[job.proxy] -= 1
            self.rules[job.proxy].ended(job, self._now)
            ended.append(job.proxy)
        while desk.line and not desk.is_full:
            desk.begin(desk.line.popleft(), self._now)
        self._await_mark(worker)
        for proxy in ended:
            self._tell_soon(worker)
            self._serve(proxy)

    def _tell_soon(self, worker: int) -> None:
        """Have a worker tell its load, as soon as it may again."""
        if self._listens and not self._has_news[worker]:
            self._has_news[worker] = True
            self._at(max(self._now, self._told[worker] + self._word_seconds), partial(self._tell, worker))

    def _tell(self, worker: int) -> None:
        self._has_news[worker], self._told[worker] = False, self._now
        desk = self.desks[worker]
        for proxy, own in desk.by_proxy.items():
            self.rules[proxy].told(worker, desk.taken - own, self._now)
            self._serve(proxy)

    def _begin_to_count(self) -> None:
        for desk in self.desks:
            desk.advance(self._now)
            desk.busy_slot_seconds = desk.alone_seconds = 0.0
