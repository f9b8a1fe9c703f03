from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import LocalProtocolError, Refused, RemoteProtocolError, VoucherRejected
from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.events import (
    AccruedRaised,
    CloseRequested,
    ExchangeCharged,
    ExchangeLowered,
    ExchangeReleased,
    GrantChanged,
    OwnStateReturned,
    PayeeEvent,
    SaveCharge,
    SaveRecovered,
    SendState,
    SignState,
    TermsReceived,
    VoucherReceived,
    VoucherSaved,
)
from cocoon_p2p.payments.payee import Payee, covers, opened, step
from cocoon_p2p.protocols.ids import RUNNING_MAX
from cocoon_p2p.protocols.messages import CloseWanted, ExchangeId
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

FRESH = opened(CHANNEL, Nano(50))


def after(payee: Payee, *events: PayeeEvent) -> Payee:
    for event in events:
        payee, _ = step(payee, event)
    return payee


def effects(payee: Payee, event: PayeeEvent) -> list[str]:
    return [type(effect).__name__ for effect in step(payee, event)[1]]


def vouchered(total: int) -> tuple[PayeeEvent, ...]:
    return VoucherReceived(voucher(total)), VoucherSaved(Nano(total))


def proposal(total: int, *, valid_seconds: int = 3600) -> TermsReceived:
    paper = terms(total, valid_seconds=valid_seconds)
    return TermsReceived(paper, CloseWanted(signed(paper, by=PAYER)), NOW)


OPEN = after(FRESH, *vouchered(300))
RUNNING = after(OPEN, AccruedRaised(ONE, Nano(100)))
CLOSING = after(OPEN, CloseRequested(NOW))

# One exchange has been charged, another may run.
CHARGED = after(OPEN, AccruedRaised(TWO, Nano(30)), ExchangeCharged(TWO, Nano(30), receipt(TWO, 30)))
PHASES = {
    "open": CHARGED,
    "running": after(CHARGED, AccruedRaised(ONE, Nano(100))),
    "draining": after(CHARGED, AccruedRaised(ONE, Nano(100)), CloseRequested(NOW)),
    "closing": after(CHARGED, CloseRequested(NOW)),
    "closed": after(CHARGED, proposal(30)),
}
EVENTS: dict[str, PayeeEvent] = {
    "grant": GrantChanged(Nano(70)),
    "voucher": VoucherReceived(voucher(400)),
    "old voucher": VoucherReceived(voucher(300)),
    "saved": VoucherSaved(Nano(400)),
    "more of one": AccruedRaised(ONE, Nano(120)),
    "a new one": AccruedRaised(THREE, Nano(10)),
    "charge": ExchangeCharged(ONE, Nano(90), receipt(ONE, 90)),
    "release": ExchangeReleased(ONE),
    "lower": ExchangeLowered(TWO, Nano(30), Nano(10), receipt(TWO, 10)),
    "own state": OwnStateReturned(CHARGED.state),
    "newer own state": OwnStateReturned(state(7, 80)),
    "close": CloseRequested(NOW),
    "own terms": proposal(30),
    "other fair terms": proposal(31),
    "low terms": proposal(29),
    "late terms": proposal(30, valid_seconds=-1),
}

