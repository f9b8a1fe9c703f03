"""Claims by external message: by anybody, without a wallet, paid for out of what is due."""

from dataclasses import replace

import pytest

from cocoon_p2p.payments import contract
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.contract import STORAGE_RESERVE, ExitCode
from cocoon_p2p.payments.devchain import DevChain, config
from tests.payments.contract.scene import (
    DELAY,
    NOW,
    PAYEE,
    PAYEE_SECRET,
    TON,
    Nano,
    Scene,
    Step,
    bulky,
    opened,
)

GAS_LENT = 10_000
IMPORT_FEE = 400_000
"What a message of one cell costs to import: `config.FORWARD.lump`."


def assert_collected(step: Step, due: int, import_fee: int = IMPORT_FEE) -> None:
    """Check to the nanoton: the deposit gave what was due, the payee got it less what the message cost."""
    assert step.done
    assert step.after == step.before - step.storage_fee - due
    assert step.to(PAYEE) == due - import_fee - step.cost
    assert len(step.payments) == 1


def refused(step: Step, code: ExitCode) -> bool:
    """Whether the message was not accepted: then there was no transaction and nobody paid anything."""
    return step.rejected == code and step.after == step.before


def test_a_claim_without_a_wallet_pays_the_payee_what_is_due_less_the_fees():
    scene = opened()

    step = scene.claim_externally(3 * TON)

    assert_collected(step, 3 * TON)
    assert scene.state.claimed == 3 * TON
    assert step.to(PAYEE) > 2.996 * TON


def test_the_gas_stays_within_what_is_lent_before_acceptance():
    # The floor reckons with so much gas for the whole of it.
    assert opened().claim_externally(3 * TON).gas < GAS_LENT


def test_the_same_external_claim_is_not_accepted_again():
    scene = opened()
    message = contract.external_claim(scene.channel, Nano(TON), scene.voucher(TON))

    first, second = scene.submit(message), scene.submit(message)

    assert_collected(first, TON)
    assert refused(second, ExitCode.STALE)


def test_a_claim_goes_once_whichever_way_it_comes():
    scene = opened()
    voucher = scene.voucher(TON)

    inside, outside = scene.claim(TON, voucher), scene.claim_externally(TON, voucher)

    assert inside.done
    assert refused(outside, ExitCode.STALE)


def test_an_external_claim_that_brings_less_than_the_floor_is_not_accepted():
    scene = opened()
    (floor,) = scene.ask("floor")

    short, enough = scene.claim_externally(floor - 1), scene.claim_externally(floor)

    assert refused(short, ExitCode.FLOOR)
    assert_collected(enough, floor)


def test_whoever_claims_at_the_floor_wastes_less_than_a_tenth():
    scene = opened()
    (floor,) = scene.ask("floor")

    step = scene.claim_externally(floor)

    assert floor - step.to(PAYEE) < floor / 10


@pytest.mark.parametrize("wrong", ["key", "channel", "epoch", "total"])
def test_an_external_claim_with_a_voucher_for_anything_else_is_not_accepted(wrong):
    scene = opened()
    signature = {
        "key": lambda: scene.voucher(TON, secret=PAYEE_SECRET),
        "channel": lambda: scene.voucher(TON, channel=Scene(salt=bytes(16)).channel),
        "epoch": lambda: scene.voucher(TON, epoch=scene.state.epoch - 1),
        "total": lambda: scene.voucher(TON + 1),
    }[wrong]()

    step = scene.claim_externally(TON, signature)

    assert refused(step, ExitCode.SIGNATURE)


def test_an_overdrawn_external_claim_takes_what_is_there_and_no_more_until_a_top_up():
    scene = opened(TON)
    voucher = scene.voucher(7 * TON)

    first = scene.claim_externally(7 * TON, voucher)
    second = scene.claim_externally(7 * TON, voucher)
    scene.top_up(TON)
    third = scene.claim_externally(7 * TON, voucher)

    assert_collected(first, first.before - STORAGE_RESERVE)
    assert refused(second, ExitCode.EMPTY)
    assert_collected(third, third.before - STORAGE_RESERVE)


