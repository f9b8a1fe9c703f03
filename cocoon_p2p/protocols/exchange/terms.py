"""On what terms a client goes on: it judges a proxy's quote before it sends a word.

Everything in a quote is held against what the client knows by itself: the Ask that it sent,
the rules it was given, and the worker's own signed record.

Spec: protocols/exchange.md (Who checks what: Quoted).
"""

from collections.abc import Callable
from dataclasses import dataclass

from cocoon_p2p.attestation.verdict import NO_PROOF, Proof, Verdict, require_proof
from cocoon_p2p.errors import RecordRejected, Refused
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_text
from cocoon_p2p.payments.pricing import client_amount, worker_amount
from cocoon_p2p.protocols.ids import CLOCK_SKEW_SECONDS, QUOTE_LIFETIME_SECONDS, Reason, Role, Trust
from cocoon_p2p.protocols.messages import (
    Ask,
    ExchangeId,
    KeyStatement,
    ModelOffer,
    Quote,
    Record,
    Signed,
    Usage,
)
from cocoon_p2p.protocols.papers import check, message_hash, paper_hash
from cocoon_p2p.records import CLOCK_HINT, check_pair, check_record
from cocoon_p2p.units import Nano

Appraise = Callable[[Record, Signed], Proof]
"Says what is proven about the machine behind a record and its key statement. Evidence was fetched before."


def prove_nothing(_record: Record, _statement: Signed) -> Proof:
    """Appraise without evidence: every machine is `OPEN`."""
    return NO_PROOF


@dataclass(frozen=True, slots=True)
class Rules:
    """What a client insists on beyond what the Ask says."""

    commission_basis_points_max: int = 10_000
    window_tokens_max: int = 256
    "Tokens that are covered ahead of delivery at most: what a proxy that vanishes may take along."

    appraise: Appraise = prove_nothing
    tokenizer_hash: bytes | None = None
    "Of whoever goes on where another broke off: it must split and render text alike. None: any will do."

    is_whole: bool = False
    "The max cost must hold an answer of all tokens that it may have, not only its first."


@dataclass(frozen=True, slots=True)
class Terms:
    """A quote that was accepted, with all that it carries verified and read."""

    signed: Signed
    quote: Quote
    quote_hash: bytes
    worker: PeerId
    statement: KeyStatement
    statement_hash: bytes
    offer: ModelOffer
    trust: Trust
    "What is proven about the worker's machine, which may be more than was asked for."

    verdict: Verdict | None = None
    "The appraisal behind `trust`; None where nobody has looked."

    continues: ExchangeId | None = None
    "The exchange that is gone on with, as the Ask says: the receipt must say so too."

    def amount(self, usage: Usage) -> Nano:
        """Say what the client pays for this usage, commission included."""
        return client_amount(worker_amount(usage, self.quote.price), self.quote.commission_basis_points)

    def amount_max(self, prompt_tokens: int, tokens: int) -> Nano:
        """Say what so many tokens of a prompt and of an answer cost at most, of whatever class they are."""
        completed = Usage(prompt=prompt_tokens, cached=0, completion=tokens, reasoning=0)
        reasoned = Usage(prompt=prompt_tokens, cached=0, completion=0, reasoning=tokens)
        return max(self.amount(completed), self.amount(reasoned))


