"""What looking at a bundle comes to: one finding a question, in plain words.

A finding is affirmed, refuted, or unknown where the bundle does not hold what it would take to say.
"""

from dataclasses import dataclass
from enum import StrEnum

from cocoon_p2p.attestation.verdict import Tri, Verdict
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.messages import ModelOffer, Receipt, Settlement, Usage


class Subject(StrEnum):
    """What a finding is about, in the order in which they are looked at."""

    QUOTE = "quote"
    RECORD = "record"
    KEYS = "keys"
    SETTLEMENT = "settlement"
    MODEL = "model"
    RECEIPT = "receipt"
    COUNTS = "counts"
    AMOUNT = "amount"
    COMMISSION = "commission"
    TOTALS = "totals"
    QUESTION = "question"
    ANSWER = "answer"
    EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one question was answered."""

    subject: Subject
    claim: Tri
    words: str


@dataclass(frozen=True, slots=True)
class Verification:
    """All that was found, and what the papers say as far as they hold."""

    findings: tuple[Finding, ...]
    is_answer_given: bool
    worker: PeerId | None
    offer: ModelOffer | None
    settlement: Settlement | None
    receipt: Receipt | None
    usage: Usage | None
    "What was counted: the receipt's or, of a worker that vanished, its last Meter's."

    text: str | None
    "The answer, if the bundle opens it."

    verdict: Verdict | None
    "What the worker's machine was worth, where there was a policy to judge it by."

    def __getitem__(self, subject: Subject) -> Finding:
        return next(finding for finding in self.findings if finding.subject is subject)

    @property
    def is_only_untrusted(self) -> bool:
        """Whether all that is wrong is that the policy does not pass the worker's machine."""
        refuted = [finding.subject for finding in self.findings if finding.claim is Tri.REFUTED]
        is_unproven = self.is_answer_given and self[Subject.ANSWER].claim is not Tri.AFFIRMED
        return refuted == [Subject.EVIDENCE] and self.verdict is not None and not is_unproven

    @property
    def holds(self) -> bool:
        """Whether nothing is refuted and, if an answer was to be held against it, that was affirmed."""
        is_answered = not self.is_answer_given or self[Subject.ANSWER].claim is Tri.AFFIRMED
        return is_answered and all(finding.claim is not Tri.REFUTED for finding in self.findings)
