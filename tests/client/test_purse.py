"""A purse's arithmetic: what is left, what a window renews, what a top-up is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.client import Budget
from cocoon_p2p.client.purse import (
    Purse,
    allow,
    at_time,
    begin,
    end,
    give_up,
    lower,
    reserve,
    restore,
    tie,
    top_up,
    untie,
)
from cocoon_p2p.errors import ConfigurationError, LocalProtocolError
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.units import NANO_MAX, Nano

DAY = 86_400
NOW = 20_000 * DAY + 3600.0
CHANNEL = ChannelId(bytes(32))
ONE, TWO = ExchangeId(b"\x01" * 16), ExchangeId(b"\x02" * 16)


def given_purse(limit: int, *, every: int | None = None, credit: int = 0) -> Purse:
    purse = allow(Purse("key/1"), Budget(Nano(limit), every), NOW)
    return top_up(purse, Nano(credit)) if credit else purse


def spend(purse: Purse, amount: int, now: float = NOW, exchange: ExchangeId = ONE) -> Purse:
    """Charge one request as it would be, from beginning to end."""
    purse, reserved = reserve(purse, 0, Nano(amount), now)
    assert reserved == amount
    purse = begin(tie(purse, 0, exchange, reserved), exchange, CHANNEL)
    return give_up(end(purse, exchange, Nano(amount), now), 0)


def test_a_request_gets_what_is_left_where_it_wants_more() -> None:
    purse, first = reserve(given_purse(100), 1, Nano(70), NOW)
    purse, second = reserve(purse, 2, Nano(70), NOW)
    purse, third = reserve(purse, 3, Nano(70), NOW)

    assert (first, second, third) == (70, 30, 0)
    assert (purse.left, purse.reserved, set(purse.reservations)) == (0, 100, {1, 2})


def test_what_a_request_did_not_use_is_left_again_when_it_has_ended() -> None:
    purse, amount = reserve(given_purse(100), 1, Nano(80), NOW)
    purse = begin(tie(purse, 1, ONE, amount), ONE, CHANNEL)
    purse = end(purse, ONE, Nano(30), NOW)

    assert (purse.spent, purse.reserved, purse.left) == (30, 50, 20)
    purse = give_up(purse, 1)
    assert (purse.spent, purse.reserved, purse.left) == (30, 0, 70)


def test_a_try_that_fails_gives_its_money_to_the_next_one() -> None:
    purse, amount = reserve(given_purse(100), 1, Nano(100), NOW)
    purse = untie(tie(purse, 1, ONE, amount), ONE)
    purse = tie(purse, 1, TWO, amount)

    assert purse.reservations == {1: 0}
    assert purse.reserved == 100


def test_what_may_still_be_owed_outlives_its_request_and_the_rest_does_not() -> None:
    purse, amount = reserve(given_purse(100), 1, Nano(100), NOW)
    purse = lower(begin(tie(purse, 1, ONE, amount), ONE, CHANNEL), ONE, Nano(25))
    purse = tie(purse, 1, TWO, Nano(75))
    purse = give_up(purse, 1)

    assert (purse.reserved, purse.left) == (25, 75)
    assert end(purse, ONE, Nano(20), NOW).left == 80


def test_more_than_a_request_has_reserved_is_not_tied() -> None:
    purse, _ = reserve(given_purse(100), 1, Nano(40), NOW)

    with pytest.raises(LocalProtocolError, match="free=40"):
        tie(purse, 1, ONE, Nano(41))
    with pytest.raises(LocalProtocolError):
        tie(tie(purse, 1, ONE, Nano(1)), 1, ONE, Nano(1))


def test_without_a_budget_spending_is_counted_and_not_limited() -> None:
    purse = spend(Purse("key/1"), 10**12)

    assert (purse.left, purse.spent, purse.total) == (None, 10**12, 10**12)


def test_a_window_is_filled_again_when_the_next_one_begins_and_no_sooner() -> None:
    purse = spend(given_purse(100, every=DAY), 100)

    assert at_time(purse, 20_001 * DAY - 0.001).left == 0
    assert at_time(purse, 20_001 * DAY).left == 100
    assert purse.view(NOW).renews_in_seconds == DAY - 3600
    assert at_time(purse, 20_001 * DAY).total == 100


def test_a_clock_that_goes_back_fills_nothing_again_neither_then_nor_when_it_is_right() -> None:
    purse = spend(given_purse(100, every=DAY), 100)

    for now in (NOW - DAY, NOW - 5000 * DAY, 0.0, -1.0, NOW):
        purse = at_time(purse, now)
        assert purse.left == 0, now
    assert purse.view(0.0).renews_in_seconds == 20_001 * DAY


def test_a_charge_counts_in_the_window_in_which_it_is_booked() -> None:
    purse, amount = reserve(given_purse(100, every=DAY), 1, Nano(60), NOW)
    purse = begin(tie(purse, 1, ONE, amount), ONE, CHANNEL)

    assert at_time(purse, NOW + DAY).left == 40
    purse = give_up(end(purse, ONE, Nano(60), NOW + DAY), 1)
    assert (purse.spent, purse.left) == (60, 40)


def test_top_ups_are_spent_after_the_budget_and_outlive_its_windows() -> None:
    purse = spend(given_purse(100, every=DAY, credit=50), 120)

    assert (purse.credit, purse.left) == (30, 30)
    assert at_time(purse, NOW + DAY).left == 130


def test_a_higher_limit_does_not_make_credit_that_was_drawn_before_count_twice() -> None:
    purse = spend(given_purse(10, credit=5), 13)

    assert allow(purse, Budget(Nano(20)), NOW).left == 20 + 5 - 13


def test_a_lower_limit_takes_no_credit_away() -> None:
    purse = spend(given_purse(10, credit=5), 8)

    assert allow(purse, Budget(Nano(2)), NOW).left == 5


def test_the_same_budget_again_changes_nothing() -> None:
    purse = spend(given_purse(100, every=DAY), 70)

    assert allow(purse, Budget(Nano(100), DAY), NOW + 1) == purse
    assert allow(purse, Budget(Nano(150), DAY), NOW + 1).left == 80


def test_spending_begins_anew_with_other_windows() -> None:
    purse = spend(given_purse(100, every=DAY), 70)

    assert allow(purse, Budget(Nano(100), 3600), NOW).left == 100
    assert allow(purse, Budget(Nano(100)), NOW).left == 100


def test_an_exchange_of_another_life_counts_as_reserved_until_it_ends() -> None:
    purse = restore(given_purse(100), ONE, CHANNEL, Nano(60))

    assert (purse.left, purse.reserved) == (40, 60)
    assert end(purse, ONE, Nano(0), NOW).left == 100
    assert end(purse, ONE, Nano(55), NOW).left == 45


def test_a_charge_above_what_was_tied_is_counted_whole() -> None:
    purse = end(restore(given_purse(100), ONE, CHANNEL, Nano(60)), ONE, Nano(130), NOW)

    assert (purse.spent, purse.total, purse.reserved, purse.left) == (130, 130, 0, 0)


@pytest.mark.parametrize(
    ("limit", "every"),
    [(-1, None), (NANO_MAX + 1, None), (1.5, None), (True, None), (1, 0), (1, -5), (1, 10**12), (1, 0.5)],
)
def test_a_budget_out_of_range_is_refused(limit: int, every: int | None) -> None:
    with pytest.raises(ConfigurationError, match="budget"):
        Budget(Nano(limit), every)


@pytest.mark.parametrize("amount", [0, -1, NANO_MAX, 1.5])
def test_a_top_up_out_of_range_is_refused(amount: int) -> None:
    with pytest.raises(ConfigurationError, match="top up"):
        top_up(given_purse(0, credit=1), Nano(amount))


def test_a_purse_that_nothing_limits_takes_no_top_up() -> None:
    with pytest.raises(ConfigurationError, match="no budget"):
        top_up(Purse("key/1"), Nano(1))


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 60), st.integers(0, 100), st.floats(-3 * DAY, 3 * DAY, width=32)),
        max_size=30,
    ),
    limit=st.integers(0, 100),
    credit=st.integers(0, 50),
)
def test_in_no_window_is_more_spent_than_its_limit_and_what_is_left_of_top_ups(
    steps: list[tuple[int, int, float]], limit: int, credit: int
) -> None:
    purse = given_purse(limit, every=DAY, credit=credit)
    charged: dict[int, int] = {}
    now = NOW

    for number, (wanted, part, passes) in enumerate(steps):
        purse, amount = reserve(purse, number, Nano(wanted), now)
        now += passes
        if not amount:
            continue
        exchange = ExchangeId(number.to_bytes(16))
        purse = begin(tie(purse, number, exchange, amount), exchange, CHANNEL)
        cost = Nano(amount * part // 100)
        purse = give_up(end(purse, exchange, cost, now), number)
        charged[purse.window] = charged.get(purse.window, 0) + cost

    assert sum(max(0, spent - limit) for spent in charged.values()) == credit - purse.credit
    assert purse.total == sum(charged.values())
    assert purse.reserved == 0
