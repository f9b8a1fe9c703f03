"""The table of costs that people plan with is what the operations cost."""

from pathlib import Path

from cocoon_p2p.payments.contract import ATTACHED_MIN, STORAGE_RESERVE
from tests.payments.contract.prices import OPERATIONS, storage_a_year, table
from tests.payments.contract.scene import opened

PAGE = Path(__file__).parents[3] / "payments" / "settlement.md"


def test_the_published_costs_are_the_measured_ones():
    published = PAGE.read_text().splitlines()

    assert [row for row in table() if row not in published] == []


def test_what_must_be_attached_is_several_times_what_anything_costs():
    assert all(4 * measure().cost < ATTACHED_MIN for measure in OPERATIONS.values())


def test_the_reserve_is_five_years_of_storage():
    assert 5 <= STORAGE_RESERVE / storage_a_year() < 6


def test_the_published_floor_is_what_the_contract_says():
    assert opened().ask("floor") == [44_000_000]
    assert "0.044 TON" in PAGE.read_text()
