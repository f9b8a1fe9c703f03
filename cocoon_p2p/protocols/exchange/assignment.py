"""Whether a worker takes what a proxy assigns to it, as a pure function.

What only a broken or lying proxy can send is an error; what an honest one can send at the
wrong moment is refused, with the reason.

Spec: protocols/exchange.md (Who checks what: Assign).
"""

from dataclasses import dataclass

from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.payments.pricing import amount_max_for_worker
from cocoon_p2p.protocols.ids import DEADLINE_MAX_SECONDS, Reason
from cocoon_p2p.protocols.messages import (
    Assign,
    ExchangeId,
    ModelOffer,
    Quote,
    Receipted,
    Record,
    Refused,
    Signed,
)
from cocoon_p2p.protocols.papers import check, paper_hash
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.units import Nano


@dataclass(frozen=True, slots=True)
class Standing:
    """How the worker stands with the proxy that assigns, at the moment of the Assign."""

    network: NetworkId
    proxy: PeerId
    "Who is at the other end of the stream, as the secure channel proved."

    records: tuple[Signed, ...]
    "Our own records that have not expired, the newest last. Never empty."

    slots_free: int
    is_draining: bool
    is_channel_known: bool
    "Whether this proxy pays through the channel that the Assign names."

    is_running: bool
    "Whether an exchange with this id runs on that channel."

    receipt: Signed | None
    "The receipt of the exchange with this id, where it has ended."


@dataclass(frozen=True, slots=True)
class Job:
    """An assignment that was taken: what stays the same until the exchange ends."""

    assign: Assign
    quote_hash: bytes
    offer: ModelOffer
    "The model, as the record in the quote offers it: its price is this exchange's."

    amount_max: Nano
    "The most that may be earned by it."

    started: float
    deadline: float

    @property
    def exchange(self) -> ExchangeId:
        return self.assign.exchange


def judge(assign: Assign, standing: Standing, now: float) -> Job | Refused | Receipted:
    """Decide on an assignment.

    Args:
        assign: What the proxy sent.
        standing: Everything that the decision depends on besides.
        now: When it came.

    Returns:
        The job, or the one message to answer with: a refusal, or the receipt of old if the
        exchange has ended before.

    Raises:
        RecordRejected, MalformedMessage: The quote is not this proxy's, is for another
            exchange, or names another price than the record inside it.
    """
    quote = check(Quote, assign.quote, signer=standing.proxy, network=standing.network)
    if quote.exchange != assign.exchange:
        raise RecordRejected("quote: for another exchange")
    if standing.receipt is not None:
        return Receipted(assign.exchange, standing.receipt)
    refused = _refuse_for_now(assign, standing)
    if refused is not None:
        return refused
    if quote.worker_record not in standing.records:
        return refusal(
            assign.exchange,
            Reason.STALE,
            "stale: the record in the quote is not one of ours that holds",
            newest_record=standing.records[-1],
        )
    offer = _offer_of(decode_paper(Record, quote.worker_record.body), assign.model)
    if offer is None:
        return refusal(assign.exchange, Reason.UNKNOWN_MODEL, "unknown model: not in our record")
    if not offer.kind.serves(assign.kind):
        return refusal(
            assign.exchange, Reason.UNSUPPORTED_KIND, f"unsupported kind: {assign.kind.name.lower()}"
        )
    if quote.price != offer.price:
        raise RecordRejected("quote: the price is not the record's")
    return Job(
        assign=assign,
        quote_hash=paper_hash(assign.quote),
        offer=offer,
        amount_max=min(
            Nano(assign.amount_max),
            amount_max_for_worker(Nano(assign.max_cost), quote.commission_basis_points),
        ),
        started=now,
        deadline=now + min(assign.deadline_ms / 1000, DEADLINE_MAX_SECONDS),
    )


def refusal(
    exchange: ExchangeId,
    reason: Reason,
    detail: str,
    *,
    need: Nano | None = None,
    newest_record: Signed | None = None,
) -> Refused:
    """Say no as a worker does, who knows of no other candidates."""
    return Refused(exchange, reason, detail, (), 0, need=need, newest_record=newest_record)


def _refuse_for_now(assign: Assign, standing: Standing) -> Refused | None:
    """Refuse what would be taken at another moment."""
    if standing.is_running:
        return refusal(assign.exchange, Reason.ALREADY_RUNNING, "already running")
    if standing.is_draining:
        return refusal(assign.exchange, Reason.DRAINING, "draining: this worker takes nothing new")
    if not standing.is_channel_known:
        return refusal(assign.exchange, Reason.CHANNEL_UNKNOWN, "channel unknown: open it before you assign")
    if standing.slots_free <= 0:
        return refusal(assign.exchange, Reason.NO_CAPACITY, "no capacity: every slot is taken")
    if assign.deadline_ms == 0:
        return refusal(assign.exchange, Reason.DEADLINE, "deadline: no time was left on arrival")
    return None


def _offer_of(record: Record, model: str) -> ModelOffer | None:
    return next((offer for offer in record.models if offer.name == model), None)
