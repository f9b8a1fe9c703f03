"""Each rule does what its name says, by what one proxy can see."""

import random
from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.testing.market.desk import Job
from cocoon_p2p.testing.market.mix import Machine, Market, Seller
from cocoon_p2p.testing.market.rules import (
    Average,
    Cocoon,
    CocoonTold,
    FreeRoundRobin,
    LeastLoaded,
    RoundRobin,
    Rule,
)
from cocoon_p2p.testing.market.scheduled import MODEL, Scheduled, ScheduledCheap
from tests.testing.market.small import MACHINE, job

PRICE = Price(200, 100, 1_000, 1_000)
QUICK = replace(MACHINE, name="quick", decode=100, decode_full=100, prefill=1_000)
SINGLE = replace(MACHINE, name="single", slots=1)


def rule_of(kind: type[Rule], *machines: Machine) -> Rule:
    sellers = tuple(Seller(each, PRICE, (0,)) for each in machines or (MACHINE, MACHINE, MACHINE))
    market = Market(1, 10, sellers, seed=0)
    return kind(market, range(len(sellers)), random.Random(1))


def send(rule: Rule, *, now: float = 0.0) -> Job:
    sent = job()
    worker = rule.choose(sent, now)
    assert worker is not None
    sent.worker, sent.sent = worker, now
    rule.sent(sent, now)
    return sent


def test_round_robin_comes_to_each_once_in_a_turn_whatever_runs_there() -> None:
    rule = rule_of(RoundRobin)

    chosen = [send(rule).worker for _ in range(12)]

    assert [Counter(chosen[turn : turn + 3]) for turn in range(0, 12, 3)] == [Counter(range(3))] * 4


def test_round_robin_of_the_free_passes_by_who_is_full_and_has_nobody_where_all_are() -> None:
    rule = rule_of(FreeRoundRobin, SINGLE, SINGLE, MACHINE)
    rule.told(0, 1, 0.0)

    chosen = Counter(send(rule).worker for _ in range(4))

    assert chosen == {1: 1, 2: 3}
    assert rule.choose(job(), 0.0) is None
    assert not rule.has_room()


def test_least_loaded_counts_by_slots_and_heeds_what_others_have_sent() -> None:
    rule = rule_of(LeastLoaded, SINGLE, MACHINE, MACHINE)
    rule.told(0, 1, 0.0)
    rule.told(1, 2, 0.0)

    assert rule.choose(job(), 0.0) == 2


def test_cocoons_rule_takes_the_first_of_those_that_it_has_nothing_at() -> None:
    rule = rule_of(Cocoon)

    assert [send(rule).worker for _ in range(3)] == [0, 1, 2]


def test_cocoons_rule_does_not_know_of_others_jobs_and_the_one_that_is_told_does() -> None:
    blind, told = rule_of(Cocoon), rule_of(CocoonTold)
    send(blind)
    for worker in (0, 1):
        told.told(worker, 1, 0.0)

    assert blind.choose(job(), 0.0) == 1
    assert told.choose(job(), 0.0) == 2


def test_cocoons_rule_gives_the_quick_more_once_nobody_is_idle() -> None:
    rule = rule_of(Cocoon, MACHINE, QUICK)

    chosen = Counter(send(rule).worker for _ in range(9))

    assert chosen[1] > 2 * chosen[0]


def test_an_average_follows_what_is_seen_and_forgets() -> None:
    lately, steadily = Average(1.0), Average(1.0)

    lately.add(9.0, 6_000.0)
    steadily.add(9.0, 0.0)

    assert steadily.seconds == 5.0
    assert lately.seconds == pytest.approx(9.0, abs=0.01)


def test_the_scheduler_takes_the_quick_and_for_who_wants_it_cheap_the_cheap() -> None:
    slow, quick = Seller(MACHINE, PRICE, (0,)), Seller(QUICK, Price(600, 300, 3_000, 3_000), (0,))
    market = Market(1, 1, (slow, quick), seed=0)

    def chosen(kind: type[Rule]) -> int | None:
        return kind(market, (0, 1), random.Random(1)).choose(job(), 0.0)

    assert chosen(Scheduled) == 1
    assert chosen(ScheduledCheap) == 0


def test_who_waits_at_the_scheduler_is_served_by_clients_in_turn() -> None:
    rule = rule_of(Scheduled, SINGLE)
    send(rule)
    waiting = [job(client=client) for client in (1, 1, 1, 2)]
    for each in waiting:
        rule.join(each, 0.0)

    assert not rule.has_room()
    assert [rule.take().wanted.client for _ in waiting] == [1, 2, 1, 1]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("sent", "ended", "told", "refused")), st.integers(0, 2), st.integers(0, 3)
        ),
        max_size=30,
    )
)
def test_the_rosters_slots_are_always_the_workers_less_what_is_known_to_run_there(
    script: list[tuple[str, int, int]],
) -> None:
    rule = rule_of(Scheduled, MACHINE, SINGLE, QUICK)
    assert isinstance(rule, Scheduled)
    running: list[Job] = []
    for now, (what, worker, number) in enumerate(script):
        match what:
            case "told":
                rule.told(worker, number, float(now))
            case "refused":
                rule.refused(worker, float(now))
            case "sent" if rule.running(worker) < rule.slots(worker):
                sent = job()
                sent.worker, sent.began = worker, float(now)
                rule.sent(sent, float(now))
                running.append(sent)
            case "ended" if running:
                over = running.pop(0)
                over.first, over.ended = now + 0.1, now + 1.0
                rule.ended(over, now + 1.0)
            case _:
                pass

    free = {standing.slots_free for standing in rule.roster}
    assert sorted(free) == sorted({rule.slots(each) - rule.running(each) for each in rule.known})
    open_here = {row.worker.peer for shelf in rule.roster.shelves(MODEL) for row in shelf.open.values()}
    assert len(open_here) == sum(rule.running(each) < rule.slots(each) for each in rule.known)
    assert rule.has_room() is bool(open_here)
