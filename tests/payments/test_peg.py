"""Prices in another unit: what a source says is judged, and what comes of it never lies below the floor."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.asking_price import Bounds
from cocoon_p2p.payments.peg import (
    JUMP_CONFIRMED,
    RATE_MAX,
    RATE_MIN,
    Judged,
    Peg,
    converted,
    follow,
    missed,
    read_rate,
    took,
)
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.units import NANO_MAX

ANY = Bounds(0, NANO_MAX)


def three(rate: str = "3", at: float = 0.0) -> Peg:
    return Peg(Decimal(rate), at)


# ---------------------------------------------------------------- judging


def test_the_first_rate_counts() -> None:
    assert took(Peg(), Decimal("3.21"), 5.0) == (Peg(Decimal("3.21"), 5.0), Judged.TAKEN)


@pytest.mark.parametrize("rate", ["3.75", "2.4", "3"])
def test_a_rate_near_the_last_one_counts(rate: str) -> None:
    assert took(three(), Decimal(rate), 5.0) == (three(rate, 5.0), Judged.TAKEN)


@pytest.mark.parametrize("rate", ["3.7501", "2.3999", "300", "0.00001"])
def test_a_jump_does_not_count_until_it_was_said_again_and_again(rate: str) -> None:
    peg = three()

    for _ in range(JUMP_CONFIRMED - 1):
        peg, judged = took(peg, Decimal(rate), 5.0)
        assert (peg.rate, judged) == (Decimal(3), Judged.DOUBTED)

    assert took(peg, Decimal(rate), 9.0) == (three(rate, 9.0), Judged.TAKEN)


def test_a_jump_must_be_said_in_a_row() -> None:
    peg = three()
    for _ in range(JUMP_CONFIRMED - 1):
        peg, _ = took(peg, Decimal(30), 5.0)

    after_silence, _ = took(missed(peg), Decimal(30), 6.0)
    after_sense, _ = took(took(peg, Decimal(3), 6.0)[0], Decimal(30), 7.0)

    assert after_silence.rate == after_sense.rate == Decimal(3)
    assert after_silence.doubts == after_sense.doubts == 1


def test_a_jump_that_creeps_is_not_the_same_jump() -> None:
    peg, rate = three(), Decimal(30)
    for _ in range(2 * JUMP_CONFIRMED):
        peg, _ = took(peg, rate, 5.0)
        rate *= Decimal("1.2")
        if peg.rate != Decimal(3):
            break

    assert peg.rate == Decimal(3)


# ---------------------------------------------------------------- reading

PAGE: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        *(("", PAGE), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2)),
        *(("/e^f", 3), ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8)),
    ],
)
def test_a_pointer_is_followed_as_the_rfc_s_examples_are(pointer: str, found: object) -> None:
    # RFC 6901, section 5.
    assert follow(pointer, PAGE) == found


@pytest.mark.parametrize(
    "pointer", ["/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/bar", "/bar", "/a/b", "//x"]
)
def test_a_pointer_to_nothing_is_refused(pointer: str) -> None:
    with pytest.raises(MalformedMessage, match="nothing at"):
        follow(pointer, PAGE)


@pytest.mark.parametrize(
    ("found", "rate"),
    [(Decimal("3.2100"), "3.21"), (3, "3"), ("3.21", "3.21"), ("3.21e0", "3.21"), (Decimal("1E-3"), "0.001")],
)
def test_a_rate_is_a_number_or_a_text_that_spells_one(found: object, rate: str) -> None:
    assert read_rate(found) == Decimal(rate)


@pytest.mark.parametrize(
    "found",
    [
        *(
            None,
            True,
            [],
            {},
            "",
            "NaN",
            "Infinity",
            "-3",
            -3,
            0,
            "0",
            Decimal("-0"),
            " 3",
            "3,21",
            "0x3",
            "1_0",
        ),
        *("٣", Decimal("NaN"), Decimal("1e-7"), 10**10, "9" * 50, 10**400, Decimal("1e99"), "1e999999999"),
    ],
)
def test_what_cannot_be_a_rate_is_refused(found: object) -> None:
    with pytest.raises(MalformedMessage):
        read_rate(found)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.text(max_size=20), json_values)
def test_whatever_a_source_answers_it_is_a_rate_or_an_error(pointer: str, page: object) -> None:
    try:
        rate = read_rate(follow(pointer, page))
    except MalformedMessage:
        return
    assert RATE_MIN <= rate <= RATE_MAX


# ---------------------------------------------------------------- converting

rates = st.integers(1, 10**15).map(lambda millionths: Decimal(millionths) / 1_000_000)
micros = st.integers(0, 10**12)
prices = st.builds(Price, micros, micros, micros, micros)
sums = st.integers(1, 10**12)
limits = st.tuples(sums, sums).map(lambda each: Bounds(min(each), max(each)))


def test_millionths_of_a_dollar_become_nano_at_the_rate() -> None:
    # 0.00006 USD for 1,000 tokens, at 3 USD a TON, is 0.00002 TON.
    assert converted(Price(15, 3, 60, 60), Decimal(3), ANY) == Price(5_000, 1_000, 20_000, 20_000)


def test_below_the_floor_all_classes_are_scaled_up_to_it() -> None:
    price = converted(Price(15, 3, 60, 60), Decimal(300), Bounds(10_000, NANO_MAX))

    assert price == Price(2_500, 500, 10_000, 10_000)


@given(prices, rates, limits)
def test_at_no_rate_a_token_is_sold_below_the_floor_or_offered_above_the_ceiling(
    price: Price, rate: Decimal, bounds: Bounds
) -> None:
    nano = converted(price, rate, bounds)

    if price.completion:
        assert bounds.floor <= nano.completion <= bounds.ceiling
    if price.cached <= price.prompt:
        assert nano.cached <= nano.prompt


@given(prices, rates)
def test_nobody_loses_by_rounding_and_never_more_than_a_nano_is_gained(price: Price, rate: Decimal) -> None:
    nano = converted(price, rate, ANY)

    for asked, given_up in zip((price.prompt, price.completion), (nano.prompt, nano.completion), strict=True):
        exact = Fraction(asked) * 1000 / Fraction(rate)
        assert min(exact, NANO_MAX) <= given_up < exact + 1
