"""What an Ask could wait for where nobody has a free slot: how many slots, and for how long each is taken."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from statistics import median

from cocoon_p2p.payments.pricing import amount_max_for_worker
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import Ask, ModelOffer
from cocoon_p2p.scheduling.expected import Row, row_of, seconds_of, size_of
from cocoon_p2p.scheduling.ladder import offer_missing, worker_missing
from cocoon_p2p.scheduling.roster import Roster, Shelf
from cocoon_p2p.scheduling.standing import WorkerStanding
from cocoon_p2p.units import Nano

SAMPLE = 64
"Workers of one shelf that are looked at; what they say stands for all. Asks come thick when none is free."


@dataclass(frozen=True, slots=True)
class Prospect:
    """The slots that would do, once they are free."""

    slots: int
    seconds: float
    "How long this Ask is expected to take one of them."


def prospect(
    ask: Ask, roster: Roster, *, commission_basis_points: int, now: float, date: float
) -> Prospect | None:
    """Look at who lacks nothing but a free slot; None if there is nobody.

    Args:
        ask: What is asked for.
        roster: All that stand with us.
        commission_basis_points: Ours.
        now: Seconds on the clock of `WorkerStanding.heard`.
        date: Seconds since the Unix epoch.
    """
    amount_max = amount_max_for_worker(Nano(ask.max_cost), commission_basis_points)
    size, slots, seconds = size_of(ask), 0.0, list[float]()
    for shelf in roster.shelves(ask.model):
        if offer_missing(ask, shelf.offer) is not None:
            continue
        share = max(1.0, (len(shelf.shut) + len(shelf.open)) / SAMPLE)
        for row in _busy(ask, shelf, amount_max, now, date):
            slots += share * row.worker.slots_total
            seconds.append(seconds_of(row, size, None))
    # The median, and not by slots: both are the workers' own word.
    return Prospect(max(1, round(slots)), median(seconds)) if seconds else None


def expected_seconds(ask: Ask, worker: WorkerStanding, offer: ModelOffer, now: float) -> float:
    """Say how long an exchange is expected to take a slot of this worker."""
    row = row_of(worker, offer, fresh_until=now, expires=worker.expires, now=now)
    return seconds_of(row, size_of(ask), None)


def _busy(ask: Ask, shelf: Shelf, amount_max: Nano, now: float, date: float) -> Iterator[Row]:
    for row in islice(chain(shelf.shut.values(), shelf.open.values()), SAMPLE):
        missed = worker_missing(ask, row.worker, row.offer, amount_max=amount_max, now=now, date=date)
        if missed is Reason.NO_CAPACITY:
            yield row
