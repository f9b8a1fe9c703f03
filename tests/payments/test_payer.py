from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import LocalProtocolError, Refused, RemoteProtocolError, VoucherRejected
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.events import (
    Accepted,
    CloseRequested,
    Disputed,
    ExchangeBroken,
    ExchangeCharged,
    ExchangeRecovered,
    ExchangeReleased,
    HoldRaised,
    PayerEvent,
    SaveBegun,
    SaveCharge,
    SaveStopped,
    SendVoucher,
    SignVoucher,
    StateReceived,
    TermsReceived,
    VoucherDue,
)
from cocoon_p2p.payments.payer import Payer, step
from cocoon_p2p.protocols.ids import RUNNING_MAX
from cocoon_p2p.protocols.messages import CloseWanted, ExchangeId, PaperWanted, Voucher
from cocoon_p2p.units import Nano
from tests.payments.parties import (
    CAPACITY,
    CHANNEL,
    NOW,
    ONE,
    PAYER,
    THREE,
    TWO,
    receipt,
    signed,
    state,
    terms,
    voucher,
)

GRANT = Nano(50)


def after(payer: Payer, *events: PayerEvent) -> Payer:
    for event in events:
        payer, _ = step(payer, event)
    return payer


def names(payer: Payer, event: PayerEvent) -> list[str]:
    return [type(effect).__name__ for effect in step(payer, event)[1]]


def accepted(sequence: int, charged: int, *, returned: Voucher | None = None, grant: int = GRANT) -> Accepted:
    paper = state(sequence, charged)
    return Accepted(Nano(grant), paper, signed(paper), returned)


def said(sequence: int, charged: int) -> StateReceived:
    paper = state(sequence, charged)
    return StateReceived(paper, signed(paper))


def charge(exchange: ExchangeId, amount: int) -> ExchangeCharged:
    return ExchangeCharged(exchange, Nano(amount), receipt(exchange, amount))


def proposal(total: int, *, valid_seconds: int = 3600, now: float = NOW) -> TermsReceived:
    paper = terms(total, valid_seconds=valid_seconds)
    return TermsReceived(paper, CloseWanted(signed(paper)), now)


FRESH = after(Payer(CHANNEL), accepted(0, 0))
HELD = after(FRESH, HoldRaised(ONE, Nano(200)), VoucherDue())

# One exchange has been charged, and another may run.
CHARGED = after(FRESH, HoldRaised(TWO, Nano(90)), VoucherDue(), charge(TWO, 80), said(1, 80))
PHASES = {
    "open": CHARGED,
    "running": after(CHARGED, HoldRaised(ONE, Nano(200)), VoucherDue()),
    "draining": after(CHARGED, HoldRaised(ONE, Nano(200)), VoucherDue(), CloseRequested(NOW)),
    "closing": after(CHARGED, CloseRequested(NOW)),
    "closed": after(CHARGED, proposal(80)),
    "stopped": after(CHARGED, HoldRaised(ONE, Nano(200)), VoucherDue(), Disputed("tried", ())),
}

EVENTS: dict[str, PayerEvent] = {
    "hold more": HoldRaised(ONE, Nano(300)),
    "hold a new one": HoldRaised(THREE, Nano(10)),
    "voucher due": VoucherDue(),
    "charge": charge(ONE, 150),
    "release": ExchangeReleased(ONE),
    "break": ExchangeBroken(ONE, Nano(60), PaperWanted(ONE)),
    "recover": ExchangeRecovered(ONE, Nano(60), None, receipt(ONE, 60)),
    "accepted": accepted(1, 80, returned=voucher(40)),
    "accepted without a voucher": accepted(1, 80),
    "newer state": said(2, 80),
    "older state": said(0, 0),
    "too high a state": said(2, 900),
    "dispute": Disputed("the answer hash differs", (receipt(ONE, 150),)),
    "close": CloseRequested(NOW),
    "own terms": proposal(80),
    "less": proposal(79),
    "too high terms": proposal(81),
    "late terms": proposal(80, valid_seconds=-1),
}

