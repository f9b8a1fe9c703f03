"""Both machines where a contract stands behind the channel: what the chain shows, and closing through it."""

from dataclasses import replace

import pytest

from cocoon_p2p.errors import LocalProtocolError, Refused, RemoteProtocolError, VoucherRejected
from cocoon_p2p.payments import payee as payee_machine
from cocoon_p2p.payments import payer as payer_machine
from cocoon_p2p.payments.channel import Phase, capacity, channel_of
from cocoon_p2p.payments.contract import STORAGE_MARGIN, deposit_for
from cocoon_p2p.payments.events import (
    Accepted,
    AccruedRaised,
    BackingSeen,
    ChannelSettled,
    CloseRequested,
    DepositTaken,
    Disputed,
    ExchangeBroken,
    ExchangeCharged,
    HoldRaised,
    PayeeEvent,
    PayerEvent,
    SendCloseWanted,
    SendDeposit,
    SendRefused,
    SendVoucher,
    StateReceived,
    TermsLapsed,
    VoucherDue,
    VoucherReceived,
    VoucherSaved,
)
from cocoon_p2p.payments.payee import Payee, opened
from cocoon_p2p.payments.payer import Payer
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import Deposit, PaperWanted, Voucher
from cocoon_p2p.units import Nano
from tests.payments.parties import (
    BACKED,
    BACKED_OFFER,
    CAPACITY,
    CHANNEL,
    DELAY,
    EPOCH,
    NOW,
    ONE,
    PAYEE,
    PAYER,
    TWO,
    agreed,
    backed_state,
    backed_terms,
    backed_voucher,
    backing,
    receipt,
    signed,
    state,
    terms,
    wanted,
)

LATER = NOW + 3601
SEEN = Deposit(EPOCH, CAPACITY)


def paying(payer: Payer, *events: PayerEvent) -> Payer:
    for event in events:
        payer, _ = payer_machine.step(payer, event)
    return payer


def receiving(payee: Payee, *events: PayeeEvent) -> Payee:
    for event in events:
        payee, _ = payee_machine.step(payee, event)
    return payee


def paid_by(payer: Payer, event: PayerEvent) -> list[str]:
    return [type(effect).__name__ for effect in payer_machine.step(payer, event)[1]]


def done_by(payee: Payee, event: PayeeEvent) -> list[str]:
    return [type(effect).__name__ for effect in payee_machine.step(payee, event)[1]]


def accepted(deposit: Deposit | None, *, returned: Voucher | None = None, grant: int = 0) -> Accepted:
    nothing = backed_state(0, 0)
    return Accepted(Nano(grant), nothing, signed(nothing), returned, deposit)


FRESH = paying(Payer(BACKED), accepted(None))
FUNDED = paying(FRESH, BackingSeen(backing()), DepositTaken(SEEN))
HELD = paying(FUNDED, HoldRaised(ONE, Nano(300)), VoucherDue())
CHARGED = paying(HELD, ExchangeCharged(ONE, Nano(200), receipt(ONE, 200)))

UNSEEN = opened(BACKED, Nano(0))
OPEN = receiving(UNSEEN, BackingSeen(backing()))
VOUCHERED = receiving(OPEN, VoucherReceived(backed_voucher(300)), VoucherSaved(Nano(300)))
RUNNING = receiving(VOUCHERED, AccruedRaised(ONE, Nano(200)))
OWED = receiving(RUNNING, ExchangeCharged(ONE, Nano(200), receipt(ONE, 200)))

# ---------------------------------------------------------------- what stands behind a channel


def test_nothing_is_held_before_both_have_seen_the_deposit() -> None:
    for payer in (
        FRESH,
        paying(FRESH, BackingSeen(backing())),
        paying(FRESH, DepositTaken(SEEN)),
    ):
        with pytest.raises(Refused, match="no credit"):
            paying(payer, HoldRaised(ONE, Nano(1)))


@pytest.mark.parametrize("payee_first", [True, False])
def test_vouchers_go_as_far_as_the_one_who_saw_less(payee_first: bool) -> None:
    looks: tuple[PayerEvent, PayerEvent] = (DepositTaken(SEEN), BackingSeen(backing(700)))

    payer = paying(FRESH, *(looks if payee_first else looks[::-1]))

    assert payer.capacity == 700
    assert paying(payer, DepositTaken(Deposit(EPOCH, 500))).capacity == 500