SAME = "same"
TABLE: dict[str, dict[str, str]] = {
    "grant": {
        "open": "open",
        "running": "open",
        "draining": "draining",
        "closing": "closing",
        "closed": "closed",
    },
    "voucher": {
        "open": "open SaveVoucher",
        "running": "open SaveVoucher",
        "draining": "draining SaveVoucher",
        "closing": "closing SaveVoucher",
        "closed": SAME,
    },
    "old voucher": {"open": SAME, "running": SAME, "draining": SAME, "closing": SAME, "closed": SAME},
    "saved": {
        "open": "open",
        "running": "open",
        "draining": "draining",
        "closing": "closing",
        "closed": "closed",
    },
    "more of one": {
        "open": "open",
        "running": "open",
        "draining": "draining",
        "closing": "Refused",
        "closed": "Refused",
    },
    "a new one": {
        "open": "open",
        "running": "open",
        "draining": "Refused",
        "closing": "Refused",
        "closed": "Refused",
    },
    "charge": {
        "open": "open SaveCharge SignState SendState",
        "running": "open SaveCharge SignState SendState",
        "draining": "draining SaveCharge SignState SendState",
        "closing": "LocalProtocolError",
        "closed": "LocalProtocolError",
    },
    "release": {"open": SAME, "running": "open", "draining": "draining", "closing": SAME, "closed": SAME},
    "own state": {"open": SAME, "running": SAME, "draining": SAME, "closing": SAME, "closed": SAME},
    "newer own state": {
        "open": "open SaveRecovered SignState SendState",
        "running": "open SaveRecovered SignState SendState",
        "draining": "draining SaveRecovered SignState SendState",
        "closing": "closing SaveRecovered SignState SendState",
        "closed": SAME,
    },
    "close": {
        "open": "closing SignTerms SendCloseWanted",
        "running": "draining",
        "draining": SAME,
        "closing": "closing SendCloseWanted",
        "closed": SAME,
    },
    "lower": {
        "open": "open SaveLowered SignState SendState",
        "running": "open SaveLowered SignState SendState",
        "draining": "draining SaveLowered SignState SendState",
        "closing": "closing SaveLowered SignState SendState",
        "closed": "LocalProtocolError",
    },
    "other fair terms": {
        "open": "closed SignTerms SendCloseAgreed",
        "running": "draining SendRefused",
        "draining": "draining SendRefused",
        "closing": "closed SignTerms SendCloseAgreed",
        "closed": SAME,
    },
    "low terms": {
        "open": "open SendRefused",
        "running": "draining SendRefused",
        "draining": "draining SendRefused",
        "closing": "closing SendRefused",
        "closed": SAME,
    },
    "own terms": {
        "open": "closed SignTerms SendCloseAgreed",
        "running": "draining SendRefused",
        "draining": "draining SendRefused",
        "closing": "closed SaveClosed",
        "closed": "closed SendCloseAgreed",
    },
    "late terms": {
        "open": "open SendRefused",
        "running": "draining SendRefused",
        "draining": "draining SendRefused",
        "closing": "closing SendRefused",
        "closed": SAME,
    },
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_in_every_phase_does_what_the_table_says(phase: str, event: str) -> None:
    payee, expected = PHASES[phase], TABLE[event][phase]

    try:
        stepped, done = step(payee, EVENTS[event])
    except (Refused, LocalProtocolError) as exc:
        outcome = type(exc).__name__
    else:
        names = [type(effect).__name__ for effect in done]
        outcome = " ".join([stepped.phase.name.lower(), *names])
        if stepped == payee and not done:
            outcome = SAME

    assert outcome == expected


def test_a_voucher_counts_only_once_it_is_saved() -> None:
    received, _ = step(FRESH, VoucherReceived(voucher(300)))

    assert received.credit == FRESH.credit == 50
    assert after(received, VoucherSaved(Nano(300))).credit == 350


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (voucher(CAPACITY + 1), "above the channel's capacity"),
        (voucher(400, key=Identity.from_seed(bytes(32))), "another key"),
        (voucher(400, epoch=2), "another epoch"),
        (replace(voucher(400), channel=bytes(32)), "another channel"),
        (replace(voucher(400), total=500), "another key"),
    ],
)
def test_a_voucher_that_cannot_be_claimed_is_rejected(bad: object, why: str) -> None:
    with pytest.raises(VoucherRejected, match=why):
        step(OPEN, VoucherReceived(bad))  # type: ignore[arg-type]


def test_a_forged_voucher_below_the_best_one_is_not_worth_a_check() -> None:
    assert step(OPEN, VoucherReceived(voucher(299, key=PAYER))) == (OPEN, ())


def test_work_goes_on_exactly_as_far_as_credit_covers() -> None:
    assert covers(OPEN, ONE, Nano(350))
    assert not covers(OPEN, ONE, Nano(351))
    assert step(OPEN, AccruedRaised(ONE, Nano(350)))[0].credit == 0

    with pytest.raises(Refused, match="short of 1 nanoTON"):
        step(OPEN, AccruedRaised(ONE, Nano(351)))


def test_what_one_exchange_accrued_is_not_there_for_another() -> None:
    assert covers(RUNNING, TWO, Nano(250))
    assert not covers(RUNNING, TWO, Nano(251))
    # ... but an exchange has what it accrued already.
    assert covers(RUNNING, ONE, Nano(350))


def test_accrued_never_falls_while_an_exchange_runs() -> None:
    assert step(RUNNING, AccruedRaised(ONE, Nano(40)))[0] == RUNNING


def test_a_charge_makes_one_state_that_counts_it() -> None:
    paper = receipt(ONE, 90)

    payee, done = step(RUNNING, ExchangeCharged(ONE, Nano(90), paper))

    expected = replace(RUNNING.state, sequence=1, vouchered=300, charged=90)
    assert done == (
        SaveCharge(ONE, Nano(90), paper),
        SignState(expected),
        SendState(expected),
    )
    assert (payee.charged, payee.accrued, payee.credit) == (90, 0, 260)


def test_a_state_names_what_still_runs() -> None:
    payee = after(RUNNING, AccruedRaised(TWO, Nano(5)), ExchangeCharged(ONE, Nano(1), receipt(ONE, 1)))

    assert [(running.exchange, running.accrued) for running in payee.state.running] == [(TWO, 5)]