def judge_quote(
    signed: Signed, *, ask: Ask, proxy: PeerId, network: NetworkId, rules: Rules, now: float
) -> Terms:
    """Decide whether to go on with a quote.

    Args:
        signed: The quote as it came.
        ask: The question that was sent.
        proxy: Who was asked.
        network: The network that all papers must be for.
        rules: The client's own.
        now: Seconds since the Unix epoch.

    Raises:
        RecordRejected, MalformedMessage: The proxy did what no honest proxy does: a paper does not
            verify, answers another question, or offers what the worker does not.
        Refused: It is honest and too dear (`price-above-limit`), or of another tokenizer (`other-weights`).
        AttestationFailed: Less is proven about the worker's machine than the Ask demands.
    """
    quote = check(Quote, signed, signer=proxy, network=network)
    _check_answers(quote, ask, now)
    record = check_record(quote.worker_record, network=network, now=now, role=Role.WORKER)
    statement = check_pair(record, quote.worker_statement, network=network, now=now, role=Role.WORKER)
    proof = rules.appraise(record, quote.worker_statement)
    terms = Terms(
        signed=signed,
        quote=quote,
        quote_hash=paper_hash(signed),
        worker=PeerId(record.peer),
        statement=statement,
        statement_hash=paper_hash(quote.worker_statement),
        offer=_offer(record, quote, ask),
        trust=proof.level,
        verdict=proof.verdict,
        continues=ask.continues,
    )
    if record.peer in ask.exclude:
        raise RecordRejected(f"quote: of a worker that was excluded (worker={peer_id_text(terms.worker)})")
    if rules.tokenizer_hash not in (None, terms.offer.tokenizer_hash):
        raise Refused("another tokenizer or template", code=Reason.OTHER_WEIGHTS.code)
    _check_cost(terms, ask, rules)
    require_proof(proof, ask.trust, peer=terms.worker, role=Role.WORKER)
    return terms


def _check_answers(quote: Quote, ask: Ask, now: float) -> None:
    if quote.exchange != ask.exchange or quote.ask_hash != message_hash(ask):
        raise RecordRejected("quote: answers another question")
    if not now < quote.expires <= now + QUOTE_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS:
        ends_in = quote.expires - now
        raise RecordRejected(f"quote: outside its dates (ends_in={ends_in:.0f} seconds)", hint=CLOCK_HINT)
    if quote.reserved is not (ask.channel is not None):
        raise RecordRejected(f"quote: reserved={quote.reserved} is not what was asked for")


def _offer(record: Record, quote: Quote, ask: Ask) -> ModelOffer:
    """Find the model in the worker's own record: what the quote says of it must stand there too."""
    offer = next((one for one in record.models if one.name == ask.model), None)
    if offer is None:
        raise RecordRejected("quote: the worker does not offer the model")
    if offer.price != quote.price:
        raise RecordRejected("quote: another price than the worker's")
    if ask.weights_hash not in (None, offer.weights_hash):
        raise RecordRejected("quote: other weights than were asked for")
    if not offer.kind.serves(ask.kind):
        raise RecordRejected(f"quote: the worker does no {ask.kind.name.lower()} with this model")
    if missing := sorted(set(ask.features) - set(offer.features)):
        raise RecordRejected(f"quote: the worker lacks a feature (features={','.join(missing)})")
    return offer


def _check_cost(terms: Terms, ask: Ask, rules: Rules) -> None:
    commission, commission_max = terms.quote.commission_basis_points, rules.commission_basis_points_max
    if commission > commission_max:
        raise _too_dear(
            f"commission above limit (limit={commission_max} asked={commission} basis points)",
            "accept a higher commission, or wait for another proxy",
        )
    # The bound of a prompt is reckoned at its full price.
    if terms.quote.price.cached > terms.quote.price.prompt:
        raise _too_dear("a cached token is dearer than a computed one", "")
    first = min(1, ask.completion_tokens_max)
    least = terms.amount(Usage(prompt=ask.prompt_tokens_max, cached=0, completion=first, reasoning=0))
    if least > ask.max_cost:
        raise _too_dear(
            f"price above limit (limit={ask.max_cost} prompt_and_first_token={least} nanoTON)",
            "raise the request's max cost, or shorten its prompt",
        )
    whole = terms.amount_max(ask.prompt_tokens_max, ask.completion_tokens_max)
    if rules.is_whole and whole > ask.max_cost:
        raise _too_dear(f"price above limit (limit={ask.max_cost} whole_answer={whole} nanoTON)", "")


def _too_dear(message: str, hint: str) -> Refused:
    return Refused(message, code=Reason.PRICE_ABOVE_LIMIT.code, hint=hint)
