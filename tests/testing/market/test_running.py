"""Whole runs of a small market."""

import pytest

from cocoon_p2p.testing.market.demand import draw_demand, requests_per_second
from cocoon_p2p.testing.market.outcome import reckon
from cocoon_p2p.testing.market.rules import FreeRoundRobin, Rule
from cocoon_p2p.testing.market.running import Record, Run
from cocoon_p2p.testing.market.scheduled import Scheduled
from cocoon_p2p.testing.market.study import RULES, Size, Trial, try_out
from tests.testing.market.small import SPAN, small_market

SMALL = Size(4, 40, 50)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_trial_comes_to_the_same_figures_each_time(rule: str) -> None:
    trial = Trial("load", rule, 0.9, SMALL)

    assert try_out(trial, SPAN) == try_out(trial, SPAN)


def test_another_seed_is_another_market() -> None:
    outcomes = {try_out(Trial("luck", "ours", 0.8, SMALL, seed), SPAN).outcome for seed in range(3)}

    assert len(outcomes) == 3


def test_every_rule_is_given_the_very_same_requests() -> None:
    market = small_market()

    wanted = {tuple(job.wanted for job in Run(market, rule, 0.8, SPAN).run().jobs) for rule in RULES.values()}

    assert len(wanted) == 1


@pytest.mark.parametrize("load", [0.5, 1.5])
@pytest.mark.parametrize("rule", RULES)
def test_nobody_is_lost_and_nobody_works_beyond_its_slots(rule: str, load: float) -> None:
    market = small_market()
    run = Run(market, RULES[rule], load, SPAN)

    record = run.run()

    for worker, desk in enumerate(record.desks):
        assert desk.running <= desk.machine.slots
        assert sum(desk.by_proxy.values()) == desk.taken
        for proxy, count in desk.by_proxy.items():
            assert run.rules[proxy].own[worker] == count
        assert desk.busy_slot_seconds <= desk.machine.slots * (SPAN.end - SPAN.warm_up) + 1e-6
    for job in record.jobs:
        times = [job.wanted.at, job.began, job.first, job.ended]
        reached = [each for each in times if each is not None]
        assert reached == sorted(reached)
        assert times[: len(reached)] == reached


@pytest.mark.parametrize("rule", [FreeRoundRobin, Scheduled])
def test_nobody_waits_at_a_proxy_that_knows_of_a_free_slot(rule: type[Rule]) -> None:
    run = Run(small_market(), rule, 4.0, SPAN)

    run.run()

    assert any(each.waiting for each in run.rules)
    assert not any(each.waiting and each.has_room() for each in run.rules)


def test_a_load_of_one_is_what_all_can_do_and_no_more_is_ever_done() -> None:
    market = small_market()

    outcome = reckon(Run(market, Scheduled, 2.0, SPAN).run())

    assert 0.95 <= outcome.utilisation <= 1.0 + 1e-6
    asked = sum(1 for _ in draw_demand(market, 1.0, 100.0))
    assert asked == pytest.approx(100.0 * requests_per_second(market, 1.0), rel=0.1)


def test_proxies_that_hear_of_others_at_once_are_refused_less() -> None:
    def refusals(word_seconds: float) -> float:
        return reckon(Run(small_market(), Scheduled, 0.9, SPAN, word_seconds=word_seconds).run()).refusals

    assert refusals(0.0) < refusals(2.0)


def test_an_outcome_of_nothing_is_nothing() -> None:
    market = small_market()

    outcome = reckon(Record(market, SPAN, (), tuple(Run(market, Rule, 0.1, SPAN).desks)))

    assert (outcome.requests, outcome.waiting_p99, outcome.utilisation, outcome.price) == (0, 0.0, 0.0, 0.0)
    assert outcome.fairness_clients == 1.0
