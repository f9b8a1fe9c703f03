"""How a channel comes into being, and what it does not listen to."""

import pytest
from pytoniq_core import Address, begin_cell

from cocoon_p2p.payments import contract
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.close_terms import sign_close_terms
from cocoon_p2p.payments.contract import CODE_HASH, ExitCode
from cocoon_p2p.protocols.messages import CloseTerms
from tests.payments.contract.scene import (
    NOW,
    PAYEE,
    PAYEE_SECRET,
    PAYER,
    PAYER_SECRET,
    QUERY,
    STRANGER,
    TON,
    Nano,
    Scene,
    opened,
)


@pytest.mark.parametrize("body", [contract.top_up(QUERY), None], ids=["a top-up", "an empty body"])
def test_the_first_top_up_opens_the_channel(body):
    scene = Scene()

    step = scene.deploy(10 * TON, body)

    assert step.done
    assert scene.state.epoch == step.transactions[0].lt > 0
    assert (scene.state.claimed, scene.state.close_at) == (0, 0)
    assert scene.state.deployment == scene.deployment
    assert scene.balance() == 10 * TON - step.gas_fee


def test_the_account_runs_the_code_that_the_package_names():
    code = opened().chain.account(opened().channel).code

    assert code is not None
    assert read_one(code).hash == CODE_HASH


def test_get_methods_tell_what_is_stored_and_what_can_be_collected():
    scene = opened()
    scene.claim(TON)
    scene.start_close()
    state, deployment = scene.state, scene.deployment

    told = scene.ask("channel")

    assert told[:3] == [state.epoch, state.close_at, state.claimed]
    names = [deployment.payer_key, deployment.payee_key, deployment.payer, deployment.payee, deployment.salt]
    assert [told[index] for index in (3, 4, 6, 7, 9)] == [int.from_bytes(name) for name in names]
    assert [told[5], told[8]] == [deployment.global_id, deployment.close_delay_seconds]
    assert scene.ask("available") == [scene.balance() - contract.STORAGE_RESERVE]


def test_anybody_may_top_up_and_the_epoch_stays():
    scene = opened()
    epoch, balance = scene.state.epoch, scene.balance()

    steps = [scene.top_up(TON), scene.top_up(TON, STRANGER), scene.tell(TON, None, STRANGER)]

    assert all(step.done for step in steps)
    assert scene.state.epoch == epoch
    assert scene.balance() == balance + 3 * TON - sum(step.gas_fee for step in steps)


def test_a_channel_made_for_another_network_never_opens_and_returns_the_money():
    scene = Scene(global_id=-239)

    step = scene.deploy(10 * TON)

    assert step.exit == ExitCode.NETWORK
    assert scene.state.epoch == 0
    assert scene.balance() == 0
    assert scene.balance(PAYER) == 10 * TON - scene.burnt


@pytest.mark.parametrize("operation", ["claim", "external claim", "close", "start close", "finish close"])
def test_before_it_is_open_a_channel_does_nothing(operation):
    # A deploying message that fails leaves an active account behind, and here its money too.
    scene = Scene()
    scene.tell(10 * TON, contract.start_close(), deploy=True, bounce=False)
    assert scene.is_active
    assert scene.balance() > 9 * TON
    signature = scene.voucher(TON, epoch=0)
    terms = CloseTerms(scene.channel, 0, TON, NOW + 60)

    step = {
        "claim": lambda: scene.claim(TON, signature),
        "external claim": lambda: scene.claim_externally(TON, signature),
        "close": lambda: scene.close(TON, terms=terms),
        "start close": lambda: scene.start_close(),
        "finish close": lambda: scene.finish_close(),
    }[operation]()

    assert step.exit == (ExitCode.EARLY if operation == "finish close" else ExitCode.NOT_OPEN)


@pytest.mark.parametrize("operation", ["claim", "close", "start close"])
def test_no_operation_but_a_top_up_opens(operation):
    scene = Scene()
    terms = CloseTerms(scene.channel, 0, TON, NOW + 60)
    signatures = {
        "payer_signature": sign_close_terms(PAYER_SECRET, terms),
        "payee_signature": sign_close_terms(PAYEE_SECRET, terms),
    }
    body = {
        "claim": contract.claim(Nano(TON), scene.voucher(TON, epoch=0)),
        "close": contract.close(Nano(TON), terms.valid_until, **signatures),
        "start close": contract.start_close(),
    }[operation]

    step = scene.deploy(10 * TON, body)

    assert step.exit == ExitCode.NOT_OPEN
    assert scene.state.epoch == 0
    assert scene.balance(PAYER) == 10 * TON - scene.burnt


@pytest.mark.parametrize(
    "body",
    [
        begin_cell().store_uint(0x12345678, 32).store_uint(0, 64).end_cell().to_boc(),
        begin_cell().store_uint(0, 32).store_bytes(b"thanks").end_cell().to_boc(),
        begin_cell().store_uint(1, 3).end_cell().to_boc(),
    ],
    ids=["unknown", "a comment", "three bits"],
)
def test_what_is_no_operation_is_refused_and_its_money_returned(body):
    scene = opened()
    before = scene.balance()

    step = scene.tell(TON, body, STRANGER)

    assert step.exit == ExitCode.OPERATION
    assert scene.balance() == before
    assert scene.balance(STRANGER) > 0.99 * TON


def test_a_bounced_message_is_kept_and_changes_nothing():
    scene = opened()
    before, state = scene.balance(), scene.state
    address = [Address((0, account)) for account in (PAYEE, scene.channel)]
    bounced = begin_cell().store_uint(0b0101, 4).store_address(address[0]).store_address(address[1])
    bounced = bounced.store_coins(TON).store_bit(0).store_coins(0).store_coins(0).store_uint(0, 96)
    # No StateInit, the body in place: what a payment would bounce with.
    body = begin_cell().store_uint(0xFFFFFFFF, 32).store_uint(0x70617910, 32).end_cell()
    message = bounced.store_uint(0, 2).store_cell(body).end_cell().to_boc()

    (transaction,) = scene.chain.deliver(message)

    assert scene.state == state
    assert scene.balance() == before + TON - transaction.fees
