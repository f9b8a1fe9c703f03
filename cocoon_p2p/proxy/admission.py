"""Who may wait for a slot, how long that is expected to take, and who waits in vain. It has no clock.

    a lane, one a model   a fair queue, how many slots we turn over, how long they are taken
    expected wait         (slot seconds ahead + what the Ask takes itself) / slots that we turn over

What an Ask takes is forecast from its bounds and the workers' rates, and held against how long slots
were taken of late. An Ask is let in only if it is expected to start before its client would have
given up, and so early that its answer ends before its deadline. While too little has ended to tell, a
forecast is a guess, and sends nobody away: who then does not start in time hears so when it is time.

Waiting holds nothing: no slot, no credit. Spec: protocols/exchange.md (Waiting in line).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import DEADLINE_MAX_SECONDS
from cocoon_p2p.protocols.messages import Ask
from cocoon_p2p.scheduling import FairQueue, Place, Prospect

V = TypeVar("V")

HALF_LIFE_SECONDS = 60.0
"How soon it is forgotten how long slots were taken: what people ask for changes within minutes."

STRETCH_MAX = 8.0
"How many times longer than expected one exchange counts at most: nobody can close the line by one."

COUNTED_MAX_SECONDS = 30.0
"Expected seconds that one exchange counts for at most: no high bounds make waits look short."

PRIOR_SECONDS = 5.0
"How many slot seconds a forecast is trusted like: the first answers or so."

SURE_SECONDS = 30.0
"How many slot seconds were forecast and have ended, once a forecast counts against who would wait."

HOPELESS = 2.0
"Who would start so many times later than it can waits in vain. Less is within what forecasts are wrong by."

LANES_MAX = 256
"Models of which it is kept how long they take a slot, when nobody asks for them."


@dataclass(frozen=True, slots=True)
class Turnover:
    """How long slots were taken, against what was expected; it fades."""

    expected: float = 0.0
    held: float = 0.0
    at: float = 0.0

    def after(self, expected: float, held: float, now: float) -> "Turnover":
        """Count one more, in seconds."""
        kept = self._kept(now)
        counted = min(expected, COUNTED_MAX_SECONDS)
        stretch = min(held / expected, STRETCH_MAX) if expected else 0.0
        return Turnover(kept * self.expected + counted, kept * self.held + stretch * counted, now)

    def ratio(self, now: float) -> float:
        """Say how many times longer than expected a slot is taken."""
        kept = self._kept(now)
        return (PRIOR_SECONDS + kept * self.held) / (PRIOR_SECONDS + kept * self.expected)

    def is_sure(self, now: float) -> bool:
        """Say whether enough has ended of late to send somebody away by a forecast."""
        return self._kept(now) * self.expected >= SURE_SECONDS

    def _kept(self, now: float) -> float:
        return float(0.5 ** ((now - self.at) / HALF_LIFE_SECONDS))


@dataclass(slots=True, eq=False)
class Waiting(Generic[V]):
    """An Ask that waits."""

    ask: Ask
    client: PeerId
    visitor: V
    "Who is told what comes of it."

    since: float
    start_by: float
    "Later it does not help its client any more."

    slots: int
    "That would do, when it came."

    forecast: float
    "How long it takes one, not corrected."

    seconds: float
    "How long it was expected to take one, when it came."

    place: "Place[Waiting[V]] | None" = None
    "By which it was served."


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """What came of asking to be let in."""

    wait_seconds: float
    "How long a wait is expected to take."

    may_wait: bool
    "Whether an Ask that waits so long is let in: there is a place, and it would be in time."

    waiting: Waiting[V] | None = None
    "If it was let in."

    pushed_out: Waiting[V] | None = None
    "Whose place it got: one of the many places of another client."


@dataclass(slots=True)
class _Lane(Generic[V]):
    queue: FairQueue[Waiting[V]] = field(default_factory=FairQueue[Waiting[V]])
    running: int = 0
    turnover: Turnover = Turnover()

    def servers(self, slots: int) -> int:
        """Say how many slots come to be free for us: others' exchanges may have the rest."""
        return max(1, min(slots, self.running or slots))


