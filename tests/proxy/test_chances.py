"""What a worker is told of its chances: the reason that would have to change, and how often."""

from dataclasses import replace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments.pricing import amount_max_for_worker
from cocoon_p2p.protocols.ids import CHANCES_SECONDS, Trust, Why
from cocoon_p2p.protocols.messages import Ask, Chances, NotChosen, Registered
from cocoon_p2p.proxy.chances import COUNTED_SECONDS, LOOK_SECONDS, WORKERS_MAX, LookingBack
from cocoon_p2p.scheduling import Choice, Fault, Odds, Roster, WorkerStanding, choose
from cocoon_p2p.scheduling.passed_over import passed_over
from cocoon_p2p.units import Nano
from tests.proxy.scene import scene
from tests.scheduling.crowd import ASK, DATE, NOW, PEERS, asks, crowds, paced, priced, roster_of, worker


def looked(looking: LookingBack, roster: Roster, ask: Ask = ASK, *, now: float = NOW) -> Choice:
    choice = choose(ask, roster, commission_basis_points=0, now=now, date=DATE, luck=0)
    looking.look(ask, choice, commission_basis_points=0, now=now, date=DATE, cached={})
    return choice


def why(mine: WorkerStanding, *others: WorkerStanding, ask: Ask = ASK) -> Why:
    """Say why the first of these did not get an Ask."""
    roster = roster_of(mine, *others)
    looking = LookingBack(roster)
    looked(looking, roster, ask)
    ((told,),) = (looking.chances(mine, NOW).not_chosen,)
    assert told.times == 1
    return Why(told.why)


@pytest.mark.parametrize(
    ("mine", "ask", "expected"),
    [
        (worker(offer=priced(10_000_000)), ASK, Why.DEARER_THAN_ASKED),
        (worker(offer=priced(40_000)), ASK, Why.OTHERS_CHEAPER),
        (worker(offer=paced(500, 5)), ASK, Why.OTHERS_QUICKER),
        (worker(odds=Odds(0, 40, NOW)), ASK, Why.OTHERS_TRUER),
        (worker(is_draining=True), ASK, Why.DRAINING),
        (worker(rests_until=NOW + 5, rests_for=Fault.LOST), ASK, Why.RESTING),
        (worker(rests_until=NOW + 5), ASK, Why.RESTING),
        (worker(rests_until=NOW + 5, rests_for=Fault.CANARY), ASK, Why.CANARY),
        (worker(slots_free=0), ASK, Why.FULL),
        (worker(), replace(ASK, weights_hash=b"v" * 32), Why.UNFIT),
        (worker(), replace(ASK, prompt_tokens_max=10**6), Why.UNFIT),
        (worker(), replace(ASK, exclude=(PEERS[0],)), Why.EXCLUDED),
        (worker(), replace(ASK, prefer=(PEERS[1],)), Why.ANOTHER_NAMED),
        (worker(heard=NOW - 60), ASK, Why.SILENT),
    ],
)
def test_the_reason_is_what_would_have_to_change(mine: WorkerStanding, ask: Ask, expected: Why) -> None:
    assert why(mine, worker(1), ask=ask) is expected


def test_who_proves_too_little_is_told_so() -> None:
    assert why(worker(), worker(1, trust=Trust.TDX), ask=replace(ASK, trust=Trust.TDX)) is Why.TRUST


def test_of_equals_the_one_that_lost_the_draw_is_told_that_it_was_a_lot() -> None:
    roster = roster_of(worker(0), worker(1))
    looking = LookingBack(roster)

    choice = looked(looking, roster)

    assert choice.worker is not None
    (loser,) = (each for each in roster if each.peer != choice.worker.peer)
    assert looking.chances(loser, NOW).not_chosen == (NotChosen(int(Why.LOT), 1),)
    assert looking.chances(choice.worker, NOW).chosen == 1


@pytest.mark.slow
@given(ask=asks, crowd=crowds)
@settings(max_examples=25, deadline=None)
def test_there_is_a_reason_for_everybody_that_offers_the_model(ask: Ask, crowd: list[WorkerStanding]) -> None:
    roster = roster_of(*crowd)
    choice = choose(ask, roster, commission_basis_points=0, now=NOW, date=DATE, luck=0)

    rows = {
        peer: row
        for shelf in roster.shelves(ask.model)
        for peer, row in (*shelf.open.items(), *shelf.shut.items())
    }
    got = None if choice.worker is None else rows[choice.worker.peer]
    amount_max = amount_max_for_worker(Nano(ask.max_cost), 0)
    for row in rows.values():
        if row is not got:
            found = passed_over(ask, row, got, amount_max=amount_max, now=NOW, date=DATE, cached={})
            assert isinstance(found, Why)


def test_one_ask_a_second_is_looked_back_at() -> None:
    roster = roster_of(worker(0), worker(1))
    looking = LookingBack(roster)

    for number in range(10):
        looked(looking, roster, now=NOW + number * LOOK_SECONDS / 4)

    assert looking.chances(roster[PEERS[0]], NOW).looked_at == 3


@given(lengths=st.integers(1, 5))
def test_after_an_hour_it_is_counted_anew(lengths: int) -> None:
    roster = roster_of(worker(0))
    looking = LookingBack(roster)
    looked(looking, roster)

    later = NOW + lengths * COUNTED_SECONDS

    assert looking.chances(roster[PEERS[0]], later) == Chances(0, 0, 0)


def test_of_a_crowd_some_are_looked_at_in_turn_and_the_chosen_one_always() -> None:
    roster = Roster()
    crowd = [replace(worker(), peer=PeerId(number.to_bytes(38))) for number in range(3 * WORKERS_MAX)]
    for each in crowd:
        roster.put(each, NOW)
    looking = LookingBack(roster)

    counted: list[int] = []
    for number in range(3):
        choice = looked(looking, roster, now=NOW + number * LOOK_SECONDS)
        assert choice.worker is not None
        assert looking.chances(choice.worker, NOW).chosen >= 1
        counted.append(sum(looking.chances(each, NOW).looked_at for each in crowd))

    assert counted[0] <= WORKERS_MAX + 1
    assert sum(looking.chances(each, NOW).looked_at > 0 for each in crowd) == len(crowd)


async def test_a_worker_is_told_twice_a_minute_and_not_more_often(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        told: list[Registered] = []

        async def hear() -> None:
            while True:
                message = await stage.worker.session.receive()
                assert isinstance(message, Registered)
                told.append(message)

        stage.nursery.start_soon(hear)
        await stage.begin()
        await trio.sleep(2.5 * CHANCES_SECONDS)

        assert len(told) == 2
        assert told[0].chances == Chances(30, 1, 1)
