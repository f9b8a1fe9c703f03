"""How a channel ends: together at an agreed total, or by the payer alone after the delay."""

import pytest

from cocoon_p2p.payments.contract import ATTACHED_MIN, CLOSE_DELAY_SECONDS_MAX, ExitCode
from tests.payments.contract.scene import (
    ATTACHED,
    DELAY,
    NOW,
    PAYEE,
    PAYEE_SECRET,
    PAYER,
    PAYER_SECRET,
    STRANGER,
    TON,
    Scene,
    Step,
    opened,
)


def assert_settled(scene: Scene, step: Step, due: int, attached: int = ATTACHED) -> None:
    """Check to the nanoton: the payee got what was due, the payer all the rest, and the account is gone."""
    assert step.done
    assert step.to(PAYEE) == due
    assert step.to(PAYER) == step.before - step.storage_fee + attached - due - step.cost
    assert (scene.is_active, scene.balance()) == (False, 0)


def refused(step: Step, code: ExitCode) -> bool:
    """Whether the channel stayed as it was, and the money that came along went back."""
    return (
        step.exit == code
        and step.after == step.before - step.storage_fee
        and all(payment.is_bounce for payment in step.payments)
    )


# ---------------------------------------------------------------- together


@pytest.mark.parametrize("total", [0, 1, 4 * TON, 9 * TON])
def test_both_close_at_any_total_within_the_deposit(total):
    scene = opened()

    step = scene.close(total)

    assert_settled(scene, step, total)


def test_what_was_claimed_before_is_not_paid_twice():
    scene = opened()
    scene.claim(3 * TON)

    step = scene.close(4 * TON)

    assert_settled(scene, step, TON)


def test_each_end_is_told_the_total_and_which_payment_is_the_rest():
    step = opened().close(4 * TON)

    notices = {payment.to: payment.notice for payment in step.payments}
    payee, payer = notices[PAYEE], notices[PAYER]
    assert payee is not None
    assert payer is not None
    assert (payee.total, payee.is_rest, payer.total, payer.is_rest) == (4 * TON, False, 4 * TON, True)


def test_anybody_may_hand_in_what_both_have_signed():
    scene = opened()

    step = scene.close(4 * TON, source=STRANGER)

    assert_settled(scene, step, 4 * TON)


def test_where_the_whole_deposit_is_due_the_payee_gets_it_in_full():
    scene = opened()
    deposit = scene.balance()

    step = scene.close(deposit)

    assert_settled(scene, step, deposit)


@pytest.mark.parametrize("above", [1, TON, 2**63 - 1 - 11 * TON], ids=["one", "much", "the most"])
def test_where_more_is_due_than_there_is_the_payee_gets_all_there_is(above):
    scene = opened()
    total = scene.balance() + ATTACHED - ATTACHED_MIN + above

    step = scene.close(total)

    assert step.done
    assert step.to(PAYER) == 0
    assert step.to(PAYEE) == step.before - step.storage_fee + ATTACHED - step.cost
    # More than is due only by what the closing message brought along, and less than it had to bring.
    assert step.to(PAYEE) - total < ATTACHED_MIN
    assert (scene.is_active, scene.balance()) == (False, 0)


@pytest.mark.parametrize("gap", [-2, -1, 0, 1, 2])
def test_around_the_point_where_no_second_message_can_be_sent_nobody_loses(gap):
    scene = opened()
    total = scene.balance() + ATTACHED - ATTACHED_MIN + gap

    step = scene.close(total)

    assert step.done
    assert step.to(PAYEE) >= total
    assert step.to(PAYEE) + step.to(PAYER) == step.before - step.storage_fee + ATTACHED - step.cost


def test_nobody_closes_below_what_was_claimed():
    scene = opened()
    scene.claim(3 * TON)

    assert refused(scene.close(3 * TON - 1), ExitCode.STALE)
    assert_settled(scene, scene.close(3 * TON), 0)


def test_close_terms_are_good_until_their_last_second_and_no_longer():
    scene = opened()
    terms = scene.terms(TON, valid=60)

    scene.chain.now = NOW + 61
    late = scene.close(TON, terms=terms)
    in_time = scene.close(TON, terms=scene.terms(TON, valid=0))

    assert refused(late, ExitCode.EXPIRED)
    assert_settled(scene, in_time, TON)


