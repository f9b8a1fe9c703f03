"""Claims by internal message: whoever sends one pays for it, and the payee is paid."""

from hashlib import sha256

import pytest
from nacl import bindings

from cocoon_p2p.payments import contract
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder, Slice
from cocoon_p2p.payments.contract import ATTACHED_MIN, STORAGE_RESERVE, ExitCode
from tests.payments.contract.scene import (
    ATTACHED,
    DELAY,
    PAYEE,
    PAYEE_SECRET,
    PAYER_SECRET,
    STRANGER,
    TON,
    Nano,
    Scene,
    Step,
    opened,
)


def assert_collected(step: Step, due: int, attached: int = ATTACHED) -> None:
    """Check to the nanoton: the deposit gave what was due, the payee got it and the claimer's change."""
    assert step.done
    assert step.after == step.before - step.storage_fee - due
    assert step.to(PAYEE) == due + attached - step.cost
    assert len(step.payments) == 1


def refused(step: Step, code: ExitCode) -> bool:
    """Whether a claim failed with this code and took nothing."""
    return step.exit == code and step.after == step.before - step.storage_fee and not step.to(PAYEE)


def sign_cell(body: bytes) -> bytes:
    """Sign a cell of these bytes with the payer's key."""
    name = sha256(bytes((0, 2 * len(body))) + body).digest()
    return bindings.crypto_sign(name, PAYER_SECRET)[:64]


def test_a_voucher_pays_the_payee_what_it_says_and_the_deposit_nothing_more():
    scene = opened()

    step = scene.claim(3 * TON)

    assert_collected(step, 3 * TON)
    assert scene.state.claimed == 3 * TON


def test_a_later_voucher_pays_only_what_was_not_claimed_yet():
    scene = opened()
    scene.claim(3 * TON)

    step = scene.claim(3 * TON + 1)

    assert_collected(step, 1)


def test_anybody_may_claim_and_the_payee_is_paid():
    scene = opened()

    step = scene.claim(TON, source=STRANGER)

    assert_collected(step, TON)


def test_the_payment_says_what_it_is_and_which_message_caused_it():
    step = opened().claim(3 * TON)

    (payment,) = step.payments
    notice = payment.notice
    assert notice is not None
    assert (notice.query_id, notice.total, notice.is_rest) == (0x1122334455667788, 3 * TON, False)


@pytest.mark.parametrize("total", [3 * TON, 2 * TON, 1, 0], ids=["replayed", "lower", "one", "none"])
def test_a_voucher_not_above_what_was_claimed_pays_nothing(total):
    scene = opened()
    scene.claim(3 * TON)

    step = scene.claim(total)

    assert refused(step, ExitCode.STALE)
    assert scene.state.claimed == 3 * TON


@pytest.mark.parametrize(
    "wrong", ["key", "channel", "epoch before", "epoch after", "total", "workchain", "kind"]
)
def test_a_voucher_signed_for_anything_else_pays_nothing(wrong):
    scene = opened()
    epoch = scene.state.epoch
    other = Scene(salt=bytes(16)).channel
    rest = scene.channel + epoch.to_bytes(8) + TON.to_bytes(8)
    signature = {
        "key": lambda: scene.voucher(TON, secret=PAYEE_SECRET),
        "channel": lambda: scene.voucher(TON, channel=other),
        "epoch before": lambda: scene.voucher(TON, epoch=epoch - 1),
        "epoch after": lambda: scene.voucher(TON, epoch=epoch + 1),
        "total": lambda: scene.voucher(TON + 1),
        "workchain": lambda: sign_cell(b"VOUC\xff" + rest),
        "kind": lambda: sign_cell(b"CLOS\x00" + rest),
    }[wrong]()

    step = scene.claim(TON, signature)

    assert refused(step, ExitCode.SIGNATURE)


def test_a_voucher_of_the_same_parties_on_another_network_pays_nothing():
    scene, elsewhere = opened(), Scene(global_id=-3)
    assert elsewhere.channel != scene.channel

    step = scene.claim(TON, scene.voucher(TON, channel=elsewhere.channel))

    assert refused(step, ExitCode.SIGNATURE)


def test_a_claim_brings_along_its_gas_or_is_refused():
    scene = opened()

    short = scene.claim(TON, attached=ATTACHED_MIN - 1)
    enough = scene.claim(TON, attached=ATTACHED_MIN)

    assert refused(short, ExitCode.ATTACHED)
    assert_collected(enough, TON, attached=ATTACHED_MIN)
    assert enough.cost < ATTACHED_MIN


def test_an_overdrawn_voucher_takes_what_is_there_and_the_rest_after_a_top_up():
    scene = opened(5 * TON)
    voucher = scene.voucher(7 * TON)

    first = scene.claim(7 * TON, voucher)
    second = scene.claim(7 * TON, voucher)
    scene.top_up(10 * TON)
    third = scene.claim(7 * TON, voucher)

    assert_collected(first, first.before - STORAGE_RESERVE)
    assert refused(second, ExitCode.EMPTY)
    assert_collected(third, 7 * TON - (first.before - STORAGE_RESERVE))
    assert scene.state.claimed == 7 * TON


def test_no_claim_touches_the_storage_reserve():
    scene = opened(STORAGE_RESERVE + 1)

    step = scene.claim(TON)

    assert refused(step, ExitCode.EMPTY)
    assert scene.balance() < STORAGE_RESERVE


def test_the_payee_claims_while_the_payer_closes_and_until_somebody_finishes():
    scene = opened()
    scene.start_close()

    assert_collected(scene.claim(2 * TON), 2 * TON)
    scene.top_up(TON)
    scene.chain.now += DELAY + 1
    assert_collected(scene.claim(3 * TON), TON)


def test_a_payee_whose_contract_throws_has_the_money_all_the_same():
    # A channel's contract will do: it throws at a payment, which is none of its operations.
    thrower = Scene(salt=bytes(16))
    scene = opened(payee=thrower.channel)
    scene.give(thrower.channel, TON, thrower.init)
    before = scene.balance(thrower.channel)

    step = scene.claim(TON)

    assert step.done
    assert step.parsed[1].description.compute_ph.exit_code == ExitCode.OPERATION
    assert scene.balance(thrower.channel) == before + step.to(thrower.channel) - step.transactions[1].fees
    assert scene.state.claimed == TON


@pytest.mark.parametrize("bits_missing", [1, 512, 576])
def test_a_claim_cut_short_is_refused(bits_missing):
    scene = opened()
    whole = Slice(read_one(contract.claim(Nano(TON), scene.voucher(TON))))
    bits = whole.bits_left - bits_missing
    body = write_boc(Builder().uint(whole.uint(bits), bits).cell())

    step = scene.tell(ATTACHED, body, PAYEE)

    assert not step.done
    assert scene.state.claimed == 0
