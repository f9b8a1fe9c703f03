"""What a bundle proves to somebody who was not there.

What a client accepted (`terms`, `bill`) is affirmed here; the same rules are used. Who the proxy
and the worker *are* is not found out: a bundle names keys, and anybody can make keys. What the
worker's machine was worth is, where the reader brings a policy.

Spec: protocols/bundle.md.
"""

import hashlib
from collections.abc import Callable
from typing import TypeVar

from cocoon_p2p.attestation import Tri, Verdict
from cocoon_p2p.attestation.policy import NEVER
from cocoon_p2p.errors import MalformedMessage, RecordRejected, RemoteProtocolError
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_text
from cocoon_p2p.payments.pricing import owed_usage, worker_amount
from cocoon_p2p.protocols.contents import decode_answer
from cocoon_p2p.protocols.exchange.bill import (
    check_commission,
    check_worker_amount,
    is_within,
    read_metered,
    read_receipt,
)
from cocoon_p2p.protocols.exchange.bundle import Bundle, joined
from cocoon_p2p.protocols.exchange.delivery import NOTHING
from cocoon_p2p.protocols.exchange.findings import Finding, Subject, Verification
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.exchange.yardstick import Yardstick, describe, measure
from cocoon_p2p.protocols.ids import QUOTE_LIFETIME_SECONDS, Outcome, Role, Trust
from cocoon_p2p.protocols.messages import (
    Ask,
    KeyStatement,
    Meter,
    ModelOffer,
    Quote,
    Receipt,
    Record,
    Settlement,
    Signed,
    Usage,
)
from cocoon_p2p.protocols.papers import check, paper_hash
from cocoon_p2p.protocols.schema import decode_message, decode_paper, encode_paper
from cocoon_p2p.records import check_pair, check_record
from cocoon_p2p.sealing import open_answer_chunk
from cocoon_p2p.units import Nano

T = TypeVar("T")


class _NotShown(Exception):
    """What a finding would rest on is not there, or does not hold itself."""


def verify_bundle(
    bundle: Bundle, *, answer: str | None = None, yardstick: Yardstick | None = None
) -> Verification:
    """Look at everything that a bundle shows. No clock: papers are judged at the time of the quote.

    Args:
        bundle: As it was read.
        answer: The answer that somebody kept, to be held against it; a line end after it does not count.
        yardstick: What the evidence is appraised by, as of then; None: only whose it is is looked at.
    """
    case = _Case(bundle, answer, yardstick)
    findings = tuple(_find(subject, look) for subject, look in case.questions())
    return Verification(
        findings,
        answer is not None,
        None if case.record is None else PeerId(case.record.peer),
        case.offer,
        case.settlement,
        case.receipt,
        case.usage,
        case.text,
        case.verdict,
    )


def quoted_at(bundle: Bundle) -> float:
    """Say as of when a bundle's papers are judged; nothing is verified. Raises `MalformedMessage`."""
    return _date(decode_paper(Quote, bundle.quote.body))


def _find(subject: Subject, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, Tri.AFFIRMED, look())
    except RemoteProtocolError as error:
        return Finding(subject, Tri.REFUTED, str(error))
    except _NotShown as gap:
        return Finding(subject, Tri.UNKNOWN, str(gap))