def test_a_payee_that_speaks_of_another_life_of_the_contract_takes_nothing() -> None:
    assert paying(FUNDED, DepositTaken(Deposit(EPOCH + 1, CAPACITY))).capacity == 0


def test_a_payee_tells_what_it_has_seen_each_time_it_looks() -> None:
    after, effects = payee_machine.step(OPEN, BackingSeen(backing()))

    assert after == OPEN
    assert effects == (SendDeposit(SEEN),)


def test_a_contract_that_nobody_opened_is_nothing_to_tell_of() -> None:
    assert done_by(UNSEEN, BackingSeen(backing(epoch=0))) == ["SaveBacking"]


def test_a_contract_has_one_life() -> None:
    with pytest.raises(LocalProtocolError):
        paying(FUNDED, BackingSeen(backing(epoch=EPOCH + 1)))
    with pytest.raises(LocalProtocolError):
        receiving(OPEN, BackingSeen(backing(epoch=EPOCH + 1)))


def test_a_look_that_is_older_than_the_last_one_changes_nothing() -> None:
    older = BackingSeen(backing(claimed=10))

    for claimed in (11, 200):
        newer = BackingSeen(backing(claimed=claimed))
        assert paying(HELD, newer, older) == paying(HELD, newer)
        assert receiving(VOUCHERED, newer, older) == receiving(VOUCHERED, newer)


@pytest.mark.parametrize("epoch", [0, EPOCH - 1, EPOCH + 1])
def test_a_voucher_for_another_life_is_rejected(epoch: int) -> None:
    with pytest.raises(VoucherRejected, match="another epoch"):
        receiving(OPEN, VoucherReceived(backed_voucher(10, epoch=epoch)))


def test_a_payee_takes_vouchers_as_far_as_the_contract_pays_them_and_no_further() -> None:
    most = CAPACITY + STORAGE_MARGIN

    assert receiving(OPEN, VoucherReceived(backed_voucher(most))).best == most
    with pytest.raises(VoucherRejected, match="capacity"):
        receiving(OPEN, VoucherReceived(backed_voucher(most + 1)))
    with pytest.raises(VoucherRejected, match="capacity"):
        receiving(UNSEEN, VoucherReceived(backed_voucher(1)))


def test_storage_lowers_what_can_be_held_and_no_voucher_that_was_signed() -> None:
    eaten = paying(HELD, BackingSeen(backing(250)), DepositTaken(Deposit(EPOCH, 250)))

    assert (eaten.capacity, eaten.vouchered) == (250, 300)
    with pytest.raises(Refused, match="no credit"):
        paying(eaten, HoldRaised(ONE, Nano(301)))


def test_the_newest_voucher_waits_until_the_payee_has_seen_what_backs_it() -> None:
    # A payee with an old ledger: it would reject the voucher, and never hear that there is a deposit.
    back, effects = payer_machine.step(HELD, accepted(None))
    assert effects == ()

    seen, effects = payer_machine.step(back, DepositTaken(SEEN))
    assert effects == (SendVoucher(Nano(300)),)
    assert paid_by(seen, DepositTaken(SEEN)) == []


def test_a_voucher_that_storage_has_overtaken_is_still_sent() -> None:
    assert paid_by(HELD, accepted(Deposit(EPOCH, 299))) == ["SendVoucher"]


def test_a_claim_by_a_voucher_that_an_old_ledger_does_not_know_counts_as_vouchered() -> None:
    claimed = BackingSeen(backing(claimed=400))

    assert paying(HELD, claimed).vouchered == 400
    after = receiving(VOUCHERED, claimed)
    assert (after.best, after.vouchered) == (400, 400)


def test_a_payer_takes_up_its_own_voucher_though_its_old_ledger_saw_a_smaller_deposit() -> None:
    old = paying(FRESH, BackingSeen(backing(100)))

    after = paying(old, accepted(SEEN, returned=backed_voucher(300)))

    assert (after.phase, after.vouchered) == (Phase.OPEN, 300)


