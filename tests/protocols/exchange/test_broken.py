"""What a payer may show of an exchange that broke, and what it comes to."""

from dataclasses import replace

import pytest

from cocoon_p2p.errors import RecordRejected, RemoteProtocolError
from cocoon_p2p.payments.pricing import owed_usage, worker_amount
from cocoon_p2p.protocols.exchange.broken import is_far_below, lower_receipt, read_shown
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import ExchangeId, Meter, PaperWanted, Quote, Usage
from cocoon_p2p.protocols.papers import Paper, sign
from tests.protocols.samples import (
    CLIENT,
    EXCHANGE,
    METER,
    NETWORK,
    PRICE,
    PROXY,
    QUOTE,
    RECEIPT,
    SIGNED_METER,
    SIGNED_QUOTE,
    USAGES,
    WORKER,
)

WANTED = PaperWanted(EXCHANGE, SIGNED_QUOTE, SIGNED_METER)
OTHER = ExchangeId(bytes(16))


def metered(usage: Usage) -> PaperWanted:
    return replace(WANTED, meter=sign(WORKER, NETWORK, replace(METER, usage=usage)))


def test_the_tokens_of_a_meter_are_owed_and_its_prompt_is_not() -> None:
    shown = read_shown(WANTED, proxy=PROXY.peer_id, network=NETWORK)

    assert shown.amount == worker_amount(owed_usage(USAGES[1], Outcome.FAILED), PRICE) > 0
    assert (shown.usage.prompt, shown.usage.cached) == (0, 0)
    assert shown.worker == WORKER.peer_id


def test_without_a_meter_nothing_is_owed() -> None:
    assert read_shown(replace(WANTED, meter=None), proxy=PROXY.peer_id, network=NETWORK).amount == 0


def by(identity: object, paper: Paper) -> PaperWanted:
    signed = sign(identity, NETWORK, paper)  # type: ignore[arg-type]  # always an Identity
    return replace(WANTED, **{"quote" if isinstance(paper, Quote) else "meter": signed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(replace(WANTED, quote=None), id="a meter alone"),
        pytest.param(by(CLIENT, QUOTE), id="a quote that the proxy did not sign"),
        pytest.param(by(PROXY, replace(QUOTE, exchange=OTHER)), id="a quote for another exchange"),
        pytest.param(by(PROXY, replace(QUOTE, price=replace(PRICE, prompt=1))), id="a price of nobody's"),
        pytest.param(by(PROXY, METER), id="a meter that the worker did not sign"),
        pytest.param(by(WORKER, replace(METER, exchange=OTHER)), id="a meter of another exchange"),
        pytest.param(by(WORKER, Meter(EXCHANGE, bytes(32), USAGES[1])), id="a meter under another quote"),
    ],
)
def test_papers_that_do_not_belong_together_are_rejected(wanted: PaperWanted) -> None:
    with pytest.raises(RemoteProtocolError):
        read_shown(wanted, proxy=PROXY.peer_id, network=NETWORK)


def test_a_receipt_is_lowered_to_what_was_seen_and_not_again() -> None:
    shown = read_shown(WANTED, proxy=PROXY.peer_id, network=NETWORK)

    lowered = lower_receipt(shown, RECEIPT)

    assert lowered is not None
    assert (lowered.amount, lowered.usage, lowered.outcome) == (shown.amount, shown.usage, Outcome.FAILED)
    assert lowered.answer_hash == RECEIPT.answer_hash
    assert lower_receipt(shown, lowered) is None


def test_a_receipt_is_never_raised() -> None:
    shown = read_shown(metered(Usage(31, 8, 10_000, 0)), proxy=PROXY.peer_id, network=NETWORK)

    assert shown.amount > RECEIPT.amount
    assert lower_receipt(shown, RECEIPT) is None


def test_a_receipt_under_another_quote_stays() -> None:
    shown = read_shown(WANTED, proxy=PROXY.peer_id, network=NETWORK)

    with pytest.raises(RecordRejected, match="not the one that the exchange ran under"):
        lower_receipt(shown, replace(RECEIPT, quote_hash=bytes(32)))


@pytest.mark.parametrize(("shown_tokens", "is_far"), [(200, False), (136, False), (135, True), (0, True)])
def test_a_meter_more_than_a_window_behind_is_far_below(shown_tokens: int, is_far: bool) -> None:
    shown = read_shown(metered(Usage(31, 8, shown_tokens, 0)), proxy=PROXY.peer_id, network=NETWORK)

    assert is_far_below(shown, replace(RECEIPT, usage=Usage(31, 8, 200, 0))) is is_far
