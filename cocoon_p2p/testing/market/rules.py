"""Whom a request gets: the rules that are in use elsewhere, each as one proxy follows it.

A proxy sees its own jobs at once and everybody else's as of the worker's last word. Load
balancers' rules send to whoever is next and let the worker queue (`queues`). Others know slots, and
what finds none waits in the proxy's line.
"""

import math
import random
from collections import deque
from collections.abc import Sequence

from cocoon_p2p.testing.market.demand import mean_lengths
from cocoon_p2p.testing.market.desk import Job
from cocoon_p2p.testing.market.mix import PROXIES_PER_WORKER, Market, Seller

COCOON_ACTIVE_MAX = 200
"What a worker of Cocoon's says that it takes at once unless told otherwise, whatever its machine."

COCOON_FADE_SECONDS = 600.0
"Its averages: what is this old counts 1/e."


class Rule:
    """One proxy's way to choose. This one draws by lot.

    Args:
        market: Everybody.
        known: The workers that stand with this proxy.
        dice: Its luck.
    """

    queues = True
    "What is sent to a full worker waits there. Else the worker refuses it."

    listens = False
    "Whether it heeds what workers tell of others' jobs."

    def __init__(self, market: Market, known: Sequence[int], dice: random.Random) -> None:
        self.market = market
        self.known = known
        self.dice = dice
        self.own = dict.fromkeys(known, 0)
        self.elsewhere = dict.fromkeys(known, 0)
        self._line = deque[Job]()

    def choose(self, job: Job, now: float) -> int | None:
        """Choose a worker; None where it must wait."""
        return self.dice.choice(self.known)

    def running(self, worker: int) -> int:
        """Say how many jobs a worker has, as far as is known here."""
        return self.own[worker] + self.elsewhere[worker]

    def slots(self, worker: int) -> int:
        """Say how many slots it has."""
        return self.market.sellers[worker].machine.slots

    def sent(self, job: Job, now: float) -> None:
        """Note that a job was sent."""
        self.own[job.worker] += 1

    def ended(self, job: Job, now: float) -> None:
        """Note that one has ended."""
        self.own[job.worker] -= 1

    def told(self, worker: int, elsewhere: int, now: float) -> None:
        """Take a worker's word for how many jobs of others' it has."""
        self.elsewhere[worker] = elsewhere

    def refused(self, worker: int, now: float) -> None:
        """Take a worker to be full until it says otherwise."""
        self.elsewhere[worker] = max(0, self.slots(worker) - self.own[worker])

    # ------------------------------------------------------------ the proxy's line

    @property
    def waiting(self) -> int:
        """How many wait in this proxy's line."""
        return len(self._line)

    def has_room(self) -> bool:
        """Say whether anybody would be chosen."""
        return True

    def join(self, job: Job, now: float) -> None:
        """Wait: first come, first served."""
        self._line.append(job)

    def take(self) -> Job:
        """Take out whose turn it is. Somebody must wait."""
        return self._line.popleft()


class RoundRobin(Rule):
    """One after another, whoever they are and whatever runs there."""

    def __init__(self, market: Market, known: Sequence[int], dice: random.Random) -> None:
        super().__init__(market, known, dice)
        self._place = dice.randrange(len(known)) if known else 0

    def choose(self, job: Job, now: float) -> int | None:
        """Choose the next."""
        self._place = (self._place + 1) % len(self.known)
        return self.known[self._place]


class FreeRoundRobin(RoundRobin):
    """One after another of those that have a slot free: what knowing slots is worth by itself."""

    queues = False
    listens = True

    def choose(self, job: Job, now: float) -> int | None:
        """Choose the next that has room."""
        for _ in self.known:
            worker = super().choose(job, now)
            if worker is not None and self.running(worker) < self.slots(worker):
                return worker
        return None

    def has_room(self) -> bool:
        """Say whether a slot is free."""
        return any(self.running(worker) < self.slots(worker) for worker in self.known)


class LeastLoaded(Rule):
    """Whoever has the fewest jobs for its slots, of equals by lot."""

    listens = True

    def choose(self, job: Job, now: float) -> int | None:
        """Choose the idlest."""
        loads = [self.running(worker) / self.slots(worker) for worker in self.known]
        least = min(loads)
        return self.dice.choice(
            [worker for worker, load in zip(self.known, loads, strict=True) if load == least]
        )


class Cocoon(Rule):
    """Cocoon's rule: the least product of what runs there and how long requests took there lately.

    As its proxy has it: what others have sent there is not known; of equals, all idle ones among
    them, the first is taken; nobody gets more than this proxy's part of what it takes at once. A
    worker says that it takes 200 at once unless its owner sets another number, so what is too much
    for it waits in its engine.

    Read in ProxyRunner::choose_connection (TelegramMessenger/cocoon, b75d444, of December 2025).
    """

    most = math.ceil(COCOON_ACTIVE_MAX / PROXIES_PER_WORKER)
    "Of each worker's places, this proxy's."

    def __init__(self, market: Market, known: Sequence[int], dice: random.Random) -> None:
        super().__init__(market, known, dice)
        # There, who has no average yet passes for idle whatever runs there. Here each begins with a true one.
        self._averages = {worker: Average(_usual_seconds(market.sellers[worker])) for worker in known}

    def choose(self, job: Job, now: float) -> int | None:
        """Choose the least product; the first of equals."""
        open_here = (worker for worker in self.known if self.own[worker] < self.most)
        return min(open_here, key=self._product, default=None)

    def has_room(self) -> bool:
        """Say whether anybody takes more."""
        return any(self.own[worker] < self.most for worker in self.known)

    def ended(self, job: Job, now: float) -> None:
        """Take its time into the average."""
        super().ended(job, now)
        self._averages[job.worker].add(now - job.sent, now)

    def _product(self, worker: int) -> float:
        return self.running(worker) * self._averages[worker].seconds


class CocoonTold(Cocoon):
    """The same at its best: a proxy is told what others have sent, and equals are drawn by lot."""

    listens = True

    def choose(self, job: Job, now: float) -> int | None:
        """Choose the least product, of equals by lot."""
        products = [self._product(worker) for worker in self.known]
        least = min(products)
        return self.dice.choice(
            [worker for worker, product in zip(self.known, products, strict=True) if product == least]
        )


class Average:
    """A mean of what was seen lately; it fades with time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._count = 1.0
        self._at = 0.0

    def add(self, seconds: float, now: float) -> None:
        """Take one more in."""
        kept = self._count * math.exp((self._at - now) / COCOON_FADE_SECONDS)
        self.seconds = (kept * self.seconds + seconds) / (kept + 1)
        self._count, self._at = kept + 1, now


def _usual_seconds(seller: Seller) -> float:
    machine = seller.machine
    return machine.seconds(*mean_lengths()) * machine.slowing(machine.slots)