@pytest.mark.parametrize("close_at", [1, int(NOW)])
def test_nothing_new_begins_once_the_payer_is_seen_to_leave(close_at: int) -> None:
    leaving = BackingSeen(backing(close_at=close_at))

    assert paying(HELD, leaving).phase is Phase.DRAINING
    assert receiving(RUNNING, leaving).phase is Phase.DRAINING
    with pytest.raises(Refused, match="closing"):
        receiving(RUNNING, leaving, AccruedRaised(TWO, Nano(1)))
    # What runs is worked on and vouchered to its end.
    receiving(RUNNING, leaving, VoucherReceived(backed_voucher(400)), AccruedRaised(ONE, Nano(300)))


# ---------------------------------------------------------------- the contract is gone


def test_what_a_contract_did_not_pay_is_no_credit_any_more() -> None:
    gone = receiving(RUNNING, ChannelSettled(Nano(120)))

    assert (gone.phase, gone.best, gone.vouchered) == (Phase.CLOSED, 120, 120)
    assert gone.credit == 120 - 200


def test_a_voucher_that_lands_when_the_contract_is_gone_is_no_credit() -> None:
    on_its_way = receiving(VOUCHERED, VoucherReceived(backed_voucher(400)))

    assert receiving(on_its_way, ChannelSettled(Nano(0)), VoucherSaved(Nano(400))).vouchered == 0


def test_exchanges_that_run_when_the_contract_goes_are_booked_to_their_end() -> None:
    payee = receiving(RUNNING, ChannelSettled(Nano(120)), ExchangeCharged(ONE, Nano(200), receipt(ONE, 200)))
    payer = paying(HELD, ChannelSettled(Nano(120)), ExchangeCharged(ONE, Nano(200), receipt(ONE, 200)))

    assert payee.charged == payer.charged == 200
    assert (payee.accrued, payer.held) == (0, 0)


def test_an_exchange_that_breaks_when_the_contract_is_gone_is_let_go() -> None:
    gone = paying(HELD, ChannelSettled(Nano(0)))

    assert paid_by(gone, ExchangeBroken(ONE, Nano(20), PaperWanted(ONE))) == ["SaveReleased"]


def test_settled_once_is_settled() -> None:
    assert paid_by(paying(HELD, ChannelSettled(Nano(9))), ChannelSettled(Nano(8))) == []
    assert done_by(receiving(OPEN, ChannelSettled(Nano(9))), ChannelSettled(Nano(8))) == []


def test_a_payee_that_we_stopped_paying_stays_stopped_when_its_contract_is_gone() -> None:
    gone = paying(HELD, Disputed("tried", ()), ChannelSettled(Nano(300)))

    assert gone.phase is Phase.STOPPED
    assert gone.backing.is_settled
    # Nor does a late word of the payee's open the way again.
    assert paying(gone, agreed(backed_terms(0))) == gone


# ---------------------------------------------------------------- closing together


def test_terms_are_for_what_was_charged_and_the_contract_s_life() -> None:
    for machine in (paying(CHARGED, CloseRequested(NOW)), receiving(OWED, CloseRequested(NOW))):
        assert machine.terms == backed_terms(200)
        assert machine.phase is Phase.CLOSING


def test_a_debt_beyond_what_stands_behind_it_closes_at_that() -> None:
    assert replace(CHARGED, charged=Nano(2000)).close_total == CAPACITY
    in_debt = replace(OWED, state=replace(OWED.state, charged=2000))
    assert in_debt.close_total == CAPACITY


def test_what_was_collected_stays_collected() -> None:
    claimed = BackingSeen(backing(claimed=300))

    for machine in (
        paying(CHARGED, claimed, CloseRequested(NOW)),
        receiving(OWED, claimed, CloseRequested(NOW)),
    ):
        assert machine.terms == backed_terms(300)


@pytest.mark.parametrize("total", [199, 200])
def test_a_payer_signs_no_terms_below_what_was_collected(total: int) -> None:
    payer = paying(CHARGED, BackingSeen(backing(claimed=201)))

    assert payer_machine.step(payer, wanted(backed_terms(total)))[1] == (
        SendRefused(Reason.WRONG_AMOUNT, f"wrong total: asked {total}, owed 201 nanoTON"),
    )


def test_all_that_was_collected_can_be_closed_at_though_storage_went_on() -> None:
    # The deposit is below the reserve by now: what vouchers could collect is less than was collected.
    seen = replace(backing(claimed=200), deposit=Nano(deposit_for(Nano(200)) - 2 * STORAGE_MARGIN))
    payee = receiving(OWED, BackingSeen(seen))

    assert receiving(payee, wanted(backed_terms(200), by=PAYER)).phase is Phase.CLOSED


