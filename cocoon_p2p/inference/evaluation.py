"""What a model gets right: questions, the one answer to each that counts, and the scores.

The questions that come along are those of the demo model. Its recipe (inference/demo_model/)
draws them, and keeps those of the unseen tasks from its training.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import msgspec

from cocoon_p2p.inference.engine import ChatMessage, Engine, Finish, GenerateRequest

COMPLETION_TOKENS_MAX: Final = 96
"More than the longest right answer has."


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    task: str
    asked: tuple[str, ...]
    "What was said so far in turns, the user first and last."

    answer: str
    "To the letter; any other is wrong."

    told: str = ""
    "By a system prompt."


@dataclass(frozen=True, slots=True)
class Answered:
    question: Question
    answer: str
    is_ended: bool
    "Whether the model ended it, rather than the limit."

    @property
    def is_right(self) -> bool:
        return self.is_ended and self.answer == self.question.answer


@dataclass(frozen=True, slots=True)
class Score:
    """What became of one task."""

    task: str
    right: int
    asked: int
    ended: int
    "Answers that the model ended by itself."


@cache
def demo_questions() -> tuple[Question, ...]:
    """Read the questions that come along, ordered by task."""
    file = resources.files("cocoon_p2p.inference") / "demo_model" / "questions.jsonl"
    return tuple(msgspec.json.Decoder(Question).decode_lines(file.read_bytes()))


def first_of_each_task(questions: Iterable[Question], count: int) -> tuple[Question, ...]:
    """Keep so many questions of each task, the first ones: a larger count only adds to them."""
    kept = dict[str, list[Question]]()
    for question in questions:
        of_task = kept.setdefault(question.task, [])
        if len(of_task) < count:
            of_task.append(question)
    return tuple(question for of_task in kept.values() for question in of_task)


async def answer(engine: Engine, question: Question) -> Answered:
    """Ask the one model of an engine, which takes its likeliest token at each step."""
    messages = [ChatMessage("system", question.told)] if question.told else []
    messages += [
        ChatMessage("assistant" if turn % 2 else "user", text) for turn, text in enumerate(question.asked)
    ]
    request = GenerateRequest(
        engine.capabilities.models[0].name, tuple(messages), completion_tokens_max=COMPLETION_TOKENS_MAX
    )
    text, finish = "", None
    async with engine.generate(request) as pieces:
        async for piece in pieces:
            text, finish = text + piece.text, piece.finish
    return Answered(question, text, finish is Finish.STOP)


async def evaluate(
    engine: Engine, questions: Iterable[Question], *, told: Callable[[Answered], None] = lambda _: None
) -> tuple[Answered, ...]:
    """Ask all questions, one after the other: what stands beside it in a batch may change a model's choice.

    Args:
        engine: Serves the model.
        questions: What to ask.
        told: Called with each answer as it is there.

    Raises:
        EngineError: The model cannot be asked so; it has no chats, for instance.
    """
    answers = list[Answered]()
    for question in questions:
        answers.append(await answer(engine, question))
        told(answers[-1])
    return tuple(answers)


def scores(answers: Iterable[Answered]) -> tuple[Score, ...]:
    """Count by task, in the order in which they were asked."""
    by_task = dict[str, list[Answered]]()
    for each in answers:
        by_task.setdefault(each.question.task, []).append(each)
    return tuple(
        Score(task, sum(one.is_right for one in those), len(those), sum(one.is_ended for one in those))
        for task, those in by_task.items()
    )
