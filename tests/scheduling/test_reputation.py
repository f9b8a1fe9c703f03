"""What a worker's past counts for: it fades, it has an order of its own, and nobody owns it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.scheduling import OURSELVES, Fault, Odds, Pace, Witness
from cocoon_p2p.scheduling.odds import (
    BROKEN_SHARE_MOST,
    HALF_LIFE_SECONDS,
    KEPT_PRIOR,
    KEPT_SHARE_MOST,
    NO_ENDS,
    SHARES_MAX,
)
from cocoon_p2p.scheduling.pace import DECODE_PRIOR_TOKENS, DECODE_VOICE_TOKENS, VOICES_MAX
from tests.scheduling.crowd import NOW

CLIENTS = tuple(Witness(b"client %d" % number) for number in range(40))

times = st.floats(0, 1e5)
ends = st.lists(
    st.tuples(st.sampled_from((None, *Fault)), times, st.sampled_from((*CLIENTS, OURSELVES))), max_size=40
)
laps = st.lists(
    st.tuples(st.integers(1, 5_000), st.floats(1e-3, 1e3), times, st.sampled_from((*CLIENTS, OURSELVES))),
    max_size=30,
)


def after(ends: Sequence[tuple[Fault | None, float, Witness]], odds: Odds = NO_ENDS) -> Odds:
    for fault, at, by in ends:
        odds = odds.after_kept(at, by) if fault is None else odds.after_fault(fault, at, by)
    return odds


@pytest.mark.slow
@given(ends=ends, now=times)
@settings(deadline=None, max_examples=25)
def test_whatever_happens_nothing_is_below_zero_or_without_bound(
    ends: list[tuple[Fault | None, float, Witness]], now: float
) -> None:
    odds = after(ends)

    left = odds.faded(now)
    assert 0 <= left.kept <= odds.kept <= 200.001
    assert 0 <= left.broken <= odds.broken <= 200.001
    assert odds.tries(now) >= 1.0
    assert len(odds.shares) <= SHARES_MAX
    assert all(part.kept >= 0 and part.broken >= 0 for _, part in odds.shares)


@pytest.mark.slow
@given(
    ends=st.lists(st.tuples(st.sampled_from((None, Fault.LOST)), times), min_size=2, max_size=4),
)
@settings(deadline=None, max_examples=20)
def test_in_what_order_it_becomes_known_changes_nothing(ends: list[tuple[Fault | None, float]]) -> None:
    newest = max(at for _, at in ends)
    tries = {
        round(after([(fault, at, OURSELVES) for fault, at in order]).tries(newest), 9)
        for order in permutations(ends)
    }
    paces = {
        round(pace.decode.told[0][1].seconds, 6)
        for order in permutations(ends)
        for pace in [after_laps([(1, 2.0, at, OURSELVES) for _, at in order])]
    }

    assert len(tries) == 1
    assert len(paces) == 1


def after_laps(laps: list[tuple[int, float, float, Witness]]) -> Pace:
    pace = Pace()
    for tokens, seconds, at, by in laps:
        pace = pace.decoded(tokens, seconds, at, by)
    return pace


@pytest.mark.slow
@given(ends=ends, more=st.lists(st.sampled_from((None, *Fault)), max_size=200), at=times)
@settings(deadline=None, max_examples=25)
def test_one_client_can_say_only_so_much_against_a_worker(
    ends: list[tuple[Fault | None, float, Witness]], more: list[Fault | None], at: float
) -> None:
    rival = Witness(b"rival")
    before = after(ends)
    now = max(before.at, at)

    spoiled = after([(fault, now, rival) for fault in more if fault is not None], before)

    assert spoiled.tries(now) <= before.tries(now) + BROKEN_SHARE_MOST / KEPT_PRIOR + 1e-9


def test_no_client_says_more_because_many_others_are_served_well() -> None:
    kept = after([(None, NOW, client) for client in CLIENTS[:SHARES_MAX] for _ in range(6)])
    rival = Witness(b"rival")

    spoiled = after([(Fault.RULES_BROKEN, NOW, rival)] * 50, kept)
    polished = after([(None, NOW, rival)] * 50, kept)

    assert spoiled.broken <= BROKEN_SHARE_MOST
    assert polished.kept <= kept.kept + KEPT_SHARE_MOST


def test_clients_without_number_say_no_more_than_those_that_are_told_apart() -> None:
    sybils = [Witness(b"sybil %d" % number) for number in range(20 * SHARES_MAX)]

    spoiled = after([(Fault.RULES_BROKEN, NOW, sybil) for sybil in sybils])

    assert spoiled.broken <= SHARES_MAX * BROKEN_SHARE_MOST + 1e-9


def test_answers_to_our_own_questions_are_no_licence_to_fail_others() -> None:
    odds = after([(None, NOW, OURSELVES)] * 300)

    assert odds.kept <= KEPT_SHARE_MOST
    assert odds.kept_for_others(NOW) == 0


def test_who_fails_us_is_never_blameless_however_well_it_served_before() -> None:
    odds = after([(None, NOW, client) for client in CLIENTS[:10]] + [(Fault.CANARY, NOW, OURSELVES)] * 3)

    assert not odds.is_blameless(NOW, OURSELVES)


@pytest.mark.slow
@given(laps=laps, rivals=st.lists(st.tuples(st.integers(1, 5_000), st.floats(1e-3, 1e6)), max_size=20))
@settings(deadline=None, max_examples=25)
def test_among_three_voices_one_cannot_leave_what_the_others_say(
    laps: list[tuple[int, float, float, Witness]], rivals: list[tuple[int, float]]
) -> None:
    pace = Pace()
    for by, rate in ((CLIENTS[0], 0.05), (OURSELVES, 0.04)):
        pace = pace.decoded(1_000, 1_000 * rate, NOW, by)

    for tokens, seconds in rivals:
        pace = pace.decoded(tokens, seconds, NOW, Witness(b"rival"))

    assert 0.04 - 1e-9 <= pace.decode.seconds_per_token(0.05, DECODE_PRIOR_TOKENS, NOW) <= 0.05 + 1e-9


@pytest.mark.slow
@given(laps=laps, now=times)
@settings(deadline=None, max_examples=25)
def test_voices_are_few_and_what_they_say_is_one_of_the_things_said(
    laps: list[tuple[int, float, float, Witness]], now: float
) -> None:
    pace = after_laps(laps)

    said = pace.decode.seconds_per_token(0.05, DECODE_PRIOR_TOKENS, now)

    assert len(pace.decode.told) <= VOICES_MAX
    assert all(0 <= tally.tokens <= DECODE_VOICE_TOKENS + 1e-6 for _, tally in pace.decode.told)
    rates = [tally.seconds / tally.tokens for _, tally in pace.decode.told if tally.tokens > 0]
    assert said in [0.05, *rates]


def test_a_crowd_of_clients_does_not_drown_what_the_proxy_saw_for_itself() -> None:
    pace = Pace().decoded(16, 1.6, NOW, OURSELVES)

    for client in CLIENTS:
        pace = pace.decoded(5_000, 1.0, NOW, client)

    assert OURSELVES in dict(pace.decode.told)


def test_a_newcomer_is_no_better_than_a_known_fair_worker() -> None:
    fair = after([(None, NOW, client) for client in CLIENTS[:30]] + [(Fault.LOST, NOW, CLIENTS[0])])

    assert fair.tries(NOW) < NO_ENDS.tries(NOW)


def test_a_newcomer_is_better_than_who_has_failed_lately_and_that_passes() -> None:
    failed = NO_ENDS.after_fault(Fault.FAILED, NOW, CLIENTS[0])

    assert failed.tries(NOW) > NO_ENDS.tries(NOW)
    assert failed.tries(NOW + 20 * HALF_LIFE_SECONDS) - NO_ENDS.tries(NOW) < 1e-6


def test_who_fails_with_one_client_alone_is_found_blameless() -> None:
    odds = replace(NO_ENDS, at=NOW)
    for _ in range(5):
        odds = odds.after_fault(Fault.FAILED, NOW, CLIENTS[0])
    assert not odds.is_blameless(NOW, CLIENTS[0]), "nobody else has said that it works"

    odds = odds.after_kept(NOW, CLIENTS[1])

    assert odds.is_blameless(NOW, CLIENTS[0])
    assert not odds.is_blameless(NOW, CLIENTS[1])