@pytest.mark.parametrize(
    "secrets",
    [(PAYER_SECRET, PAYER_SECRET), (PAYEE_SECRET, PAYEE_SECRET), (PAYEE_SECRET, PAYER_SECRET)],
    ids=["payer's twice", "payee's twice", "exchanged"],
)
def test_one_side_alone_cannot_close_at_once(secrets):
    scene = opened()

    step = scene.close(TON, secrets=secrets)

    assert refused(step, ExitCode.SIGNATURE)


@pytest.mark.parametrize("wrong", ["channel", "epoch", "total", "time"])
def test_close_terms_signed_for_anything_else_close_nothing(wrong):
    scene = opened()
    terms = scene.terms(TON)
    signed = {
        "channel": scene.terms(TON, channel=Scene(salt=bytes(16)).channel),
        "epoch": scene.terms(TON, epoch=terms.epoch + 1),
        "total": scene.terms(TON + 1),
        "time": scene.terms(TON, valid=61),
    }[wrong]

    step = scene.close(TON, terms=signed, valid_until=terms.valid_until)

    assert refused(step, ExitCode.SIGNATURE)


def test_a_close_brings_along_its_gas_or_is_refused():
    scene = opened()

    short = scene.close(TON, attached=ATTACHED_MIN - 1)
    enough = scene.close(TON, attached=ATTACHED_MIN)

    assert refused(short, ExitCode.ATTACHED)
    assert_settled(scene, enough, TON, attached=ATTACHED_MIN)
    assert enough.cost < ATTACHED_MIN


def test_both_may_still_close_together_while_the_payer_closes_alone():
    scene = opened()
    scene.start_close()

    assert_settled(scene, scene.close(2 * TON), 2 * TON)


# ---------------------------------------------------------------- the payer alone


def test_only_the_payer_begins_to_close_alone():
    scene = opened()

    assert refused(scene.start_close(PAYEE), ExitCode.SENDER)
    assert refused(scene.start_close(STRANGER), ExitCode.SENDER)
    step = scene.start_close(PAYER)

    assert step.done
    assert scene.state.close_at == scene.chain.now + DELAY
    assert step.after == step.before - step.storage_fee + ATTACHED - step.cost


def test_the_payer_cannot_begin_again_and_so_move_the_end():
    scene = opened()
    scene.start_close()
    scene.chain.now += 1

    assert refused(scene.start_close(), ExitCode.CLOSING)
    assert scene.state.close_at == NOW + DELAY


def test_nobody_finishes_before_the_delay_is_over():
    scene = opened()

    unbegun = scene.finish_close()
    scene.start_close()
    scene.chain.now = NOW + DELAY - 1
    early = scene.finish_close()
    scene.chain.now += 1
    step = scene.finish_close()

    assert refused(unbegun, ExitCode.EARLY)
    assert refused(early, ExitCode.EARLY)
    assert_settled(scene, step, 0)


@pytest.mark.parametrize("who", [PAYER, PAYEE, STRANGER], ids=["payer", "payee", "stranger"])
def test_anybody_may_finish_and_the_payer_gets_the_rest(who):
    scene = opened()
    scene.claim(3 * TON)
    scene.start_close()
    scene.chain.now += DELAY

    step = scene.finish_close(who)

    assert_settled(scene, step, 0)
    assert step.to(PAYER) > 6.9 * TON


def test_a_finish_brings_along_its_gas_or_is_refused():
    scene = opened()
    scene.start_close()
    scene.chain.now += DELAY

    short = scene.finish_close(attached=ATTACHED_MIN - 1)
    enough = scene.finish_close(attached=ATTACHED_MIN)

    assert refused(short, ExitCode.ATTACHED)
    assert_settled(scene, enough, 0, attached=ATTACHED_MIN)


def test_a_top_up_while_closing_stops_nothing_and_belongs_to_the_channel():
    scene = opened()
    scene.start_close()

    topped_up = scene.top_up(TON)
    scene.chain.now += DELAY
    step = scene.finish_close()

    assert topped_up.done
    assert_settled(scene, step, 0)


def test_the_longest_delay_still_fits_the_contracts_clock():
    scene = opened(close_delay_seconds=CLOSE_DELAY_SECONDS_MAX)

    assert scene.start_close().done
    assert scene.state.close_at == NOW + CLOSE_DELAY_SECONDS_MAX


def test_after_the_end_money_bounces_and_vouchers_find_nobody():
    scene = opened()
    voucher = scene.voucher(TON)
    scene.close(0)

    top_up = scene.top_up(TON)
    claim = scene.claim(TON, voucher)

    for step in (top_up, claim):
        assert step.exit == "skipped"
        assert step.payments[0].is_bounce
    assert scene.balance() == 0