class Admission(Generic[V]):
    """All who wait. Times are seconds on any one clock, spans are seconds."""

    def __init__(self, *, waiting_max: int, per_client_max: int, wait_max_seconds: float) -> None:
        self._waiting_max = waiting_max
        self._per_client_max = per_client_max
        self._wait_max_seconds = wait_max_seconds
        self._lanes: dict[str, _Lane[V]] = {}
        self._places: dict[Waiting[V], Place[Waiting[V]]] = {}
        self._counts: Counter[PeerId] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Waiting[V]]:
        return iter(tuple(self._places))

    @property
    def models(self) -> tuple[str, ...]:
        """The models that somebody waits for."""
        return tuple(name for name, lane in self._lanes.items() if len(lane.queue))

    def expected(self, model: str, seconds: float, now: float) -> float:
        """Correct a forecast of how long a slot is taken by what it was of late."""
        lane = self._lanes.get(model)
        return seconds if lane is None else seconds * lane.turnover.ratio(now)

    # ------------------------------------------------------------ in and out

    def enter(self, ask: Ask, client: PeerId, prospect: Prospect, visitor: V, now: float) -> Entry[V]:
        """Let an Ask in that says how long it would wait, if it would start in time.

        An Ask that does not say so only learns how long it would be.
        """
        lane = self._lane(ask.model)
        seconds = self.expected(ask.model, prospect.seconds, now)
        wait = (lane.queue.ahead(client) + seconds) / lane.servers(prospect.slots)
        if not lane.turnover.is_sure(now):
            wait = 0.0
        left = min(ask.deadline_ms / 1000, DEADLINE_MAX_SECONDS) - seconds
        limit = min(self._wait_max_seconds, left)
        if ask.wait_ms is not None:
            limit = min(limit, ask.wait_ms / 1000)
        may_wait = wait <= limit and self._has_place(client)
        if ask.wait_ms is None or not may_wait:
            return Entry(wait, may_wait)
        pushed_out = self._push_out() if len(self) >= self._waiting_max else None
        waiting = Waiting(ask, client, visitor, now, now + limit, prospect.slots, prospect.seconds, seconds)
        self._places[waiting] = lane.queue.join(client, seconds, waiting)
        self._counts[client] += 1
        return Entry(wait, may_wait, waiting, pushed_out)

    def leave(self, waiting: Waiting[V]) -> None:
        """Forget one that waits; nothing happens if it does not."""
        if (place := self._places.get(waiting)) is not None:
            self._lanes[waiting.ask.model].queue.leave(place)
            self._forget(waiting)

    def take(self, model: str, fits: Callable[[Waiting[V]], bool]) -> Waiting[V] | None:
        """Give a slot of a model to the first whom it suits."""
        lane = self._lanes.get(model)
        place = None if lane is None else lane.queue.take(fits)
        if place is None:
            return None
        self._forget(place.item)
        place.item.place = place
        return place.item

    def late(self, now: float) -> list[tuple[Waiting[V], float]]:
        """Take out whoever cannot start in time, or hardly, and say how long each would have waited on."""
        late: list[tuple[Waiting[V], float]] = []
        for lane in self._lanes.values():
            ahead, ratio, is_sure = 0.0, lane.turnover.ratio(now), lane.turnover.is_sure(now)
            for place in lane.queue:
                waiting = place.item
                wait = ahead / lane.servers(waiting.slots)
                is_hopeless = is_sure and wait > HOPELESS * (waiting.start_by - now)
                if now >= waiting.start_by or is_hopeless:
                    late.append((waiting, wait))
                else:
                    ahead += ratio * waiting.forecast
        for waiting, _ in late:
            self.leave(waiting)
        return late

    def next_late(self) -> float:
        """Say when the first of them can wait no longer."""
        return min((waiting.start_by for waiting in self._places), default=float("inf"))

    # ------------------------------------------------------------ what runs

    def began(self, model: str) -> None:
        """Note that an exchange has a slot."""
        self._lane(model).running += 1

    def ended(
        self, model: str, *, forecast: float | None, held: float, now: float, waited: Waiting[V] | None
    ) -> None:
        """Note that an exchange gave its slot back.

        Args:
            model: What it was with.
            forecast: How long its slot was to be taken in seconds, not corrected; None if it does not count.
            held: How long it was.
            now: The time.
            waited: As which it waited; None if its slot was free, and so missing to nobody.
        """
        lane = self._lanes[model]
        lane.running -= 1
        if forecast is not None:
            lane.turnover = lane.turnover.after(forecast, held, now)
        if waited is not None:
            lane.queue.charge(waited.client, held - waited.seconds, served=waited.place)

    # ------------------------------------------------------------ places

    def _lane(self, model: str) -> _Lane[V]:
        if model not in self._lanes:
            if len(self._lanes) >= LANES_MAX:
                idle = (name for name, lane in self._lanes.items() if not (lane.running or len(lane.queue)))
                self._lanes.pop(next(idle, ""), None)
            self._lanes[model] = _Lane()
        return self._lanes[model]

    def _has_place(self, client: PeerId) -> bool:
        mine = self._counts[client]
        if mine >= self._per_client_max:
            return False
        return len(self) < self._waiting_max or mine + 1 < max(self._counts.values())

    def _push_out(self) -> Waiting[V]:
        """Take the newest place from the client that has the most."""
        ((crowd, _),) = self._counts.most_common(1)
        waiting = next(one for one in reversed(self._places) if one.client == crowd)
        self.leave(waiting)
        return waiting

    def _forget(self, waiting: Waiting[V]) -> None:
        del self._places[waiting]
        self._counts[waiting.client] -= 1
        if not self._counts[waiting.client]:
            del self._counts[waiting.client]
