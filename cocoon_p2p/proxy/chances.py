"""What became of each worker's chances, to be told to it: it cannot see whom clients got instead.

Not every Ask is looked back at: one a second at most, and of a crowd only some of its workers, in
turn. So it costs the same however many ask.

Spec: protocols/session.md (Registered: chances).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments.pricing import amount_max_for_worker
from cocoon_p2p.protocols.ids import Why
from cocoon_p2p.protocols.messages import Ask, Chances, NotChosen
from cocoon_p2p.scheduling import Choice, Roster, WorkerStanding
from cocoon_p2p.scheduling.expected import Row
from cocoon_p2p.scheduling.passed_over import passed_over
from cocoon_p2p.units import Nano

LOOK_SECONDS = 1.0
"Between two Asks that are looked back at."

WORKERS_MAX = 128
"Of one Ask that are looked at: a millisecond and a half."

COUNTED_SECONDS = 3600.0
"Then it is counted anew: what held an hour ago is no advice."


@dataclass(slots=True)
class _Count:
    since: float
    looked_at: int = 0
    chosen: int = 0
    whys: Counter[Why] = field(default_factory=Counter[Why])


class LookingBack:
    """Counts of all workers. Each is dropped with its worker's session."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._counts: dict[PeerId, _Count] = {}
        self._looked_at = float("-inf")
        self._turn = 0

    def look(
        self,
        ask: Ask,
        choice: Choice,
        *,
        commission_basis_points: int,
        now: float,
        date: float,
        cached: Mapping[PeerId, float],
        luck: int = 0,
    ) -> None:
        """Look back at an Ask, unless one was looked at just now. Take the same arguments as `choose`."""
        if now < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = now
        amount_max = amount_max_for_worker(Nano(ask.max_cost), commission_basis_points)
        some, chosen = self._some(ask.model, choice.worker)
        for row in some:
            count = self._count(row.worker.peer, now)
            count.looked_at += 1
            if row is chosen:
                count.chosen += 1
                continue
            why = passed_over(ask, row, chosen, amount_max=amount_max, now=now, date=date, cached=cached)
            count.whys[why] += 1

    def chances(self, worker: WorkerStanding, now: float) -> Chances:
        """Say what became of a worker's chances so far."""
        count = self._count(worker.peer, now)
        rests = worker.rests_until - now
        return Chances(
            seconds=max(0, int(now - count.since)),
            looked_at=count.looked_at,
            chosen=count.chosen,
            not_chosen=tuple(NotChosen(int(why), times) for why, times in count.whys.most_common()),
            rests_ms=int(rests * 1000) if rests > 0 else None,
        )

    def forget(self, peer: PeerId) -> None:
        """Drop the counts of a worker that has left."""
        self._counts.pop(peer, None)

    def _count(self, peer: PeerId, now: float) -> _Count:
        count = self._counts.get(peer)
        if count is None or now >= count.since + COUNTED_SECONDS:
            count = self._counts[peer] = _Count(now)
        return count

    def _some(self, model: str, worker: WorkerStanding | None) -> tuple[list[Row], Row | None]:
        """Give some of those that offer a model, others each time, and the one that was chosen among them."""
        sides = [side for shelf in self._roster.shelves(model) for side in (shelf.open, shelf.shut)]
        chosen = None
        if worker is not None:
            chosen = next((side[worker.peer] for side in sides if worker.peer in side), None)
        number = sum(map(len, sides))
        if number > WORKERS_MAX:
            self._turn = (self._turn + WORKERS_MAX) % number
        else:
            self._turn = 0
        around = chain.from_iterable(side.values() for side in (*sides, *sides))
        some = list(islice(around, self._turn, self._turn + min(number, WORKERS_MAX)))
        return (some if chosen is None or chosen in some else [*some, chosen]), chosen
