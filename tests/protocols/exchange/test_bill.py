"""Which charges a client accepts."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import network_id
from cocoon_p2p.protocols.exchange.bill import Bill, judge_settlement
from cocoon_p2p.protocols.exchange.delivery import NOTHING, Delivery
from cocoon_p2p.protocols.exchange.terms import Rules, judge_quote
from cocoon_p2p.protocols.ids import Kind, Outcome, Trust
from cocoon_p2p.protocols.messages import Ask, ChannelId, ExchangeId, Signed, Usage
from cocoon_p2p.testing.papers import make_deal, paper_identity, paper_worker
from cocoon_p2p.units import Nano

NETWORK = network_id("test")
NOW = 1_800_000_000.0
PROXY = paper_identity(1)
WORKER = paper_worker(NETWORK, now=NOW)
ASK = Ask(
    exchange=ExchangeId(b"exchange 16 byte"),
    model="scripted",
    kind=Kind.CHAT,
    prompt_tokens_max=100,
    completion_tokens_max=50,
    max_cost=10_000,
    deadline_ms=30_000,
    trust=Trust.OPEN,
    prefer=(),
    exclude=(),
    features=(),
    channel=ChannelId(bytes(32)),
)
DEAL = make_deal(ASK, worker=WORKER, proxy=PROXY, network=NETWORK, now=NOW)
TERMS = judge_quote(DEAL.quote, ask=ASK, proxy=PROXY.peer_id, network=NETWORK, rules=Rules(), now=NOW)
PROMPT = Usage(prompt=10, cached=5, completion=0, reasoning=0)
USAGE = replace(PROMPT, completion=7)
HASH = hashlib.sha256(b"chunks").digest()
WHOLE = Delivery(metered=PROMPT, usage=USAGE, chunks=2, is_complete=True, digest=hashlib.sha256(b"chunks"))
BROKEN = replace(WHOLE, is_complete=False)
UNBEGUN = Delivery(metered=PROMPT, usage=PROMPT)
EMPTY_HASH = hashlib.sha256(b"").digest()

# worker: (10 x 4 + 5 x 1 + 7 x 20) = 185; client: 185 x 1.05 = 194; without the prompt 140 and 147.


def judge(
    settlement: Signed,
    delivery: Delivery | None = WHOLE,
    *,
    was_cancelled: bool = False,
    amount_max: int = ASK.max_cost,
) -> Bill:
    return judge_settlement(
        settlement,
        terms=TERMS,
        delivery=delivery,
        was_cancelled=was_cancelled,
        amount_max=Nano(amount_max),
        proxy=PROXY.peer_id,
        network=NETWORK,
    )


def settle(usage: Usage = USAGE, answer_hash: bytes = HASH, **changes: Any) -> Signed:
    return DEAL.settle(usage, answer_hash=answer_hash, **changes)


def receipt(usage: Usage = USAGE, answer_hash: bytes = HASH, **changes: Any) -> Signed:
    return DEAL.receipt(usage, answer_hash=answer_hash, **changes)


def test_a_whole_answer_costs_what_was_delivered_and_the_commission() -> None:
    bill = judge(settle())

    assert bill.amount == 194
    assert bill.receipt is not None
    assert bill.usage == USAGE


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"exchange": bytes(16)}, "another exchange"),
        ({"quote_hash": bytes(32)}, "another exchange"),
        ({"worker_amount": 186}, r"wrong amount \(at_most=185 got=186 nanoTON\)"),
        ({"worker_amount": 186, "commission": 0}, "wrong amount"),
        ({"commission": 10}, "wrong amount"),
        ({"receipt": None}, "without a receipt"),
        ({"receipt": None, "meter": DEAL.meter(USAGE)}, "without a receipt"),
        ({"receipt": receipt(exchange=bytes(16))}, "receipt: of another exchange"),
        ({"receipt": receipt(quote_hash=bytes(32))}, "receipt: of another exchange"),
        ({"receipt": receipt(model="other")}, "another model"),
        ({"receipt": receipt(weights_hash=bytes(32))}, "another model"),
        ({"receipt": receipt(amount=186)}, "receipt: wrong amount"),
        ({"receipt": receipt(answer_hash=EMPTY_HASH)}, "another answer"),
        ({"receipt": receipt(outcome=Outcome.CANCELLED)}, "another outcome"),
        (
            {"receipt": receipt(replace(USAGE, completion=8)), "worker_amount": 205, "commission": 10},
            "not what",
        ),
    ],
)
def test_a_settlement_with_one_thing_wrong_is_not_accepted(lie: dict[str, Any], says: str) -> None:
    with pytest.raises(RecordRejected, match=says):
        judge(settle(**lie))


def test_a_proxy_may_ask_for_less_than_is_due() -> None:
    assert judge(settle(worker_amount=100, commission=5)).amount == 105


def test_a_receipt_that_the_worker_did_not_sign_is_not_accepted() -> None:
    forged = make_deal(
        ASK, worker=paper_worker(NETWORK, now=NOW, number=2), proxy=PROXY, network=NETWORK, now=NOW
    ).receipt(USAGE, answer_hash=HASH)

    with pytest.raises(RecordRejected, match="receipt: the signature"):
        judge(settle(receipt=forged))


def test_a_settlement_that_the_proxy_did_not_sign_is_not_accepted() -> None:
    other = make_deal(ASK, worker=WORKER, proxy=paper_identity(2), network=NETWORK, now=NOW)

    with pytest.raises(RecordRejected, match="settlement: the signature"):
        judge(other.settle(USAGE, answer_hash=HASH))


def test_completed_is_not_accepted_before_the_final_chunk() -> None:
    with pytest.raises(RecordRejected, match="not what was delivered"):
        judge(settle(), BROKEN)


def test_more_than_the_max_cost_is_not_accepted_even_if_the_papers_agree() -> None:
    assert judge(settle(), amount_max=194).amount == 194
    with pytest.raises(RecordRejected, match=r"above the limit \(limit=193 charged=194 nanoTON\)"):
        judge(settle(), amount_max=193)


def test_what_we_cancelled_costs_the_prompt_and_the_tokens_delivered() -> None:
    bill = judge(settle(outcome=Outcome.CANCELLED), BROKEN, was_cancelled=True)

    assert bill.amount == 194


def test_a_prompt_is_not_paid_for_when_the_other_side_breaks_the_answer_off_as_cancelled() -> None:
    with pytest.raises(RecordRejected, match="cancelled, but not by us"):
        judge(settle(outcome=Outcome.CANCELLED), BROKEN)


def test_a_cancelled_exchange_may_charge_less_of_the_prompt_than_was_metered() -> None:
    part = replace(NOTHING, prompt=4)

    bill = judge(settle(part, EMPTY_HASH, outcome=Outcome.CANCELLED), UNBEGUN, was_cancelled=True)

    assert bill.amount == 16


@pytest.mark.parametrize("field", ["prompt", "cached", "completion", "reasoning"])
def test_nothing_beyond_the_last_chunk_is_paid_for(field: str) -> None:
    more = replace(USAGE, **{field: getattr(USAGE, field) + 1})

    with pytest.raises(RecordRejected, match="more than was delivered"):
        judge(settle(more, outcome=Outcome.CANCELLED), BROKEN, was_cancelled=True)


def test_a_failed_exchange_costs_the_tokens_delivered_and_no_prompt() -> None:
    assert judge(settle(outcome=Outcome.FAILED), BROKEN).amount == 147


def test_a_failed_exchange_that_charges_the_prompt_is_not_accepted() -> None:
    with pytest.raises(RecordRejected, match="wrong amount"):
        judge(settle(outcome=Outcome.FAILED, worker_amount=185, commission=9), BROKEN)


def test_the_meter_of_a_worker_that_vanished_is_good_for_the_tokens_it_counts() -> None:
    settlement = settle(
        outcome=Outcome.FAILED,
        receipt=None,
        meter=DEAL.meter(replace(USAGE, completion=3)),
        worker_amount=60,
        commission=3,
    )

    assert judge(settlement, BROKEN).amount == 63


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"meter": DEAL.meter(USAGE, exchange=bytes(16))}, "meter: of another exchange"),
        ({"meter": DEAL.meter(USAGE, quote_hash=bytes(32))}, "meter: of another exchange"),
        ({"meter": receipt()}, "signature"),
        ({"meter": None}, "wrong amount"),
        ({"meter": DEAL.meter(USAGE), "outcome": Outcome.CANCELLED}, "only for a worker that failed"),
    ],
)
def test_a_settlement_by_a_meter_with_one_thing_wrong_is_not_accepted(lie: dict[str, Any], says: str) -> None:
    arguments: dict[str, Any] = {"outcome": Outcome.FAILED, "receipt": None, **lie}

    with pytest.raises(RecordRejected, match=says):
        judge(settle(**arguments), BROKEN)


def test_a_meter_beyond_the_last_chunk_is_not_paid_for() -> None:
    more = DEAL.meter(replace(USAGE, completion=8))

    with pytest.raises(RecordRejected, match="more than was delivered"):
        judge(
            settle(outcome=Outcome.FAILED, receipt=None, meter=more, worker_amount=160, commission=8), BROKEN
        )


def test_without_any_paper_nothing_is_owed() -> None:
    nothing = settle(NOTHING, outcome=Outcome.FAILED, receipt=None)

    assert judge(nothing, BROKEN).amount == 0


def test_after_a_loss_papers_that_agree_are_accepted_up_to_what_was_held() -> None:
    settlement = settle(outcome=Outcome.CANCELLED)

    assert judge(settlement, None, amount_max=194).amount == 194
    with pytest.raises(RecordRejected, match="above the limit"):
        judge(settlement, None, amount_max=193)
