"""What there is to wait for, where nobody has a free slot."""

from dataclasses import replace

import pytest

from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.scheduling import Prospect, WorkerStanding, prospect
from cocoon_p2p.scheduling.prospect import SAMPLE
from tests.scheduling.crowd import ASK, DATE, NOW, PEERS, paced, roster_of, worker


def look(*workers: WorkerStanding) -> Prospect | None:
    return prospect(ASK, roster_of(*workers), commission_basis_points=0, now=NOW, date=DATE)


def busy(number: int, **changes: object) -> WorkerStanding:
    return worker(number, **{"slots_free": 0, "slots_total": 4, **changes})


def test_slots_of_those_who_lack_nothing_else_are_counted() -> None:
    resting, draining = busy(2, rests_until=NOW + 5), busy(3, is_draining=True)
    stale, unproven = busy(4, heard=NOW - 60), busy(5)

    found = look(busy(0), busy(1, slots_total=2), resting, draining, stale)

    assert found is not None
    assert found.slots == 6
    asked = replace(ASK, trust=Trust.TDX)
    roster = roster_of(busy(0, trust=Trust.TDX), unproven)
    proven = prospect(asked, roster, commission_basis_points=0, now=NOW, date=DATE)
    assert proven is not None
    assert proven.slots == 4


def test_there_is_nothing_to_wait_for_where_nobody_would_do() -> None:
    assert look() is None
    assert look(busy(0, is_draining=True), busy(1, rests_until=NOW + 5)) is None


def test_one_worker_that_says_it_is_slow_makes_nobody_wait_longer() -> None:
    honest = [busy(number, offer=paced(1_000, 50)) for number in range(3)]
    alone = look(*honest)

    found = look(*honest, busy(3, slots_total=4_096, offer=paced(0.001, 0.001)))

    assert alone is not None
    assert found is not None
    assert found.seconds == pytest.approx(alone.seconds)


def test_of_many_workers_some_stand_for_all() -> None:
    crowd = [replace(busy(0), peer=PEERS[0][:-2] + number.to_bytes(2)) for number in range(3 * SAMPLE)]

    found = look(*crowd)

    assert found is not None
    assert found.slots == 3 * SAMPLE * 4
