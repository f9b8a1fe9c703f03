"""What came of a run, as the few numbers that rules are compared by."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cocoon_p2p.payments.pricing import TOKENS_PER_PRICE
from cocoon_p2p.testing.market.demand import full_rate, mean_lengths
from cocoon_p2p.testing.market.desk import Job
from cocoon_p2p.testing.market.mix import MACHINES, Machine
from cocoon_p2p.testing.market.running import Record

REFERENCE: Machine = MACHINES[1]
"What a client's wait is measured by: the time that this machine takes, alone."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one rule at one load.

    Times are in seconds, of the requests of the window. One that had not come so far when the run
    ended took longer than the cool-down at least, so a figure above that is a bound from below.
    """

    requests: int
    waiting_p50: float
    "From the first Ask to the begin of work."

    waiting_p99: float
    first_p50: float
    "From the first Ask to the first token."

    first_p99: float
    total_p50: float
    "From the first Ask to the last token."

    total_p99: float
    utilisation: float
    """Work done, over what would be done with every slot taken: one slot-second of a machine counts as
    much as that machine does in it."""

    fairness_clients: float
    "Jain's index of how quickly clients were served, against a large desktop card of their own."

    fairness_workers: float
    "Jain's index of what workers earned, against what each would earn with every slot taken."

    price: float
    "nanoTON paid for 1,000 tokens, of prompts and answers alike, before the commission."

    refusals: float
    "Full workers that a request was sent to, on average."


def reckon(record: Record) -> Outcome:
    """Reckon a run's outcome."""
    jobs, end = record.jobs, record.span.end
    waiting = _sorted((job.began or end) - job.wanted.at for job in jobs)
    first = _sorted((job.first or end) - job.wanted.at for job in jobs)
    total = _sorted((job.ended or end) - job.wanted.at for job in jobs)
    return Outcome(
        requests=len(jobs),
        waiting_p50=percentile(waiting, 0.5),
        waiting_p99=percentile(waiting, 0.99),
        first_p50=percentile(first, 0.5),
        first_p99=percentile(first, 0.99),
        total_p50=percentile(total, 0.5),
        total_p99=percentile(total, 0.99),
        utilisation=_utilisation(record),
        fairness_clients=jain(_quickness(jobs, end)),
        fairness_workers=jain(desk.busy_slot_seconds / desk.machine.slots for desk in record.desks),
        price=_price(record),
        refusals=sum(job.refusals for job in jobs) / max(1, len(jobs)),
    )


def percentile(values: Sequence[float], part: float) -> float:
    """Give the value that this part of all sorted ones does not exceed; 0 of none."""
    return values[min(len(values) - 1, int(part * len(values)))] if values else 0.0


def jain(values: Iterable[float]) -> float:
    """Give Jain's index: 1 where all are alike, 1/n where one has everything; 1 of nothing."""
    each = tuple(values)
    squares = sum(value * value for value in each)
    return sum(each) ** 2 / (len(each) * squares) if squares else 1.0


def _sorted(values: Iterable[float]) -> list[float]:
    return sorted(values)


def _utilisation(record: Record) -> float:
    """Count work in requests of the mean lengths: that is what a load of 1 is counted in."""
    lengths = mean_lengths()
    done = sum(desk.alone_seconds / desk.machine.seconds(*lengths) for desk in record.desks)
    seconds = record.span.end - record.span.warm_up
    return done / (sum(full_rate(record.market)) * seconds)


def _quickness(jobs: Iterable[Job], end: float) -> Iterable[float]:
    """Give, of each client, the seconds that its answers take on the reference over those that they took."""
    quiet: dict[int, float] = {}
    taken: dict[int, float] = {}
    for job in jobs:
        wanted = job.wanted
        client = wanted.client
        quiet[client] = quiet.get(client, 0.0) + REFERENCE.seconds(wanted.prompt, wanted.answer)
        taken[client] = taken.get(client, 0.0) + (job.ended or end) - wanted.at
    return (quiet[client] / taken[client] for client in quiet)


def _price(record: Record) -> float:
    sellers = record.market.sellers
    done = [job for job in record.jobs if job.began is not None]
    cost = sum(sellers[job.worker].cost(job.wanted.prompt, job.wanted.answer) for job in done)
    tokens = sum(job.wanted.prompt + job.wanted.answer for job in done)
    return TOKENS_PER_PRICE * cost / max(1, tokens)