def test_a_charge_beyond_what_was_accrued_needs_credit_for_the_rest() -> None:
    covered = ExchangeCharged(ONE, Nano(350), receipt(ONE, 350))
    assert after(RUNNING, covered).credit == 0

    with pytest.raises(LocalProtocolError):
        step(RUNNING, ExchangeCharged(ONE, Nano(351), receipt(ONE, 351)))


def test_what_was_accrued_is_charged_even_after_the_grant_was_cut() -> None:
    cut = after(FRESH, AccruedRaised(ONE, Nano(50)), GrantChanged(Nano(0)))

    assert cut.credit == -50
    assert after(cut, ExchangeCharged(ONE, Nano(50), receipt(ONE, 50))).charged == 50


def test_no_more_exchanges_run_than_a_state_can_name() -> None:
    payee = FRESH
    for number in range(RUNNING_MAX):
        payee, _ = step(payee, AccruedRaised(ExchangeId(number.to_bytes(16)), Nano(0)))

    with pytest.raises(Refused, match="too many exchanges") as caught:
        step(payee, AccruedRaised(ExchangeId(b"\xff" * 16), Nano(0)))

    assert caught.value.code == "no-capacity"


def test_a_forgotten_state_of_our_own_is_taken_up_and_surpassed() -> None:
    payee, done = step(OPEN, OwnStateReturned(state(7, 80)))

    assert done[0] == SaveRecovered(Nano(80))
    assert (payee.state.sequence, payee.charged) == (8, 80)


def test_a_forgotten_state_never_lowers_what_we_charged() -> None:
    charged = after(RUNNING, ExchangeCharged(ONE, Nano(90), receipt(ONE, 90)))

    payee, done = step(charged, OwnStateReturned(state(7, 80)))

    assert done[0] == SaveRecovered(Nano(0))
    assert (payee.state.sequence, payee.charged) == (8, 90)


def test_close_terms_must_pay_what_was_charged() -> None:
    charged = after(RUNNING, ExchangeCharged(ONE, Nano(90), receipt(ONE, 90)))

    assert effects(charged, proposal(89)) == ["SendRefused"]
    assert effects(charged, proposal(CAPACITY + 1)) == ["SendRefused"]
    assert after(charged, proposal(90)).phase is Phase.CLOSED
    assert after(charged, proposal(95)).phase is Phase.CLOSED


def test_a_close_is_asked_for_at_what_was_charged_though_more_was_vouchered() -> None:
    charged = after(RUNNING, ExchangeCharged(ONE, Nano(90), receipt(ONE, 90)), CloseRequested(NOW))

    assert charged.terms is not None
    assert (charged.terms.total, charged.terms.valid_until) == (90, NOW + 3600)


def test_a_debt_beyond_capacity_closes_at_capacity() -> None:
    payee = after(
        opened(CHANNEL, Nano(CAPACITY + 500)),
        AccruedRaised(ONE, Nano(CAPACITY + 100)),
        ExchangeCharged(ONE, Nano(CAPACITY + 100), receipt(ONE, CAPACITY + 100)),
    )

    assert payee.close_total == CAPACITY
    assert after(payee, proposal(CAPACITY)).phase is Phase.CLOSED


def test_expired_terms_of_ours_are_replaced() -> None:
    again = after(CLOSING, CloseRequested(NOW + 3601))

    assert again.terms is not None
    assert again.terms.valid_until == NOW + 7201


@pytest.mark.parametrize(
    "event",
    [
        OwnStateReturned(replace(state(3, 0), channel=bytes(32))),
        TermsReceived(replace(terms(0), epoch=9), CloseWanted(signed(terms(0), by=PAYER)), NOW),
    ],
)
def test_papers_of_another_channel_break_the_protocol(event: PayeeEvent) -> None:
    with pytest.raises(RemoteProtocolError, match="another channel"):
        step(OPEN, event)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), max_size=30))
def test_credit_is_conserved(moves: list[tuple[int, int]]) -> None:
    payee, vouchers, charged = FRESH, 0, 0
    for kind, number in moves:
        exchange = ExchangeId(bytes([number % 4]) * 16)
        if kind == 0:
            vouchers = max(vouchers, number)
            payee = after(payee, *vouchered(number))
        elif kind == 1 and covers(payee, exchange, Nano(number)):
            payee = after(payee, AccruedRaised(exchange, Nano(number)))
        elif kind == 2 and number <= payee.running.get(exchange, 0):
            charged += number
            payee = after(payee, ExchangeCharged(exchange, Nano(number), receipt(exchange, number)))
        elif kind == 3:
            payee = after(payee, ExchangeReleased(exchange))

        assert payee.accrued == sum(payee.running.values())
        assert payee.credit == vouchers + 50 - charged - payee.accrued >= 0