SAME = "same"
# Columns: open, running, draining, closing, closed, stopped.
TABLE: dict[str, tuple[str, str, str, str, str, str]] = {
    "hold more": ("open SaveBegun", "open", "draining", "draining", "draining", "wrong-amount"),
    "hold a new one": (
        "open SaveBegun",
        "open SaveBegun",
        "draining",
        "draining",
        "draining",
        "wrong-amount",
    ),
    "voucher due": (SAME, SAME, SAME, SAME, SAME, SAME),
    "charge": (
        "open SaveCharge",
        "open SaveCharge",
        "draining SaveCharge",
        "LocalProtocolError",
        "LocalProtocolError",
        "stopped SaveCharge",
    ),
    "release": (SAME, "open SaveReleased", "draining SaveReleased", SAME, SAME, "stopped SaveReleased"),
    "break": ("open SaveBroken", "open SaveBroken", "draining SaveBroken", SAME, SAME, "stopped SaveBroken"),
    "recover": (SAME, "open SaveCharge", "draining SaveCharge", SAME, SAME, "stopped SaveCharge"),
    "accepted": (
        SAME,
        "open SendVoucher",
        "draining SendVoucher",
        "closing SendCloseWanted",
        "closed SendCloseAgreed",
        SAME,
    ),
    "accepted without a voucher": (
        "open SendVoucher",
        "open SendVoucher",
        "draining SendVoucher",
        "closing SendCloseWanted",
        "closed SendCloseAgreed",
        SAME,
    ),
    "newer state": (
        "open SaveState",
        "open SaveState",
        "draining SaveState",
        "closing SaveState",
        "closed SaveState",
        "stopped SaveState",
    ),
    "older state": (SAME, SAME, SAME, SAME, SAME, SAME),
    "too high a state": (
        "stopped SaveState SaveStopped",
        "stopped SaveState SaveStopped",
        "stopped SaveState SaveStopped",
        "stopped SaveState SaveStopped",
        "closed SaveState",
        "stopped SaveState",
    ),
    "dispute": (
        "stopped SaveStopped",
        "stopped SaveStopped",
        "stopped SaveStopped",
        "stopped SaveStopped",
        SAME,
        SAME,
    ),
    "close": ("closing SignTerms SendCloseWanted", "draining", SAME, "closing SendCloseWanted", SAME, SAME),
    "own terms": (
        "closed SignTerms SendCloseAgreed",
        "draining SendRefused",
        "draining SendRefused",
        "closed SaveClosed",
        "closed SendCloseAgreed",
        "stopped SendRefused",
    ),
    "less": (
        "closed SignTerms SendCloseAgreed",
        "draining SendRefused",
        "draining SendRefused",
        "closing SendCloseWanted",
        SAME,
        "stopped SendRefused",
    ),
    "too high terms": (
        "open SendRefused",
        "draining SendRefused",
        "draining SendRefused",
        "closing SendCloseWanted",
        SAME,
        "stopped SendRefused",
    ),
    "late terms": (
        "open SendRefused",
        "draining SendRefused",
        "draining SendRefused",
        "closing SendCloseWanted",
        SAME,
        "stopped SendRefused",
    ),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_in_every_phase_does_what_the_table_says(phase: str, event: str) -> None:
    payer, expected = PHASES[phase], TABLE[event][list(PHASES).index(phase)]

    try:
        stepped, done = step(payer, EVENTS[event])
    except Refused as refusal:
        outcome = refusal.code
    except LocalProtocolError as error:
        outcome = type(error).__name__
    else:
        outcome = " ".join([stepped.phase.name.lower(), *(type(effect).__name__ for effect in done)])
        if stepped == payer and not done:
            outcome = SAME

    assert outcome == expected


# ---------------------------------------------------------------- holds and vouchers


def test_a_hold_is_covered_by_one_voucher_less_the_grant() -> None:
    held, begun = step(FRESH, HoldRaised(ONE, Nano(200)))
    due, done = step(held, VoucherDue())

    assert begun == (SaveBegun(ONE, Nano(200)),)
    assert done == (SignVoucher(Nano(150)), SendVoucher(Nano(150)))
    assert step(due, VoucherDue()) == (due, ())


def test_what_was_vouchered_too_much_covers_the_next_exchange() -> None:
    payer = after(HELD, charge(ONE, 20), HoldRaised(TWO, Nano(180)))

    assert step(payer, VoucherDue()) == (payer, ())
    assert after(payer, HoldRaised(TWO, Nano(181)), VoucherDue()).vouchered == 151


def test_a_hold_beyond_capacity_changes_nothing() -> None:
    assert after(FRESH, HoldRaised(ONE, Nano(CAPACITY + GRANT)), VoucherDue()).vouchered == CAPACITY

    with pytest.raises(Refused, match="short of 1 nanoTON"):
        step(FRESH, HoldRaised(ONE, Nano(CAPACITY + GRANT + 1)))


def test_no_more_exchanges_are_held_than_a_payee_can_run() -> None:
    payer = FRESH
    for number in range(RUNNING_MAX):
        payer, _ = step(payer, HoldRaised(ExchangeId(number.to_bytes(16)), Nano(0)))

    with pytest.raises(Refused, match="too many exchanges") as caught:
        step(payer, HoldRaised(ExchangeId(b"\xff" * 16), Nano(0)))

    assert caught.value.code == "no-capacity"


def test_a_charge_lets_go_of_what_was_held() -> None:
    payer, done = step(HELD, charge(ONE, 120))

    assert done == (SaveCharge(ONE, Nano(120), receipt(ONE, 120)),)
    assert (payer.charged, payer.held, payer.running) == (120, 0, {})


# ---------------------------------------------------------------- what the payee says


def test_while_something_runs_the_payee_may_be_ahead_by_what_it_had_credit_for() -> None:
    # Its state can overtake the paper of the exchange that it is about.
    assert after(HELD, said(1, 200)).phase is Phase.OPEN
    assert after(HELD, said(1, 201)).phase is Phase.STOPPED


def test_once_nothing_runs_the_payee_may_have_charged_no_more_than_we() -> None:
    ahead = after(HELD, said(1, 130))

    assert after(ahead, charge(ONE, 130)).phase is Phase.OPEN
    assert after(ahead, charge(ONE, 129)).phase is Phase.STOPPED
    assert names(ahead, charge(ONE, 129)) == ["SaveCharge", "SaveStopped"]
    assert after(ahead, ExchangeReleased(ONE)).phase is Phase.STOPPED


def test_a_payee_that_claims_less_than_we_reckon_is_left_alone() -> None:
    assert after(HELD, charge(ONE, 130), said(1, 100)).phase is Phase.OPEN


def test_two_states_with_one_number_stop_payments_and_both_are_kept() -> None:
    payer = after(HELD, said(1, 100))

    _, done = step(payer, said(1, 101))

    assert isinstance(done[0], SaveStopped)
    assert done[0].papers == (signed(state(1, 100)), signed(state(1, 101)))


def test_what_a_payee_has_charged_does_not_fall_while_nothing_runs() -> None:
    assert after(CHARGED, said(2, 79)).phase is Phase.STOPPED


def test_a_lost_voucher_is_sent_again() -> None:
    assert step(HELD, accepted(0, 0, returned=voucher(100)))[1][-1] == SendVoucher(Nano(150))
    assert step(HELD, accepted(0, 0))[1][-1] == SendVoucher(Nano(150))
    assert names(HELD, accepted(0, 0, returned=voucher(150))) == []


def test_a_voucher_of_ours_that_we_do_not_know_shows_that_our_ledger_is_old() -> None:
    payer = after(HELD, accepted(7, 380, returned=voucher(400)))

    # What was held in the old life has ended in the one that we forgot.
    assert (payer.vouchered, payer.charged, payer.held) == (400, 380, 0)
    assert payer.phase is Phase.OPEN
    assert names(HELD, accepted(7, 380, returned=voucher(400))) == [
        "SaveVoucher",
        "SaveRecovered",
        "SaveReleased",
        "SaveState",
    ]


def test_an_old_ledger_is_no_leave_to_charge_more_than_was_promised() -> None:
    assert after(HELD, accepted(7, 450, returned=voucher(400))).phase is Phase.OPEN
    assert after(HELD, accepted(7, 451, returned=voucher(400))).phase is Phase.STOPPED


@pytest.mark.parametrize("returned", [voucher(400, key=PAYER), voucher(400, epoch=2)])
def test_a_returned_voucher_that_is_not_ours_is_rejected(returned: Voucher) -> None:
    with pytest.raises(VoucherRejected):
        step(HELD, accepted(7, 0, returned=returned))


def test_papers_of_another_channel_break_the_protocol() -> None:
    other = replace(state(1, 0), channel=bytes(32))

    with pytest.raises(RemoteProtocolError, match="another channel"):
        step(HELD, StateReceived(other, signed(other)))
    with pytest.raises(RemoteProtocolError, match="another channel"):
        step(HELD, replace(proposal(0), terms=replace(terms(0), epoch=9)))


def test_a_smaller_grant_calls_for_a_voucher() -> None:
    payer = after(HELD, accepted(0, 0, returned=voucher(150), grant=0), VoucherDue())

    assert payer.vouchered == 200


# ---------------------------------------------------------------- closing


def test_a_close_is_proposed_at_what_was_charged_not_at_what_was_vouchered() -> None:
    payer = after(HELD, charge(ONE, 120), CloseRequested(NOW))

    assert payer.terms is not None
    assert (payer.terms.total, payer.terms.valid_until) == (120, NOW + 3600)


def test_no_voucher_is_due_once_close_terms_are_signed() -> None:
    closing = after(HELD, charge(ONE, 190), CloseRequested(NOW))

    assert closing.due > 0
    assert closing.vouchered == 150
    assert step(replace(closing, vouchered=Nano(0)), VoucherDue())[1] == ()


def test_a_debt_beyond_capacity_closes_at_capacity() -> None:
    payer = after(FRESH, HoldRaised(ONE, Nano(CAPACITY + GRANT)), charge(ONE, CAPACITY + GRANT))

    assert after(payer, CloseRequested(NOW)).close_total == CAPACITY
    assert after(payer, proposal(CAPACITY)).phase is Phase.CLOSED
    assert after(payer, proposal(CAPACITY + 1)).phase is Phase.OPEN


def test_terms_that_expired_unanswered_are_replaced() -> None:
    later = NOW + 3601
    closing = PHASES["closing"]

    assert names(closing, CloseRequested(later)) == ["SignTerms", "SendCloseWanted"]
    # ... and the payee's may be agreed to again.
    assert after(closing, proposal(70, valid_seconds=7200, now=later)).phase is Phase.CLOSED


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 400)), max_size=30),
)
def test_what_is_owed_and_held_is_always_covered_and_never_beyond_capacity(
    moves: list[tuple[int, int, int]],
) -> None:
    payer, ended = FRESH, set[ExchangeId]()
    for kind, which, amount in moves:
        exchange, before = ExchangeId(bytes([which]) * 16), payer.vouchered
        try:
            if kind <= 1 and exchange not in ended:
                payer = after(payer, HoldRaised(exchange, Nano(amount)))
            elif kind == 2 and amount <= payer.running.get(exchange, -1):
                ended.add(exchange)
                payer = after(payer, charge(exchange, amount))
            elif kind == 3:
                payer = after(payer, ExchangeReleased(exchange))
        except Refused:
            pass
        payer = after(payer, VoucherDue())

        assert payer.held == sum(payer.running.values())
        assert before <= payer.vouchered <= CAPACITY
        assert payer.vouchered >= payer.charged + payer.held - GRANT
