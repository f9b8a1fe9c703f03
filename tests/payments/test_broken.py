"""What both machines do with an exchange whose hop was lost."""

import pytest

from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.events import (
    Accepted,
    AccruedRaised,
    CloseRequested,
    ExchangeBroken,
    ExchangeCharged,
    ExchangeLowered,
    ExchangeRecovered,
    HoldRaised,
    PayeeEvent,
    PayerEvent,
    SaveCharge,
    StateReceived,
    VoucherDue,
    VoucherReceived,
    VoucherSaved,
)
from cocoon_p2p.payments.payee import Payee, opened
from cocoon_p2p.payments.payee import step as payee_step
from cocoon_p2p.payments.payer import UNPROVEN_MAX, Payer
from cocoon_p2p.payments.payer import step as payer_step
from cocoon_p2p.protocols.messages import PaperWanted
from cocoon_p2p.units import Nano
from tests.payments.parties import CHANNEL, NOW, ONE, receipt, signed, state, voucher


def paying(*events: PayerEvent) -> Payer:
    payer = Payer(CHANNEL)
    for event in events:
        payer, _ = payer_step(payer, event)
    return payer


def paid(*events: PayeeEvent) -> Payee:
    payee = opened(CHANNEL, Nano(0))
    for event in (VoucherReceived(voucher(300)), VoucherSaved(Nano(300)), *events):
        payee, _ = payee_step(payee, event)
    return payee


HELD = (HoldRaised(ONE, Nano(100)), VoucherDue())
BROKEN = ExchangeBroken(ONE, Nano(30), PaperWanted(ONE))
CHARGED = ExchangeCharged(ONE, Nano(90), receipt(ONE, 90))


def recovered(amount: int, amount_max: int | None = 30) -> ExchangeRecovered:
    return ExchangeRecovered(
        ONE, Nano(amount), None if amount_max is None else Nano(amount_max), receipt(ONE, amount)
    )


def test_a_broken_exchange_is_held_at_its_meter_until_the_payee_agrees() -> None:
    broken = paying(*HELD, BROKEN)

    assert (broken.charged, broken.held, broken.running) == (0, 30, {ONE: 30})
    after, effects = payer_step(broken, recovered(30))
    assert (after.charged, after.held) == (30, 0)
    assert effects == (SaveCharge(ONE, Nano(30), receipt(ONE, 30)),)


def test_an_exchange_that_came_to_nothing_is_still_asked_about() -> None:
    broken = paying(*HELD, ExchangeBroken(ONE, Nano(0), PaperWanted(ONE)))

    assert broken.running == {ONE: 0}
    assert paying(*HELD, BROKEN, recovered(0)).charged == 0


@pytest.mark.parametrize(
    ("amount", "amount_max", "phase"),
    [
        (29, 30, Phase.OPEN),
        (31, 30, Phase.STOPPED),
        # We forgot what we saw: up to its credit the payee is believed.
        (100, None, Phase.OPEN),
        (101, None, Phase.STOPPED),
    ],
)
def test_a_paper_for_more_than_we_settled_at_stops_the_payments(
    amount: int, amount_max: int | None, phase: Phase
) -> None:
    payer = paying(*HELD, BROKEN, recovered(amount, amount_max))

    assert payer.phase is phase
    assert payer.charged == (amount if phase is Phase.OPEN else 0)


@pytest.mark.parametrize(("beyond", "phase"), [(0, Phase.OPEN), (1, Phase.STOPPED)])
def test_a_payee_that_says_it_granted_much_cannot_bill_it_for_what_we_forgot(
    beyond: int, phase: Phase
) -> None:
    """What it says after a crash of ours would be its bill: up to all that stands behind the channel."""
    shown = state(0, 0)
    generous = Accepted(Nano(2**62), shown, signed(shown), voucher(100))

    payer = paying(*HELD, generous, recovered(100 + UNPROVEN_MAX + beyond, None))

    assert payer.phase is phase


def test_what_was_held_may_be_billed_though_the_payee_grants_less_now() -> None:
    shown = state(0, 0)
    granting = [Accepted(Nano(grant), shown, signed(shown), None) for grant in (100, 0)]

    payer = paying(granting[0], *HELD, granting[1], recovered(100, None))

    assert (payer.phase, payer.vouchered, payer.charged) == (Phase.OPEN, 0, 100)


def test_what_was_charged_may_fall_while_we_ask_about_an_exchange_that_broke() -> None:
    too_much, agreed = state(1, 90), state(2, 30)
    events = (StateReceived(too_much, signed(too_much)), StateReceived(agreed, signed(agreed)))

    assert paying(*HELD, BROKEN, *events, recovered(30)).phase is Phase.OPEN
    assert paying(*HELD, CHARGED, *events).phase is Phase.STOPPED


def test_a_lowered_charge_is_in_the_next_state() -> None:
    payee = paid(AccruedRaised(ONE, Nano(90)), CHARGED)

    after, _ = payee_step(payee, ExchangeLowered(ONE, Nano(90), Nano(30), receipt(ONE, 30)))

    assert (after.charged, after.state.sequence) == (30, payee.state.sequence + 1)
    assert after.credit == payee.credit + 60


def test_close_terms_for_too_much_are_replaced() -> None:
    payee = paid(AccruedRaised(ONE, Nano(90)), CHARGED, CloseRequested(NOW))
    assert payee.terms is not None

    after, _ = payee_step(payee, ExchangeLowered(ONE, Nano(90), Nano(30), receipt(ONE, 30)))
    again, _ = payee_step(after, CloseRequested(NOW))

    assert after.phase is Phase.CLOSING
    assert again.terms is not None
    assert again.terms.total == 30


@pytest.mark.parametrize("amount", [90, 91])
def test_a_charge_is_never_raised_by_a_lowering(amount: int) -> None:
    payee = paid(AccruedRaised(ONE, Nano(90)), CHARGED)

    with pytest.raises(LocalProtocolError):
        payee_step(payee, ExchangeLowered(ONE, Nano(90), Nano(amount), receipt(ONE, amount)))
