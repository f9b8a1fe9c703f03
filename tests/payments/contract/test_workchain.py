"""The contract where it was not meant to be: in the masterchain, where gas costs 25 times as much."""

import pytest
from pytoniq_core import Address, Cell, begin_cell
from pytoniq_core.tlb.transaction import Transaction

from cocoon_p2p.payments import contract
from cocoon_p2p.payments.contract import ExitCode
from cocoon_p2p.payments.devchain import local_config
from cocoon_p2p.payments.devchain.account import no_account
from cocoon_p2p.payments.devchain.moment import Moment
from cocoon_p2p.payments.devchain.native import from_boc
from cocoon_p2p.payments.devchain.tvm import Tvm
from tests.payments.contract.scene import DEPLOYMENT, NOW, PAYER, TON


@pytest.mark.parametrize(("workchain", "exit_code"), [(0, 0), (-1, ExitCode.NETWORK)])
def test_a_channel_opens_on_the_basechain_alone(workchain, exit_code):
    # The local chain has no masterchain contracts, so the machine is asked directly.
    init = Cell.one_from_boc(contract.state_init(DEPLOYMENT))
    message = (
        begin_cell()
        .store_uint(0b0110, 4)
        .store_address(Address((0, PAYER)))
        .store_address(Address((workchain, init.hash)))
        .store_coins(10 * TON)
        .store_uint(0, 1 + 4 + 4 + 64 + 32)
        .store_uint(0b11, 2)
        .store_ref(init)
        .store_maybe_ref(Cell.one_from_boc(contract.top_up()))
        .end_cell()
    )

    done = Tvm(local_config()).transaction(
        no_account(), from_boc(message.to_boc()), Moment(now=NOW, lt=1_000_000, seed=bytes(32))
    )

    transaction = Transaction.deserialize(Cell.one_from_boc(done.transaction.boc).begin_parse())
    assert transaction.description.compute_ph.exit_code == exit_code