def test_terms_that_a_claim_has_overtaken_are_replaced_at_once() -> None:
    claimed = BackingSeen(backing(claimed=300))

    payer = paying(CHARGED, CloseRequested(NOW), claimed)
    payee = receiving(OWED, CloseRequested(NOW), claimed)

    assert paid_by(payer, CloseRequested(NOW)) == ["SignTerms", "SendCloseWanted"]
    assert done_by(payee, CloseRequested(NOW)) == ["SignTerms", "SendCloseWanted"]


def test_a_payer_repeats_terms_that_pay_more_than_storage_left() -> None:
    payer = paying(CHARGED, CloseRequested(NOW), BackingSeen(backing(100)))

    assert payer_machine.step(payer, CloseRequested(NOW))[1] == (SendCloseWanted(backed_terms(200)),)


@pytest.mark.parametrize("epoch", [0, EPOCH + 1])
def test_terms_for_another_life_are_refused_and_the_stream_lives_on(epoch: int) -> None:
    other = backed_terms(200, epoch=epoch)

    assert paid_by(CHARGED, wanted(other)) == done_by(OWED, wanted(other, by=PAYER)) == ["SendRefused"]


def test_terms_that_were_signed_before_the_deposit_was_seen_are_replaced() -> None:
    payer = paying(FRESH, CloseRequested(NOW), BackingSeen(backing()), CloseRequested(NOW))

    assert payer.terms == backed_terms(0)


def test_terms_without_the_channel_s_id_break_the_protocol() -> None:
    with pytest.raises(RemoteProtocolError):
        paying(CHARGED, wanted(terms(200)))
    with pytest.raises(RemoteProtocolError):
        receiving(OWED, wanted(terms(200), by=PAYER))


def test_agreed_terms_close_the_channel_and_the_contract_settles_it() -> None:
    payer = paying(CHARGED, wanted(backed_terms(200)))
    payee = receiving(OWED, wanted(backed_terms(200), by=PAYER))

    for machine in (payer, payee):
        assert machine.phase is Phase.CLOSED
        assert not machine.backing.is_settled


@pytest.mark.parametrize("is_payer", [True, False])
def test_terms_that_hold_for_long_are_not_signed(is_payer: bool) -> None:
    # Who waits for them does not claim meanwhile.
    late = backed_terms(200, valid_seconds=7201)

    if is_payer:
        assert paid_by(CHARGED, wanted(late)) == ["SendRefused"]
    else:
        assert done_by(OWED, wanted(late, by=PAYER)) == ["SendRefused"]


def test_terms_hold_for_a_part_of_a_short_close_delay() -> None:
    assert BACKED.deployment is not None
    hasty = replace(BACKED, deployment=replace(BACKED.deployment, close_delay_seconds=600))

    payer = paying(replace(CHARGED, channel=hasty), CloseRequested(NOW))

    assert payer.terms == backed_terms(200, valid_seconds=150)


