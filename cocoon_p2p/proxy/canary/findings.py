"""What an answer to one of the proxy's own questions says about the worker.

Where nobody else has answered the same, only this can be told: whether tokens came in time, whether
there are words in them, and whether the words are more than one sign over and over (a generator whose
memory broke says "!!!!" or nothing). Where others have, with the same weights and the same engine,
their answer is the known one. It is greedy, so the same weights mostly say the same; but the kernels
of another machine, or whoever is computed beside, may turn a near tie the other way. So nobody is
judged by one answer, and only those count as others who have served clients well: a rival's crowd of
newcomers outvotes nobody.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import Enum

from cocoon_p2p.identity import PeerId
from cocoon_p2p.proxy.canary.question import Question

QUESTION_SECONDS = 1800.0
"How long the same question is put to others, too."

QUESTIONS_MAX = 1_024
"Questions that are open, one for each weights and engine. Some KiB each."

ANSWERS_MAX = 16
"Answers to one question that are kept."

TEXT_KEPT = 400
"Signs of an answer that are compared."

AGREEING_MIN = 2
"Others that must say the same before it is the known answer."

SILENT_TOKENS = 8
"Tokens of an answer that may stand for no text: its end, marks of a template, a character cut off."

STAMMER_MIN = 8
"An answer of so many signs is a stammer if they are all one."


class Finding(Enum):
    """What came of a question: a word for people, and how many in a row take a worker out; 0: none do."""

    GOOD = ("answered well", 0)
    UNTOLD = ("could not be asked", 0)
    "For no fault of the worker: it is full, it drains, the proxy cannot pay it."

    SILENT = ("no token in time", 1)
    BROKEN = ("broke off", 1)
    EMPTY = ("empty answer", 2)
    STAMMER = ("one sign over and over", 2)
    OVERCOUNTED = ("counts more tokens than it says anything", 3)
    MISCOUNTED = ("counts other tokens than all others", 3)
    DIFFERENT = ("answers otherwise than all others", 3)

    def __init__(self, words: str, enough: int) -> None:
        self.words = words
        self.enough = enough

    @property
    def is_bad(self) -> bool:
        return self.enough > 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one worker said."""

    peer: PeerId
    text: str
    prompt_tokens: int
    completion_tokens: int
    is_vouched: bool
    "Whether the worker has served clients well: only then its answer counts for others."


@dataclass(frozen=True, slots=True)
class Topic:
    """Who can be compared: those with the same weights, by the receipt also with the same engine."""

    model: str
    weights_hash: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, and what was answered."""

    question: Question
    at: float
    answers: tuple[tuple[str, Answer], ...] = ()
    "With the engine that made each."


def judge(asked: Asked, engine: str, answer: Answer) -> Finding:
    """Say what an answer, that came whole, shows.

    Args:
        asked: The question, with what others have answered.
        engine: What made this answer, by the worker's receipt.
        answer: This answer.
    """
    text = answer.text.strip()
    if not text:
        return Finding.EMPTY
    if len(text) >= STAMMER_MIN and len(set(text)) == 1:
        return Finding.STAMMER
    if answer.completion_tokens > len(answer.text.encode()) + SILENT_TOKENS:
        return Finding.OVERCOUNTED
    others = [
        other
        for name, other in asked.answers
        if name == engine and other.is_vouched and other.peer != answer.peer
    ]
    if len(others) < AGREEING_MIN:
        return Finding.GOOD
    if len({other.prompt_tokens for other in others} | {-answer.prompt_tokens}) == 2 and (
        others[0].prompt_tokens != answer.prompt_tokens
    ):
        return Finding.MISCOUNTED
    known = others[0].text
    if all(_is_alike(known, other.text) for other in others) and not _is_alike(known, answer.text):
        return Finding.DIFFERENT
    return Finding.GOOD


def _is_alike(one: str, other: str) -> bool:
    """Say whether two greedy answers went the same way for half of their length."""
    least = min(len(one), len(other))
    same = next((place for place in range(least) if one[place] != other[place]), least)
    return 2 * same >= least


def _is_open(asked: Asked, peer: PeerId) -> bool:
    return len(asked.answers) < ANSWERS_MAX and all(each.peer != peer for _, each in asked.answers)


class Answers:
    """The questions that are open, and what was answered. Pure: what it decides hangs on what it is given."""

    def __init__(self) -> None:
        self._asked: OrderedDict[Topic, Asked] = OrderedDict()

    def __len__(self) -> int:
        return len(self._asked)

    def pick(self, topic: Topic, peer: PeerId, fresh: Question, now: float) -> Asked:
        """Give the open question, if this worker has not seen it; else `fresh` is opened."""
        asked = self._asked.get(topic)
        if asked is not None and now - asked.at < QUESTION_SECONDS and _is_open(asked, peer):
            return asked
        asked = self._asked[topic] = Asked(fresh, now)
        self._asked.move_to_end(topic)
        if len(self._asked) > QUESTIONS_MAX:
            self._asked.popitem(last=False)
        return asked

    def take(self, topic: Topic, question: Question, engine: str, answer: Answer) -> Finding:
        """Judge an answer, and keep it for those that are asked next."""
        asked = self._asked.get(topic)
        if asked is None or asked.question != question:
            # Another question was opened while this one was under way.
            return judge(Asked(question, 0.0), engine, answer)
        finding = judge(asked, engine, answer)
        if finding in (Finding.GOOD, Finding.DIFFERENT) and len(asked.answers) < ANSWERS_MAX:
            kept = replace(answer, text=answer.text[:TEXT_KEPT])
            self._asked[topic] = Asked(question, asked.at, (*asked.answers, (engine, kept)))
        return finding