def test_what_is_left_must_reach_the_floor_as_well():
    scene = opened(TON)
    scene.claim_externally(7 * TON)
    (floor,) = scene.ask("floor")

    scene.top_up(floor)
    step = scene.claim_externally(7 * TON)

    assert refused(step, ExitCode.FLOOR)


def test_an_external_claim_is_taken_while_the_payer_closes():
    scene = opened()
    scene.start_close()
    scene.chain.now += DELAY

    assert_collected(scene.claim_externally(TON), TON)


@pytest.mark.parametrize("how", ["body in a reference", "body with a reference", "with a StateInit"])
def test_an_external_claim_of_more_than_one_cell_is_not_accepted(how):
    scene = opened()
    message = contract.external_claim(scene.channel, Nano(TON), scene.voucher(TON))

    step = scene.submit(bulky(message, how, scene.init))

    assert refused(step, ExitCode.BULKY)


def test_bits_after_an_external_claim_are_refused():
    scene = opened()
    message = contract.external_claim(scene.channel, Nano(TON), scene.voucher(TON))
    longer = Builder().root_of(read_one(message)).uint(0, 1).cell()

    step = scene.submit(write_boc(longer))

    assert step.rejected == 9  # TVM: cell underflow, here: something is left.


@pytest.mark.parametrize("operation", ["top-up", "close", "start close", "finish close"])
def test_nothing_but_a_claim_is_taken_from_outside(operation):
    scene = opened()
    scene.start_close()
    scene.chain.now += DELAY
    body = {
        "top-up": contract.top_up(),
        "close": contract.close(Nano(0), NOW * 2, payer_signature=bytes(64), payee_signature=bytes(64)),
        "start close": contract.start_close(),
        "finish close": contract.finish_close(),
    }[operation]
    head = Builder().uint(0b1000, 4).uint(0b100, 3).sint(0, 8).octets(scene.channel).coins(0).uint(0, 2)

    step = scene.submit(write_boc(head.root_of(read_one(body)).cell()))

    # Close terms have a second cell, so they fail before they are read.
    assert step.rejected == (ExitCode.BULKY if operation == "close" else ExitCode.OPERATION)


def dear(monkeypatch: pytest.MonkeyPatch, factor: int) -> DevChain:
    """Begin a chain on which gas and messages cost a multiple."""
    gas, forward = config.GAS, config.FORWARD
    monkeypatch.setattr(config, "GAS", replace(gas, price=factor * gas.price, flat=factor * gas.flat))
    monkeypatch.setattr(config, "FORWARD", replace(forward, lump=factor * forward.lump))
    return DevChain(now=NOW)


def test_when_prices_rise_so_does_the_floor_and_no_accepted_claim_fails(monkeypatch):
    (usual,) = opened().ask("floor")
    scene = opened(chain=dear(monkeypatch, factor=50))
    (floor,) = scene.ask("floor")

    short, enough = scene.claim_externally(floor - 1), scene.claim_externally(floor)

    assert floor == 50 * usual
    assert refused(short, ExitCode.FLOOR)
    assert_collected(enough, floor, import_fee=50 * IMPORT_FEE)


def test_when_prices_rise_a_claim_whose_payment_fails_is_undone(monkeypatch):
    # Gas is paid for, but sending the payment costs more than is due and attached.
    forward = config.FORWARD
    monkeypatch.setattr(config, "FORWARD", replace(forward, lump=100 * forward.lump))
    scene = opened(chain=DevChain(now=NOW))

    step = scene.claim(1, attached=30_000_000)

    assert step.exit == 0
    assert not step.done
    assert scene.state.claimed == 0
    assert step.after >= step.before
    assert not step.to(PAYEE)