@pytest.mark.parametrize(
    ("seconds_left", "is_signed"), [(3600 + DELAY // 4, True), (3599 + DELAY // 4, False)]
)
def test_a_payee_signs_no_terms_that_could_outlast_its_time_to_claim(
    seconds_left: int, is_signed: bool
) -> None:
    leaving = receiving(OWED, BackingSeen(backing(close_at=int(NOW) + seconds_left)))

    assert (receiving(leaving, wanted(backed_terms(200), by=PAYER)).phase is Phase.CLOSED) == is_signed
    assert (receiving(leaving, CloseRequested(NOW)).terms is not None) == is_signed


# ---------------------------------------------------------------- terms that nobody hands in


def test_agreed_terms_lapse_when_their_time_is_over() -> None:
    payer = paying(CHARGED, wanted(backed_terms(200)))
    payee = receiving(OWED, wanted(backed_terms(200), by=PAYER))

    for now, phase in ((NOW + 3600, Phase.CLOSED), (LATER, Phase.DRAINING)):
        assert paying(payer, TermsLapsed(now)).phase is phase
        assert receiving(payee, TermsLapsed(now)).phase is phase
    assert paid_by(paying(payer, TermsLapsed(LATER)), CloseRequested(LATER)) == [
        "SignTerms",
        "SendCloseWanted",
    ]


def test_agreed_terms_below_what_was_claimed_since_have_lapsed() -> None:
    claimed = BackingSeen(backing(claimed=300))

    assert paying(CHARGED, wanted(backed_terms(200)), claimed, TermsLapsed(NOW)).phase is Phase.DRAINING
    payee = receiving(OWED, wanted(backed_terms(200), by=PAYER), claimed, TermsLapsed(NOW))
    assert payee.phase is Phase.DRAINING


def test_nothing_new_begins_after_a_lapse() -> None:
    with pytest.raises(Refused, match="closing"):
        paying(CHARGED, wanted(backed_terms(200)), TermsLapsed(LATER), HoldRaised(TWO, Nano(1)))


@pytest.mark.parametrize("phase", ["open", "closing", "settled"])
def test_only_agreed_terms_lapse(phase: str) -> None:
    payer, payee = {
        "open": (CHARGED, OWED),
        "closing": (paying(CHARGED, CloseRequested(NOW)), receiving(OWED, CloseRequested(NOW))),
        "settled": (
            paying(CHARGED, wanted(backed_terms(200)), ChannelSettled(Nano(200))),
            receiving(OWED, wanted(backed_terms(200), by=PAYER), ChannelSettled(Nano(200))),
        ),
    }[phase]

    assert paying(payer, TermsLapsed(LATER)) == payer
    assert receiving(payee, TermsLapsed(LATER)) == payee


def test_terms_that_a_payee_holds_closed_hold_though_ours_are_under_way() -> None:
    # We signed the first, then others; the payee agreed to the first before it heard of those.
    payer = paying(CHARGED, CloseRequested(NOW), BackingSeen(backing(claimed=150)))
    second = paying(payer, CloseRequested(NOW + 3601))
    assert second.terms != payer.terms

    assert paying(second, agreed(backed_terms(200))).phase is Phase.CLOSED
    assert paid_by(second, wanted(backed_terms(200))) == ["SendCloseWanted"]
    assert paid_by(second, agreed(backed_terms(201))) == ["SendCloseWanted"]


# ---------------------------------------------------------------- a contract that was never opened


def test_a_channel_without_a_deposit_is_settled_by_word() -> None:
    payer = paying(FRESH, wanted(backed_terms(0, epoch=0)))
    payee = receiving(UNSEEN, wanted(backed_terms(0, epoch=0), by=PAYER))

    assert payer.backing.is_settled
    assert payee.backing.is_settled


def test_a_deposit_that_arrives_after_the_close_is_not_forgotten() -> None:
    payer = paying(FRESH, wanted(backed_terms(0, epoch=0)))

    late, effects = payer_machine.step(payer, BackingSeen(backing()))

    assert (late.phase, late.backing) == (Phase.DRAINING, backing())
    assert [type(effect).__name__ for effect in effects] == ["SaveReopened", "SaveBacking"]


# ---------------------------------------------------------------- without a chain


def test_a_close_that_both_have_signed_does_not_expire_without_a_chain() -> None:
    # The peer agreed in time, and we hear of it only now, when we have already signed others.
    nothing = state(0, 0)
    payer = paying(
        Payer(CHANNEL),
        Accepted(Nano(0), nothing, signed(nothing), None),
        CloseRequested(NOW),
        CloseRequested(LATER),
    )
    payee = receiving(opened(CHANNEL, Nano(0)), CloseRequested(NOW), CloseRequested(LATER))

    assert paying(payer, agreed(terms(0), now=LATER)).phase is Phase.CLOSED
    assert receiving(payee, agreed(terms(0), by=PAYER, now=LATER)).phase is Phase.CLOSED
    # A mere proposal does.
    assert receiving(payee, wanted(terms(0), by=PAYER, now=LATER)).phase is Phase.CLOSING


# ---------------------------------------------------------------- an offer


def test_a_contract_s_capacity_is_what_both_reckon_from_the_deposit() -> None:
    assert capacity(channel_of(BACKED_OFFER), backing(123)) == 123


def test_states_are_compared_as_without_a_chain() -> None:
    too_much = backed_state(1, 301)

    assert paying(CHARGED, StateReceived(too_much, signed(too_much, by=PAYEE))).phase is Phase.STOPPED
