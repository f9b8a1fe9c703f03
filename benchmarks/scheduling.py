"""Choosing a worker for one Ask among 2,000.

    python benchmarks/scheduling.py [--workers N] [--quick]

Beside it, in the same round, a bare loop over as many workers that adds two numbers of each: what
Python itself takes to look at them. Also an Ask that must be refused, where everybody is busy and
where nobody offers it for the price, and what taking note of a worker's Load costs.
"""

import argparse
import hashlib
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import Kind, Preference, Trust
from cocoon_p2p.protocols.messages import Ask, ExchangeId, ModelOffer, Price, Rates
from cocoon_p2p.scheduling import Pace, Roster, WorkerStanding, choose

NOW, DATE = 1_000.0, 1_800_000_000.0
ASK = Ask(ExchangeId(bytes(16)), "m", Kind.CHAT, 4_000, 1_000, 10**9, 60_000, Trust.OPEN, (), (), ("stop",))


def crowd(count: int) -> list[WorkerStanding]:
    """Make workers of all prices and paces, of which each third offers something else too."""
    rolls, standings = random.Random(8), list[WorkerStanding]()
    for number in range(count):
        price = Price(rolls.randint(1_000, 9_000), 500, rolls.randint(5_000, 40_000), 20_000)
        rates = Rates(rolls.randint(200_000, 5_000_000), rolls.randint(5_000, 90_000), 4_000)
        offer = ModelOffer(
            "m", bytes(32), bytes(32), Kind.CHAT, 32_768, ("seed", "stop"), price, False, rates
        )
        pace = Pace().prefilled(900, rolls.uniform(0.2, 3), NOW).decoded(200, rolls.uniform(3, 30), NOW)
        peer = PeerId(b"\x00$\x08\x01\x12 " + hashlib.sha256(number.to_bytes(4)).digest())
        offers = (offer, replace(offer, name="n")) if number % 3 == 0 else (offer,)
        slots = rolls.randint(1, 8)
        standings.append(
            WorkerStanding(
                peer,
                offers,
                Trust.OPEN,
                slots,
                False,
                NOW,
                int(DATE) + 3_000,
                slots_total=8,
                paces={"m": pace},
            )
        )
    return standings


def timed(action: Callable[[], object], times: int) -> float:
    """Give the milliseconds of processor time that one takes."""
    began = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - began) / times * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2_000)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    standings = crowd(given.workers)
    roster, busy = Roster(), Roster()
    for standing in standings:
        roster.put(standing, NOW)
        busy.put(replace(standing, slots_free=0), NOW)
    numbers = [(each.heard, each.slots_free) for each in standings]

    def look(ask: Ask, among: Roster = roster) -> Callable[[], object]:
        return lambda: choose(ask, among, commission_basis_points=500, now=NOW, date=DATE, luck=12345)

    actions: dict[str, Callable[[], object]] = {
        "bare loop": lambda: [first + second for first, second in numbers],
        "balanced": look(ASK),
        "fast": look(replace(ASK, preference=Preference.FAST)),
        "cheap, one excluded": look(
            replace(ASK, preference=Preference.CHEAP, exclude=(standings[0].peer,), trust=Trust.OPEN)
        ),
        "refused, all are busy": look(ASK, busy),
        "refused, all are too dear": look(replace(ASK, max_cost=1)),
        "one worker's Load": lambda: roster.put(standings[7], NOW),
    }
    rounds, times = (3, 5) if given.quick else (15, 20)
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            taken[name].append(timed(action, times))
    print(f"{given.workers} workers, ms of processor time, median (least to most of {rounds} rounds)")
    for name, each in taken.items():
        print(f"  {name:<28}{statistics.median(each):8.3f}  ({min(each):.3f} to {max(each):.3f})")


if __name__ == "__main__":
    main()
