"""What became of a payment is judged by what took the wallet's seqno, and by nothing that others can fake."""

from dataclasses import replace

import pytest

from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder
from cocoon_p2p.payments.chain import AccountSeen, Payment, Transaction
from cocoon_p2p.payments.wallet import SignedRequest, Transfer, Wallet, code, sign_request
from cocoon_p2p.payments.wallet.landing import (
    EXPIRY_MARGIN_SECONDS,
    Spending,
    Verdict,
    judge_free,
    judge_taken,
    left_out,
)
from cocoon_p2p.units import Nano
from tests.payments.wallets import KEY, NOW, OTHER, STRANGER

WALLET = Wallet(KEY.public_key, -3)
ONE = Transfer(STRANGER, Nano(5))
SEQNO, UNTIL = 7, NOW + 60


def signed(seqno: int = SEQNO, *, amount: int = 5, valid_until: int = UNTIL) -> SignedRequest:
    transfer = replace(ONE, amount=Nano(amount))
    return sign_request(KEY, WALLET, [transfer], seqno=seqno, valid_until=valid_until, deploy=False)


FIRST, LAST = signed(valid_until=UNTIL - 100), signed()
SPENDING = Spending(
    1, WALLET.account, (ONE,), since_lt=10, last=LAST, names=(FIRST.request.name, LAST.request.name)
)


def seen(seqno: int, *, at: int = NOW) -> AccountSeen:
    data = (
        Builder().uint(1, 1).uint(seqno, 32).uint(WALLET.wallet_id, 32).octets(WALLET.public_key).uint(0, 1)
    )
    return AccountSeen(WALLET.account, Nano(1), code(), write_boc(data.cell()), last_lt=20, at=at)


def done(message: bytes) -> Transaction:
    """What a wallet did on a request."""
    body = write_boc(read_one(message).references[-1])
    return Transaction(
        lt=11,
        hash=bytes(32),
        at=NOW,
        received=Payment(None, Nano(0), body),
        message_hash=bytes(32),
        sent=(Payment(STRANGER, Nano(5), b""),),
        fees=Nano(1),
        exit_code=0,
        is_aborted=False,
    )


@pytest.mark.parametrize(
    ("seqno", "at", "verdict"),
    [
        (SEQNO, NOW, Verdict.WAITING),
        (SEQNO, UNTIL + EXPIRY_MARGIN_SECONDS - 1, Verdict.WAITING),
        (SEQNO, UNTIL + EXPIRY_MARGIN_SECONDS, Verdict.EXPIRED),
        (SEQNO + 1, NOW, Verdict.UNKNOWN),
        (SEQNO + 1, UNTIL + EXPIRY_MARGIN_SECONDS, Verdict.UNKNOWN),
        (SEQNO - 1, UNTIL + EXPIRY_MARGIN_SECONDS, Verdict.UNKNOWN),
    ],
)
def test_a_free_seqno_is_waited_on_until_its_time_is_over(seqno: int, at: int, verdict: Verdict) -> None:
    assert judge_free(SPENDING, WALLET, seen(seqno, at=at)) is verdict


def test_each_request_that_was_ever_signed_counts_as_made() -> None:
    for request in (FIRST, LAST):
        judgement = judge_taken(SPENDING, [done(signed(SEQNO - 1).message), done(request.message)])

        assert judgement.verdict is Verdict.LANDED
        assert judgement.transaction == done(request.message)


def test_anothers_request_with_the_seqno_makes_ours_void() -> None:
    judgement = judge_taken(SPENDING, [done(signed(amount=6).message)])

    assert judgement.verdict is Verdict.TAKEN


def test_requests_with_other_seqnos_tell_nothing() -> None:
    others = [done(signed(seqno, amount=6).message) for seqno in (SEQNO - 1, SEQNO + 1)]

    assert judge_taken(SPENDING, others).verdict is Verdict.UNKNOWN
    assert judge_taken(SPENDING, []).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "fake",
    [
        # Money from an account, or from the masterchain; from there without money, so that nothing ran.
        replace(done(LAST.message), received=Payment(OTHER, Nano(1), done(LAST.message).received.body)),  # type: ignore[union-attr]  # it has one
        replace(done(LAST.message), received=Payment(None, Nano(1), done(LAST.message).received.body)),  # type: ignore[union-attr]  # likewise
        replace(done(LAST.message), exit_code=None),
        replace(done(LAST.message), received=None),
        replace(done(LAST.message), received=Payment(None, Nano(0), write_boc(Builder().cell()))),
    ],
    ids=["an account's", "the masterchain's", "without money", "nobody's", "an empty one"],
)
def test_a_message_that_only_repeats_a_request_tells_nothing(fake: Transaction) -> None:
    assert judge_taken(SPENDING, [fake]).verdict is Verdict.UNKNOWN


def test_what_was_left_out_is_found_wherever_it_stood() -> None:
    a, b, c = (Transfer(STRANGER, Nano(1)), Transfer(OTHER, Nano(2)), Transfer(STRANGER, Nano(3)))
    sent = {transfer: Payment(transfer.to, transfer.amount or Nano(0), b"") for transfer in (a, b, c)}

    assert left_out([a, b, c], [sent[a], sent[b], sent[c]]) == ()
    assert left_out([a, b, c], [sent[a], sent[c]]) == (b,)
    assert left_out([a, b, c], [sent[c]]) == (a, b)
    assert left_out([a, b, c], []) == (a, b, c)
    assert left_out([a, a], [sent[a]]) == (a,)
    assert left_out([Transfer(STRANGER, None)], [sent[c]]) == ()
    assert left_out([Transfer(STRANGER, None)], [sent[b]]) == (Transfer(STRANGER, None),)


def test_a_request_that_says_the_same_is_another_by_its_nonce() -> None:
    other = sign_request(
        KEY, WALLET, [ONE], seqno=SEQNO, valid_until=UNTIL, deploy=False, nonce=(1 << 64) - 1
    )

    assert judge_taken(SPENDING, [done(other.message)]).verdict is Verdict.TAKEN
