"""The contract keeps to the model of it, whatever is done to it in whatever order."""

import pytest

from tests.payments.contract.planted_faults import FAULTS, load, plant
from tests.payments.contract.trial import find_fault, run_machine


@pytest.mark.slow
def test_a_channel_keeps_to_its_model_in_any_order():
    run_machine()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a voucher twice", "finishes at any time", "claims are forgotten"])
def test_the_machine_finds_a_planted_fault(name):
    # The others take minutes: make test-slow.
    assert find_fault(load()[name]) is not None


def test_every_fault_can_be_planted_and_is_committed():
    assert {name for name in FAULTS if plant(name)} == set(load())
