"""One address can have several lives, and a life can be long."""

import pytest

from cocoon_p2p.payments import contract
from cocoon_p2p.payments.contract import STORAGE_RESERVE, ExitCode
from tests.payments.contract.scene import (
    DELAY,
    PAYEE,
    PAYER,
    TON,
    Nano,
    Scene,
    opened,
)

YEAR_SECONDS = 365 * 24 * 3600


def end_together(scene: Scene) -> None:
    scene.close(0)


def end_alone(scene: Scene) -> None:
    scene.start_close()
    scene.chain.now += DELAY
    scene.finish_close()


@pytest.mark.parametrize("end", [end_together, end_alone])
def test_what_was_signed_in_an_earlier_life_is_void_in_the_next(end):
    scene = opened()
    epoch, voucher, terms = scene.state.epoch, scene.voucher(9 * TON), scene.terms(9 * TON, valid=2 * DELAY)
    end(scene)
    assert not scene.is_active

    scene.deploy()

    assert scene.state.epoch > epoch
    assert (scene.state.claimed, scene.state.close_at) == (0, 0)
    assert scene.claim(9 * TON, voucher).exit == ExitCode.SIGNATURE
    assert scene.claim_externally(9 * TON, voucher).rejected == ExitCode.SIGNATURE
    assert scene.close(9 * TON, terms=terms).exit == ExitCode.SIGNATURE
    assert scene.claim(TON).done


def test_a_closed_channel_that_somebody_deploys_again_owes_the_payee_nothing():
    scene = opened()
    voucher = scene.voucher(9 * TON)
    end_alone(scene)
    paid = scene.balance(PAYEE)

    scene.deploy(10 * TON)
    scene.claim(9 * TON, voucher, source=PAYER)

    assert scene.balance(PAYEE) == paid


def test_the_reserve_keeps_a_forgotten_channel_for_five_years():
    scene = opened(TON)
    scene.claim(TON)
    left = scene.balance()
    assert left == STORAGE_RESERVE

    scene.chain.now += 5 * YEAR_SECONDS
    step = scene.top_up(TON)

    assert step.done
    assert 0 < step.storage_fee < left


def test_storage_is_paid_out_of_the_deposit_and_out_of_nothing_else():
    scene = opened()
    scene.chain.now += YEAR_SECONDS

    step = scene.claim(3 * TON)

    assert step.storage_fee > 0
    assert step.after == step.before - step.storage_fee - 3 * TON


def test_storage_that_fell_due_lessens_what_an_overdrawn_voucher_collects():
    scene = opened(TON)
    scene.chain.now += YEAR_SECONDS

    step = scene.claim_externally(TON)

    assert step.done
    assert step.after == STORAGE_RESERVE
    assert scene.state.claimed == step.before - step.storage_fee - STORAGE_RESERVE


def test_an_old_channel_pays_out_all_it_has_when_it_closes():
    scene = opened(TON)
    scene.chain.now += 3 * YEAR_SECONDS

    step = scene.close(TON // 2)

    assert step.to(PAYEE) == TON // 2
    assert scene.balance() == 0


def test_two_channels_of_one_pair_do_not_take_each_others_vouchers():
    scene = opened()
    other = Scene(salt=bytes(16))

    step = scene.claim_externally(TON, scene.voucher(TON, channel=other.channel))

    assert step.rejected == ExitCode.SIGNATURE


def test_a_voucher_waits_for_the_top_up_that_covers_it():
    scene = opened(STORAGE_RESERVE)
    message = contract.external_claim(scene.channel, Nano(TON), scene.voucher(TON))

    before, _, after = scene.submit(message), scene.top_up(2 * TON), scene.submit(message)

    assert before.rejected == ExitCode.EMPTY
    assert after.done
    assert scene.state.claimed == TON
