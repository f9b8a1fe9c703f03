"""Workers and proxies that exist on paper only: what they would sign, and what they should not.

A test that plays a peer by hand needs valid papers first, and then the same papers with one
thing wrong. Every function here makes the valid one; `changes` replaces fields before it is
signed, so that each lie bears a good signature.

    deal = make_deal(ask, worker=paper_worker(network, now=now), proxy=proxy, network=network, now=now)
    lie = deal.settle(usage, answer_hash=digest, commission=1)
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from nacl import bindings

from cocoon_p2p.identity import Identity, NetworkId, PeerId
from cocoon_p2p.payments.pricing import client_amount, owed_usage, worker_amount
from cocoon_p2p.protocols.ids import Kind, Outcome, Role
from cocoon_p2p.protocols.messages import (
    Ask,
    Meter,
    ModelOffer,
    Price,
    Quote,
    Receipt,
    Settlement,
    Signed,
    Usage,
)
from cocoon_p2p.protocols.papers import message_hash, paper_hash, sign
from cocoon_p2p.records import make_record, make_statement

PRICE = Price(prompt=4_000, cached=1_000, completion=20_000, reasoning=20_000)
"nanoTON per 1,000 tokens: a prompt token costs 4 nanoTON, a token of the answer 20."


def paper_identity(number: int) -> Identity:
    """Make one identity a number, the same in every run."""
    return Identity.from_seed(hashlib.sha256(f"paper {number}".encode()).digest())


@dataclass(frozen=True, slots=True)
class PaperWorker:
    """A worker's keys and what it says of itself."""

    identity: Identity
    network: NetworkId
    sealing_secret: bytes
    statement: Signed
    record: Signed
    offer: ModelOffer

    @property
    def peer(self) -> PeerId:
        return self.identity.peer_id


def paper_worker(
    network: NetworkId, *, now: float, number: int = 1, model: str = "scripted", **changes: Any
) -> PaperWorker:
    """Make a worker that offers one model. `changes` replaces fields of its `ModelOffer`."""
    identity = paper_identity(1_000 + number)
    sealing_secret = hashlib.sha256(b"sealing" + identity.seed).digest()
    offer = ModelOffer(
        name=model,
        weights_hash=hashlib.sha256(b"weights of " + model.encode()).digest(),
        tokenizer_hash=hashlib.sha256(b"tokenizer of words").digest(),
        kind=Kind.CHAT,
        context_tokens=4_096,
        features=("ignore-eos", "seed", "stop", "temperature"),
        price=PRICE,
        demo=True,
    )
    offer = replace(offer, **changes)
    statement = make_statement(
        identity,
        network,
        role=Role.WORKER,
        sealing_key=bindings.crypto_scalarmult_base(sealing_secret),
        now=now,
        nonce=bytes(16),
    )
    record = make_record(
        identity,
        network,
        role=Role.WORKER,
        statement=statement,
        addresses=(),
        models=(offer,),
        now=now,
        sequence=1,
    )
    return PaperWorker(identity, network, sealing_secret, statement, record, offer)


@dataclass(frozen=True, slots=True)
class PaperDeal:
    """One exchange on paper, from the quote to the bill."""

    ask: Ask
    worker: PaperWorker
    proxy: Identity
    network: NetworkId
    quote: Signed
    commission_basis_points: int

    def meter(self, usage: Usage, **changes: Any) -> Signed:
        """Sign a Meter as the worker."""
        meter = Meter(self.ask.exchange, paper_hash(self.quote), usage)
        return sign(self.worker.identity, self.network, replace(meter, **changes))

    def receipt(
        self,
        usage: Usage,
        *,
        answer_hash: bytes,
        outcome: Outcome = Outcome.COMPLETED,
        **changes: Any,
    ) -> Signed:
        """Sign a receipt as the worker. `usage` is what counts, its amount follows the rules."""
        counted = owed_usage(usage, outcome)
        receipt = Receipt(
            exchange=self.ask.exchange,
            quote_hash=paper_hash(self.quote),
            model=self.ask.model,
            weights_hash=self.worker.offer.weights_hash,
            engine="paper 1",
            usage=counted,
            amount=worker_amount(counted, self.worker.offer.price),
            answer_hash=answer_hash,
            started_ms=0,
            ended_ms=1,
            outcome=outcome,
            continues=self.ask.continues,
        )
        return sign(self.worker.identity, self.network, replace(receipt, **changes))

    def settle(
        self,
        usage: Usage,
        *,
        answer_hash: bytes,
        outcome: Outcome = Outcome.COMPLETED,
        **changes: Any,
    ) -> Signed:
        """Sign a settlement as the proxy, with a receipt of this usage inside."""
        receipt = self.receipt(usage, answer_hash=answer_hash, outcome=outcome)
        due = worker_amount(owed_usage(usage, outcome), self.worker.offer.price)
        total = client_amount(due, self.commission_basis_points)
        settlement = Settlement(
            exchange=self.ask.exchange,
            quote_hash=paper_hash(self.quote),
            outcome=outcome,
            worker_amount=due,
            commission=total - due,
            client_charged=total,
            worker_charged=due,
            receipt=receipt,
        )
        return sign(self.proxy, self.network, replace(settlement, **changes))


def make_deal(
    ask: Ask,
    *,
    worker: PaperWorker,
    proxy: Identity,
    network: NetworkId,
    now: float,
    commission_basis_points: int = 500,
    **changes: Any,
) -> PaperDeal:
    """Quote a worker for an Ask. `changes` replaces fields of the `Quote`."""
    quote = Quote(
        exchange=ask.exchange,
        ask_hash=message_hash(ask),
        worker_record=worker.record,
        worker_statement=worker.statement,
        price=worker.offer.price,
        commission_basis_points=commission_basis_points,
        expires=int(now) + 30,
        grant=0,
        window_tokens=16,
        reserved=ask.channel is not None,
    )
    signed = sign(proxy, network, replace(quote, **changes))
    return PaperDeal(ask, worker, proxy, network, signed, commission_basis_points)
