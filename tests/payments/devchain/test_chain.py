"""The chain: money, messages, time and blocks, without a socket."""

import pytest

from cocoon_p2p.payments.devchain import (
    DevChain,
    Status,
)
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import (
    NOW,
    STRANGER,
    deployed,
    say_send,
)


@pytest.fixture
def chain() -> DevChain:
    return DevChain(now=NOW)


def test_what_a_message_causes_runs_with_it(chain: DevChain) -> None:
    address = deployed(chain)

    transactions = chain.give(address, NANO_PER_TON, body=say_send(STRANGER, NANO_PER_TON // 10, times=3))

    assert [one.address for one in transactions] == [address, STRANGER, STRANGER, STRANGER]
    assert [one.lt for one in transactions] == sorted({one.lt for one in transactions})
    assert chain.account(STRANGER).status is Status.UNINITIALISED