class _Case:
    """One bundle under examination. What a question has established, later ones stand on."""

    def __init__(self, bundle: Bundle, answer: str | None, yardstick: Yardstick | None) -> None:
        self._bundle = bundle
        self._answer = answer
        self._yardstick = yardstick
        self._network = NetworkId(bundle.network)
        self._proxy = PeerId(bundle.proxy)
        self._quote: Quote | None = None
        self._statement: KeyStatement | None = None
        self._terms: Terms | None = None
        self.record: Record | None = None
        self.offer: ModelOffer | None = None
        self.settlement: Settlement | None = None
        self.receipt: Receipt | None = None
        self.usage: Usage | None = None
        self.text: str | None = None
        self._beside = ""
        self.verdict: Verdict | None = None

    def questions(self) -> tuple[tuple[Subject, Callable[[], str]], ...]:
        return (
            (Subject.QUOTE, self._look_at_quote),
            (Subject.RECORD, self._look_at_record),
            (Subject.KEYS, self._look_at_keys),
            (Subject.SETTLEMENT, self._look_at_settlement),
            (Subject.MODEL, self._look_at_model),
            (Subject.RECEIPT, self._look_at_receipt),
            (Subject.COUNTS, self._look_at_counts),
            (Subject.AMOUNT, self._look_at_amount),
            (Subject.COMMISSION, self._look_at_commission),
            (Subject.TOTALS, self._look_at_totals),
            (Subject.QUESTION, self._look_at_question),
            (Subject.ANSWER, self._look_at_answer),
            (Subject.EVIDENCE, self._look_at_evidence),
        )

    # ------------------------------------------------------------ who said what

    def _look_at_quote(self) -> str:
        self._quote = check(Quote, self._bundle.quote, signer=self._proxy, network=self._network)
        return f"signed by the proxy {peer_id_text(self._proxy)}"

    def _look_at_record(self) -> str:
        quote = _need(self._quote, Subject.QUOTE)
        self.record = check_record(
            quote.worker_record, network=self._network, now=_date(quote), role=Role.WORKER
        )
        worker = peer_id_text(PeerId(self.record.peer))
        return f"signed by the worker {worker}, and in force when it was quoted"

    def _look_at_keys(self) -> str:
        quote, record = _need(self._quote, Subject.QUOTE), _need(self.record, Subject.RECORD)
        signed = quote.worker_statement
        self._statement = check_pair(
            record, signed, network=self._network, now=_date(quote), role=Role.WORKER
        )
        return "the key statement is the one that the worker's record names, signed by the worker"

    def _look_at_settlement(self) -> str:
        quote = _need(self._quote, Subject.QUOTE)
        settlement = check(Settlement, self._bundle.settlement, signer=self._proxy, network=self._network)
        if settlement.exchange != quote.exchange or settlement.quote_hash != self._quote_hash:
            raise RecordRejected("settlement: of another exchange")
        self.settlement = settlement
        return f"signed by the proxy, for this quote: the exchange was {settlement.outcome.name.lower()}"

    def _look_at_model(self) -> str:
        """Find what was sold. The name in the receipt is taken on trust here, and judged with it."""
        quote, record = _need(self._quote, Subject.QUOTE), _need(self.record, Subject.RECORD)
        statement = _need(self._statement, Subject.KEYS)
        settlement = _need(self.settlement, Subject.SETTLEMENT)
        name = self._claimed_model(settlement)
        offers = [one for one in record.models if one.price == quote.price and name in (None, one.name)]
        if not offers:
            raise RecordRejected("quote: the worker's record offers no such model at this price")
        offer = offers[0]
        self.offer = offer
        self._terms = Terms(
            signed=self._bundle.quote,
            quote=quote,
            quote_hash=self._quote_hash,
            worker=PeerId(record.peer),
            statement=statement,
            statement_hash=paper_hash(quote.worker_statement),
            offer=offer,
            trust=Trust.OPEN,
        )
        return f"{offer.name}, weights {offer.weights_hash.hex()}, at the price in the worker's own record"

    def _claimed_model(self, settlement: Settlement) -> str | None:
        """Say which model this was about; None if only the price tells."""
        if settlement.receipt is not None:
            return decode_paper(Receipt, settlement.receipt.body).model
        if self._bundle.ask is None:
            return None
        ask = decode_message(self._bundle.ask)
        return ask.model if isinstance(ask, Ask) else None

    def _look_at_receipt(self) -> str:
        terms = _need(self._terms, Subject.MODEL)
        settlement = _need(self.settlement, Subject.SETTLEMENT)
        self.receipt = read_receipt(settlement, terms, self._network)
        if self.receipt is not None:
            self.usage = self.receipt.usage
            return "signed by the worker, for this quote and model"
        self.usage = read_metered(settlement, terms, self._network)
        if settlement.meter is None:
            raise _NotShown("the worker vanished before it signed for anything")
        return "the worker vanished; its last signed meter stands in for the receipt"

    # ------------------------------------------------------------ how much

    def _look_at_counts(self) -> str:
        usage = _need(self.usage, Subject.RECEIPT)
        settlement = _need(self.settlement, Subject.SETTLEMENT)
        if not self._has_all_chunks:
            raise _NotShown("the bundle has no chunks to hold the counts against")
        meters, last = self._follow_chunks()
        if last is None:
            if settlement.outcome is Outcome.COMPLETED or usage.completion or usage.reasoning:
                raise RecordRejected("settlement: tokens are charged, and no chunk brought any")
            return "no token was delivered, and none is charged"
        is_whole = self._bundle.chunks[-1].final and usage == last
        if settlement.outcome is Outcome.COMPLETED and not is_whole:
            raise RecordRejected("settlement: completed, but not what was delivered")
        if not is_within(usage, last):
            raise RecordRejected("settlement: for more than was delivered")
        return (
            f"{usage.prompt} + {usage.cached} cached prompt tokens and "
            f"{usage.completion + usage.reasoning} of the answer, as the {len(self._bundle.chunks)} chunks "
            f"counted; {meters} of those counts are signed"
        )

    def _follow_chunks(self) -> tuple[int, Usage | None]:
        """Check that counts never fall. Gives how many of them are signed, and the last."""
        terms, meters, before = _need(self._terms, Subject.MODEL), 0, None
        for number, chunk in enumerate(self._bundle.chunks, 1):
            usage = chunk.usage
            if before is not None and not is_within(before, usage):
                raise RecordRejected(f"chunk {number}: its usage falls")
            if before is not None and (usage.prompt, usage.cached) != (before.prompt, before.cached):
                raise RecordRejected(f"chunk {number}: another prompt than before")
            if chunk.final and number != len(self._bundle.chunks):
                raise RecordRejected(f"chunk {number}: final, and others follow")
            if chunk.meter_signature is not None:
                body = encode_paper(Meter(terms.quote.exchange, terms.quote_hash, usage))
                meter = Signed(body, chunk.meter_signature)
                check(Meter, meter, signer=terms.worker, network=self._network)
                meters += 1
            before = usage
        return meters, before

    def _look_at_amount(self) -> str:
        settlement, due = _need(self.settlement, Subject.SETTLEMENT), self._due()
        check_worker_amount(settlement, self.receipt, due)
        less = "" if settlement.worker_amount == due else f" (it could have been {due})"
        return f"{settlement.worker_amount} nanoTON for the worker: the quote's prices over the counts{less}"

    def _look_at_commission(self) -> str:
        quote = _need(self._quote, Subject.QUOTE)
        settlement, due = _need(self.settlement, Subject.SETTLEMENT), self._due()
        check_commission(settlement, due, quote.commission_basis_points)
        return (
            f"{settlement.commission} nanoTON for the proxy: "
            f"no more than the {quote.commission_basis_points / 100:g} % that it quoted"
        )

    def _due(self) -> Nano:
        quote, usage = _need(self._quote, Subject.QUOTE), _need(self.usage, Subject.RECEIPT)
        settlement = _need(self.settlement, Subject.SETTLEMENT)
        return worker_amount(owed_usage(usage, settlement.outcome), quote.price)

    def _look_at_totals(self) -> str:
        settlement = _need(self.settlement, Subject.SETTLEMENT)
        amount = settlement.worker_amount + settlement.commission
        if settlement.client_charged < amount:
            raise RecordRejected(
                f"settlement: the channel's total leaves this exchange out "
                f"(total={settlement.client_charged} charged={amount} nanoTON)"
            )
        return f"{amount} nanoTON in all, within the {settlement.client_charged} of the client's channel"

    # ------------------------------------------------------------ question, answer, machine

    def _look_at_question(self) -> str:
        quote, offer = _need(self._quote, Subject.QUOTE), _need(self.offer, Subject.MODEL)
        settlement = _need(self.settlement, Subject.SETTLEMENT)
        if self._bundle.ask is None:
            raise _NotShown("the bundle does not show what was asked for")
        if hashlib.sha256(self._bundle.ask).digest() != quote.ask_hash:
            raise RecordRejected("quote: answers another question")
        ask = decode_message(self._bundle.ask)
        if not isinstance(ask, Ask) or ask.exchange != quote.exchange:
            raise RecordRejected("quote: answers another question")
        if ask.model != offer.name or ask.weights_hash not in (None, offer.weights_hash):
            raise RecordRejected("quote: another model or other weights than were asked for")
        if self.receipt is not None and self.receipt.continues != ask.continues:
            raise RecordRejected("receipt: continues another exchange than was asked for")
        if (amount := settlement.worker_amount + settlement.commission) > ask.max_cost:
            raise RecordRejected(
                f"settlement: above the limit (limit={ask.max_cost} charged={amount} nanoTON)"
            )
        pinned = "" if ask.weights_hash is None else ", these weights and no others"
        whole = "" if ask.continues is None else f"; the rest of what {ask.continues.hex()} began"
        return f"the one that the quote answers: {ask.max_cost} nanoTON at most{pinned}{whole}"

    def _look_at_answer(self) -> str:
        terms = _need(self._terms, Subject.MODEL)
        _need(self.usage, Subject.RECEIPT)
        if not self._has_all_chunks:
            raise _NotShown("the bundle has no chunks")
        signed_for = self.receipt is not None
        if self.receipt is not None and self._answer_hash != self.receipt.answer_hash:
            raise RecordRejected("receipt: of another answer")
        key = self._bundle.answer_key
        if key is None:
            if self._answer is not None or not signed_for:
                raise _NotShown("the bundle has no key that opens the chunks")
            return "the sealed chunks are those that the worker signed for; the bundle does not open them"
        self.text = self._open(key)
        if self._answer is not None and self._answer not in (self.text, self.text + "\n"):
            raise RecordRejected("answer: not the one that was kept")
        if not signed_for:
            raise _NotShown(f"it opens, but no receipt of {terms.offer.name} signs for it")
        kept = "" if self._answer is None else ", and they are the answer that was kept"
        return (
            f"the chunks that the worker signed for open to {len(self.text)} characters{self._beside}{kept}"
        )

    def _open(self, key: bytes) -> str:
        texts: list[str] = []
        calls = vectors = 0
        for number, chunk in enumerate(self._bundle.chunks):
            plain = open_answer_chunk(key, number, chunk.final, chunk.usage, chunk.sealed)
            content = decode_answer(plain)
            if chunk.final is not (content.finish is not None):
                raise MalformedMessage("chunk: its final flag and its finish reason disagree")
            texts.append(content.text)
            calls, vectors = calls + len(content.calls), vectors + len(content.vectors)
        counts = ((calls, "tool calls"), (vectors, "vectors"))
        self._beside = "".join(f", {count} {what}" for count, what in counts if count)
        return "".join(texts)

    def _look_at_evidence(self) -> str:
        record, shown = _need(self.record, Subject.RECORD), self._bundle.evidence
        if shown is None and record.evidence_hash is None:
            raise _NotShown("the worker named none: nothing is proven about its machine")
        if shown is None:
            raise _NotShown("the bundle does not hold what the worker's record names")
        if hashlib.sha256(shown).digest() != record.evidence_hash:
            raise RecordRejected("evidence: not what the worker's record names")
        if self._yardstick is None:
            return "it is what the worker's record names; what it proves takes a policy"
        quote, offer = _need(self._quote, Subject.QUOTE), _need(self.offer, Subject.MODEL)
        self.verdict = measure(record, quote.worker_statement, shown, self._yardstick, at=_date(quote))
        return describe(self.verdict, offer)

    # ------------------------------------------------------------ and of these

    @property
    def _quote_hash(self) -> bytes:
        return paper_hash(self._bundle.quote)

    @property
    def _answer_hash(self) -> bytes:
        return hashlib.sha256(joined(self._bundle.chunks)).digest()

    @property
    def _has_all_chunks(self) -> bool:
        """Whether there is something to look at. That there were no chunks at all has its own hash."""
        is_empty = self.receipt is not None and self.receipt.answer_hash == self._answer_hash
        return bool(self._bundle.chunks) or is_empty or self.usage == NOTHING


def _date(quote: Quote) -> float:
    """Say when a quote was made, as far as it tells: it holds for `QUOTE_LIFETIME_SECONDS` at most.

    One that holds for less was made up to so much later, which the allowance for clocks covers.
    """
    return float(min(max(quote.expires - QUOTE_LIFETIME_SECONDS, 0), NEVER))


def _need(what: T | None, subject: Subject) -> T:
    if what is None:
        raise _NotShown(f"cannot be said: it stands on the {subject}, which does not hold")
    return what
