"""What a client pays: it judges a proxy's settlement before it books the charge.

The papers inside are held against each other, against the terms that were agreed on, and
against what was delivered.

Spec: protocols/exchange.md (Who checks what: Settled; Amounts; Cancel and loss).
"""

from dataclasses import dataclass

from cocoon_p2p.errors import Miscounted, RecordRejected
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.payments.pricing import client_amount, owed_usage, worker_amount
from cocoon_p2p.protocols.exchange.delivery import NOTHING, Delivery
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import Meter, Receipt, Settlement, Signed, Usage
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.units import Nano


@dataclass(frozen=True, slots=True)
class Bill:
    """A settlement that was accepted."""

    signed: Signed
    settlement: Settlement
    receipt: Receipt | None
    usage: Usage
    "What the worker signed for."

    amount: Nano
    "What the client owes for the exchange, commission included."


def judge_settlement(
    signed: Signed,
    *,
    terms: Terms,
    delivery: Delivery | None,
    was_cancelled: bool,
    amount_max: Nano,
    proxy: PeerId,
    network: NetworkId,
    prompt_tokens_max: int | None = None,
) -> Bill:
    """Decide whether to accept a charge.

    Args:
        signed: The settlement as it came.
        terms: What was agreed on.
        delivery: What we were given; None if we lost sight of it, because the connection broke
            and chunks may have been lost on it.
        was_cancelled: Whether we cancelled, or our deadline has passed: only then may a prompt be
            charged without its answer.
        amount_max: The most we pay, whatever the papers say: the Ask's max cost, or what we held
            for the exchange when we lost sight of it.
        proxy: Who must have signed the settlement.
        network: The network that all papers must be for.
        prompt_tokens_max: How many tokens the prompt can have, as far as we know by ourselves.

    Raises:
        Miscounted: The counts are not those of what we were given, or cannot be.
        RecordRejected, MalformedMessage: The charge is not what the rules say. Nothing is owed
            for now; both papers are worth keeping.
    """
    settlement = check(Settlement, signed, signer=proxy, network=network)
    if settlement.exchange != terms.quote.exchange or settlement.quote_hash != terms.quote_hash:
        raise RecordRejected("settlement: of another exchange")
    receipt = read_receipt(settlement, terms, network)
    usage = receipt.usage if receipt is not None else read_metered(settlement, terms, network)
    due = worker_amount(owed_usage(usage, settlement.outcome), terms.quote.price)
    check_worker_amount(settlement, receipt, due)
    check_commission(settlement, due, terms.quote.commission_basis_points)
    amount = Nano(settlement.worker_amount + settlement.commission)
    if prompt_tokens_max is not None and (tokens := usage.prompt + usage.cached) > prompt_tokens_max:
        raise Miscounted(
            f"settlement: more prompt tokens than it can have (limit={prompt_tokens_max} got={tokens})",
            is_by_worker=True,
        )
    if receipt is not None and receipt.continues != terms.continues:
        raise RecordRejected("receipt: continues another exchange than was asked for")
    if delivery is not None:
        _check_delivery(settlement, receipt, usage, delivery)
        is_prompt_charged = usage.prompt + usage.cached > 0
        if settlement.outcome is Outcome.CANCELLED and is_prompt_charged and not was_cancelled:
            # Else a proxy could break answers off and be paid for their prompts.
            raise RecordRejected("settlement: cancelled, but not by us")
    if amount > amount_max:
        raise RecordRejected(f"settlement: above the limit (limit={amount_max} charged={amount} nanoTON)")
    return Bill(signed, settlement, receipt, usage, amount)


def read_receipt(settlement: Settlement, terms: Terms, network: NetworkId) -> Receipt | None:
    """Verify and read the worker's receipt inside a settlement, if it has one. Raises `RecordRejected`."""
    if settlement.receipt is None:
        return None
    receipt = check(Receipt, settlement.receipt, signer=terms.worker, network=network)
    if receipt.exchange != terms.quote.exchange or receipt.quote_hash != terms.quote_hash:
        raise RecordRejected("receipt: of another exchange")
    if receipt.model != terms.offer.name or receipt.weights_hash != terms.offer.weights_hash:
        raise RecordRejected("receipt: of another model")
    if receipt.outcome is not settlement.outcome:
        raise RecordRejected("settlement: another outcome than the receipt's")
    return receipt


def read_metered(settlement: Settlement, terms: Terms, network: NetworkId) -> Usage:
    """Verify and read the paper of a worker that vanished; without one nothing is owed.

    Raises:
        RecordRejected: The worker did not sign it, it is of another exchange, or it cannot stand here.
    """
    if settlement.outcome is Outcome.COMPLETED:
        raise RecordRejected("settlement: completed, but without a receipt")
    if settlement.meter is None:
        return NOTHING
    meter = check(Meter, settlement.meter, signer=terms.worker, network=network)
    if meter.exchange != terms.quote.exchange or meter.quote_hash != terms.quote_hash:
        raise RecordRejected("meter: of another exchange")
    if settlement.outcome is not Outcome.FAILED:
        raise RecordRejected("settlement: a meter stands only for a worker that failed")
    return meter.usage


def check_worker_amount(settlement: Settlement, receipt: Receipt | None, due: Nano) -> None:
    """Hold what the worker gets against what is due to it. Raises `RecordRejected`."""
    if receipt is not None and receipt.amount != due:
        raise Miscounted(
            f"receipt: wrong amount (expected={due} got={receipt.amount} nanoTON)", is_by_worker=True
        )
    # A proxy may ask for less: it bears the loss where it let a worker run ahead of our credit.
    if settlement.worker_amount > due:
        raise RecordRejected(
            f"settlement: wrong amount (at_most={due} got={settlement.worker_amount} nanoTON)"
        )


def check_commission(settlement: Settlement, due: Nano, basis_points: int) -> None:
    """Hold what the client is charged, all told, against what was quoted. Raises `RecordRejected`."""
    worker, commission = settlement.worker_amount, settlement.commission
    most = client_amount(due, basis_points)
    if worker + commission > most:
        raise RecordRejected(
            f"settlement: wrong amount (at_most={due}+{most - due} got={worker}+{commission} nanoTON)"
        )


def _check_delivery(
    settlement: Settlement, receipt: Receipt | None, usage: Usage, delivery: Delivery
) -> None:
    is_whole = delivery.is_complete and usage == delivery.usage
    # The worker signed for the very chunks that we have; with others a proxy may have held some back.
    is_by_worker = receipt is not None and receipt.answer_hash == delivery.answer_hash
    if settlement.outcome is Outcome.COMPLETED and not is_whole:
        raise Miscounted("settlement: completed, but not what was delivered", is_by_worker=is_by_worker)
    if not is_within(usage, delivery.usage):
        raise Miscounted("settlement: for more than was delivered", is_by_worker=is_by_worker)
    if receipt is not None and receipt.answer_hash != delivery.answer_hash:
        raise RecordRejected("receipt: of another answer")


def is_within(usage: Usage, limit: Usage) -> bool:
    """Whether no class of tokens counts more than in `limit`."""
    return (
        usage.prompt <= limit.prompt
        and usage.cached <= limit.cached
        and usage.completion <= limit.completion
        and usage.reasoning <= limit.reasoning
    )
