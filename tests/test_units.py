import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.units import NANO_MAX, NANO_PER_TON, format_ton, parse_ton


@given(amount=st.integers(0, NANO_MAX))
def test_an_amount_in_ton_reads_back_to_the_nano(amount: int) -> None:
    assert parse_ton(format_ton(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 TON"),
        (1, "0.000000001 TON"),
        (2_500_000, "0.0025 TON"),
        (NANO_PER_TON, "1 TON"),
        (12_300_000_000, "12.3 TON"),
        (-1, "-0.000000001 TON"),
        (-NANO_PER_TON, "-1 TON"),
        (NANO_MAX, "9223372036.854775807 TON"),
    ],
)
def test_an_amount_is_spelled_exactly_and_without_trailing_zeros(amount: int, text: str) -> None:
    assert format_ton(amount) == text


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0.5", 500_000_000),
        ("12 TON", 12 * NANO_PER_TON),
        (" 1 ", NANO_PER_TON),
        ("1e-9", 1),
        ("007", 7 * NANO_PER_TON),
    ],
)
def test_what_people_write_is_understood(text: str, amount: int) -> None:
    assert parse_ton(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TON",
        "one",
        "1,5",
        "0.0000000001",
        "-1",
        "-0.5 TON",
        "NaN",
        "inf",
        "9223372036.854775808",
        "1e40",
        "1 TONS",
    ],
)
def test_what_is_no_amount_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|number") as caught:
        parse_ton(text)
    assert repr(text) in str(caught.value)
