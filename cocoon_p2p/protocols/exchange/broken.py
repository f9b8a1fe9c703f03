"""What a payer shows of an exchange whose hop was lost, and what is owed by it. Pure.

The worker counts what it sent, the payer what came. The newest Meter that the payer has is what
both can prove, so it decides: the tokens in it are owed, the prompt and everything after it are not.

Spec: protocols/exchange.md (Cancel and loss), protocols/channel.md (Papers).
"""

import hashlib
from dataclasses import dataclass

from cocoon_p2p.errors import MalformedMessage, RecordRejected
from cocoon_p2p.frozen import replace
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.payments.pricing import owed_usage, worker_amount
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import (
    Meter,
    ModelOffer,
    PaperWanted,
    Quote,
    Receipt,
    Record,
    Signed,
    Usage,
)
from cocoon_p2p.protocols.papers import check, check_own, paper_hash
from cocoon_p2p.units import Nano

_NOTHING = Usage(prompt=0, cached=0, completion=0, reasoning=0)


@dataclass(frozen=True, slots=True)
class Shown:
    """A quote and the newest Meter of one exchange, verified and read."""

    quote: Quote
    quote_signed: Signed
    quote_hash: bytes
    worker: PeerId
    offer: ModelOffer
    "One of the worker's, at the quote's price."

    usage: Usage
    "What is owed for: the Meter's tokens, without the prompt."

    amount: Nano
    "What the worker is owed."

    meter: Signed | None
    "None: nothing was delivered."


def read_shown(wanted: PaperWanted, *, proxy: PeerId, network: NetworkId) -> Shown:
    """Verify what a payer shows.

    Args:
        wanted: What it asks, with a quote.
        proxy: Who must have signed the quote.
        network: The network that all papers must be for.

    Raises:
        RecordRejected, MalformedMessage: A paper is not by who should have signed it, or they are not
            of one exchange.
    """
    if wanted.quote is None:
        raise MalformedMessage("a meter is shown without its quote")
    quote = check(Quote, wanted.quote, signer=proxy, network=network)
    if quote.exchange != wanted.exchange:
        raise RecordRejected("quote: for another exchange")
    record = check_own(Record, quote.worker_record, network=network)
    offer = next((offer for offer in record.models if offer.price == quote.price), None)
    if offer is None:
        raise RecordRejected("quote: the price is not the record's")
    quote_hash, worker, usage = paper_hash(wanted.quote), PeerId(record.peer), _NOTHING
    if wanted.meter is not None:
        meter = check(Meter, wanted.meter, signer=worker, network=network)
        if meter.exchange != wanted.exchange or meter.quote_hash != quote_hash:
            raise RecordRejected("meter: of another exchange")
        usage = owed_usage(meter.usage, Outcome.FAILED)
    amount = worker_amount(usage, quote.price)
    return Shown(quote, wanted.quote, quote_hash, worker, offer, usage, amount, wanted.meter)


def is_far_below(shown: Shown, receipt: Receipt) -> bool:
    """Say whether a payer shows so little that it must have had more: more than a window is missing."""
    missing = receipt.usage.completion - shown.usage.completion
    return missing + receipt.usage.reasoning - shown.usage.reasoning > shown.quote.window_tokens


def lower_receipt(shown: Shown, receipt: Receipt) -> Receipt | None:
    """Bring a worker's receipt down to what its payer saw.

    Returns:
        The receipt that replaces it; None if it is not above what is shown: then it stands.

    Raises:
        RecordRejected: It is for another quote.
    """
    if receipt.quote_hash != shown.quote_hash:
        raise RecordRejected("quote: not the one that the exchange ran under")
    if receipt.amount <= shown.amount:
        return None
    return replace(receipt, usage=shown.usage, amount=shown.amount, outcome=Outcome.FAILED)


def receipt_by_meter(shown: Shown, amount: Nano, *, engine: str, now_ms: int) -> Receipt:
    """Make the receipt of an exchange of which a crash left nothing to its worker but the Meter shown.

    Args:
        shown: What the payer has.
        amount: What is charged: what is owed, as far as there is credit.
        engine: What the worker runs now.
        now_ms: Milliseconds since the Unix epoch.
    """
    return Receipt(
        exchange=shown.quote.exchange,
        quote_hash=shown.quote_hash,
        model=shown.offer.name,
        weights_hash=shown.offer.weights_hash,
        engine=engine,
        usage=shown.usage,
        amount=amount,
        # What was answered is not known any more.
        answer_hash=hashlib.sha256().digest(),
        started_ms=now_ms,
        ended_ms=now_ms,
        outcome=Outcome.FAILED,
    )
