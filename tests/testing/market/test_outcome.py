"""The numbers that rules are compared by."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from cocoon_p2p.testing.market.outcome import jain, percentile


def test_jains_index_is_one_where_all_are_alike_and_one_of_n_where_one_has_all() -> None:
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([5.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_jains_index_lies_between(values: list[float]) -> None:
    assert 1 / len(values) - 1e-9 <= jain(values) <= 1 + 1e-9


def test_a_percentile_is_a_value_that_was_there() -> None:
    hundred = [float(value) for value in range(100)]

    assert (percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([], 0.5)) == (50.0, 99.0, 0.0)
