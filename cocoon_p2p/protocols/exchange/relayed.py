"""What a proxy accepts from a worker: chunks as they pass, and the receipt at the end.

A proxy cannot read an answer. It counts what passes, checks every signature that stands for
money, and hashes the sealed bytes, so that it never passes on a bill that its client would
rightly refuse.

Spec: protocols/exchange.md (Who checks what; Amounts).
"""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from cocoon_p2p.errors import RecordRejected, RemoteProtocolError
from cocoon_p2p.frozen import replace
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.payments.pricing import (
    TOKENS_PER_PRICE,
    ahead,
    amount_max_for_worker,
    client_amount,
    owed_usage,
    worker_amount,
)
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import Ask, Chunk, Meter, ModelOffer, Price, Receipt, Signed, Usage
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.protocols.schema import encode_paper
from cocoon_p2p.units import Nano

NOTHING = Usage(prompt=0, cached=0, completion=0, reasoning=0)


class Digest(Protocol):
    """A running hash; `copy` before `update` keeps old states what they were."""

    def copy(self) -> "Digest": ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Deal:
    """What a quote settled: it stays the same until the exchange ends."""

    ask: Ask
    network: NetworkId
    worker: PeerId
    offer: ModelOffer
    "The model as the worker's record in the quote offers it."

    quote: Signed
    quote_hash: bytes
    commission_basis_points: int
    window_tokens: int

    @property
    def amount_max(self) -> Nano:
        """The most that the worker may earn."""
        return amount_max_for_worker(Nano(self.ask.max_cost), self.commission_basis_points)

    @property
    def prompt_bound(self) -> Nano:
        """The most that the worker may earn by the prompt alone."""
        return min(prompt_bound(self.offer.price, self.ask.prompt_tokens_max), self.amount_max)

    @property
    def window(self) -> Nano:
        """What the tokens cost that are covered ahead, rounded up, whichever class they turn out to be."""
        dearest = max(self.offer.price.completion, self.offer.price.reasoning)
        return Nano(-(-dearest * self.window_tokens // TOKENS_PER_PRICE))

    def for_client(self, amount: Nano) -> Nano:
        """Say what the client pays for what the worker earned."""
        return client_amount(amount, self.commission_basis_points)

    def for_worker(self, covered: Nano) -> Nano:
        """Say the most that a worker can earn for which the client has covered enough.

        It is the exact inverse of `for_client`, to the nanoTON. `amount_max_for_worker` may be
        one below, and a worker that waits for that one would wait for ever.
        """
        return Nano(((covered + 1) * 10_000 - 1) // (10_000 + self.commission_basis_points))


def prompt_bound(price: Price, tokens: int) -> Nano:
    """Say what so many prompt tokens cost at most, cached or not."""
    return Nano(max(price.prompt, price.cached) * tokens // TOKENS_PER_PRICE)


@dataclass(frozen=True, slots=True)
class Passed:
    """What has come from the worker so far."""

    metered: Usage | None = None
    "What PromptMetered said."

    usage: Usage = NOTHING
    "The last Chunk's; PromptMetered's before the first."

    chunks: int = 0
    is_complete: bool = False
    "Whether the final Chunk came."

    answer: Digest = field(default_factory=hashlib.sha256, repr=False, compare=False)
    "SHA-256 over the sealed chunks; replaced, never updated."

    meter: Signed | None = None
    "The newest Meter that the worker signed."

    signed: Usage = NOTHING
    "What that Meter says."


def meter_prompt(passed: Passed, usage: Usage, deal: Deal) -> Passed:
    """Take a PromptMetered. Raises `RemoteProtocolError` if no honest worker sends it."""
    if passed.metered is not None:
        raise RemoteProtocolError("the prompt was metered before")
    if usage.completion or usage.reasoning:
        raise RemoteProtocolError("PromptMetered counts tokens of an answer")
    tokens, bound = usage.prompt + usage.cached, deal.ask.prompt_tokens_max
    if tokens > bound:
        raise RemoteProtocolError(f"a prompt above its bound was taken (bound={bound} got={tokens} tokens)")
    _check_amount(usage, deal)
    return replace(passed, metered=usage, usage=usage)


def take_chunk(passed: Passed, chunk: Chunk, deal: Deal) -> Passed:
    """Take the next Chunk. Raises `RemoteProtocolError` if no honest worker sends it."""
    before, usage = passed.usage, chunk.usage
    if passed.metered is None or passed.is_complete:
        raise RemoteProtocolError("a chunk before the prompt was metered, or after the final one")
    if chunk.number != passed.chunks:
        raise RemoteProtocolError(f"chunk out of order (expected={passed.chunks} got={chunk.number})")
    if (usage.prompt, usage.cached) != (before.prompt, before.cached):
        raise RemoteProtocolError("chunk: another prompt than was metered")
    if usage.completion < before.completion or usage.reasoning < before.reasoning:
        raise RemoteProtocolError("chunk: usage falls")
    tokens, limit = usage.completion + usage.reasoning, deal.ask.completion_tokens_max
    if tokens > limit:
        raise RemoteProtocolError(f"chunk: more tokens than were asked for (limit={limit} got={tokens})")
    _check_amount(usage, deal)
    if chunk.meter_signature is not None:
        passed = replace(passed, meter=_meter(chunk, chunk.meter_signature, deal), signed=usage)
    answer = passed.answer.copy()
    answer.update(chunk.sealed)
    return replace(passed, usage=usage, chunks=passed.chunks + 1, is_complete=chunk.final, answer=answer)


def _check_amount(usage: Usage, deal: Deal) -> None:
    amount, most = worker_amount(usage, deal.offer.price), deal.amount_max
    if amount > most:
        raise RemoteProtocolError(f"usage above the most that was agreed (max={most} got={amount} nanoTON)")


def _meter(chunk: Chunk, signature: bytes, deal: Deal) -> Signed:
    meter = Meter(exchange=chunk.exchange, quote_hash=deal.quote_hash, usage=chunk.usage)
    signed = Signed(encode_paper(meter), signature)
    check(Meter, signed, signer=deal.worker, network=deal.network)
    return signed


def check_receipt(signed: Signed, *, passed: Passed, deal: Deal, may_cancel: bool) -> Receipt:
    """Hold a worker's receipt against what has passed.

    Args:
        signed: The receipt as it came.
        passed: What came before it.
        deal: What was agreed on.
        may_cancel: Whether the worker had cause to end as cancelled, and be paid for the prompt.

    Raises:
        RecordRejected, MalformedMessage: It does not hold: settle as if the worker were lost.
    """
    receipt = check(Receipt, signed, signer=deal.worker, network=deal.network)
    if receipt.exchange != deal.ask.exchange or receipt.quote_hash != deal.quote_hash:
        raise RecordRejected("receipt: of another exchange")
    if receipt.continues != deal.ask.continues:
        raise RecordRejected("receipt: continues another exchange than was asked for")
    if receipt.model != deal.offer.name or receipt.weights_hash != deal.offer.weights_hash:
        raise RecordRejected("receipt: of another model")
    if receipt.answer_hash != passed.answer.digest():
        raise RecordRejected("receipt: of another answer than was passed on")
    _check_usage(receipt, passed, may_cancel=may_cancel)
    due = worker_amount(receipt.usage, deal.offer.price)
    if receipt.amount != due:
        raise RecordRejected(f"receipt: wrong amount (expected={due} got={receipt.amount} nanoTON)")
    return receipt


def _check_usage(receipt: Receipt, passed: Passed, *, may_cancel: bool) -> None:
    usage, delivered = receipt.usage, passed.usage
    match receipt.outcome:
        case Outcome.COMPLETED:
            if not passed.is_complete:
                raise RecordRejected("receipt: completed, but the final chunk never came")
            if usage != delivered:
                raise RecordRejected("receipt: another usage than the last chunk's")
        case Outcome.CANCELLED:
            if not may_cancel:
                raise RecordRejected("receipt: cancelled, but not by us")
        case Outcome.FAILED:
            if usage.prompt or usage.cached:
                raise RecordRejected("receipt: failed, but the prompt is charged")
    if (
        usage.prompt > delivered.prompt
        or usage.cached > delivered.cached
        or usage.completion > delivered.completion
        or usage.reasoning > delivered.reasoning
    ):
        raise RecordRejected("receipt: for more than was delivered")


def owed_without_receipt(passed: Passed) -> Usage:
    """Say what a worker that vanished is owed for: what its newest Meter says was delivered."""
    return owed_usage(passed.signed, Outcome.FAILED)


def is_next_token_held(passed: Passed, held: Nano, deal: Deal) -> bool:
    """Say whether what is held at the worker covers one token more, so that it has no cause to wait."""
    most = deal.ask.completion_tokens_max
    if passed.usage.completion + passed.usage.reasoning >= most:
        return True
    one = max(
        worker_amount(ahead(passed.usage, 1), deal.offer.price),
        worker_amount(replace(passed.usage, reasoning=passed.usage.reasoning + 1), deal.offer.price),
    )
    return held >= min(one, deal.amount_max)
