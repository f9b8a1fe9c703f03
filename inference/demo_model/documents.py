"""Training documents: short chats about a mixture of the tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from conversation import chat, unknown_phrase, unknown_question
from summaries import instructed_summary, repetition, summary
from translations import instructed_translation, translation

Tasks = tuple[tuple[Callable[[Random], tuple[str, str]], int], ...]
"What can be asked, and of a hundred questions how many ask it."

TASKS_FIRST: Tasks = (
    (translation, 42),
    (summary, 18),
    (repetition, 12),
    (chat, 18),
    (unknown_question, 6),
    (unknown_phrase, 4),
)
TASKS_THEN: Tasks = (
    (translation, 50),
    (summary, 16),
    (repetition, 15),
    (chat, 10),
    (unknown_question, 6),
    (unknown_phrase, 3),
)
"Chats are learnt soon, phrases and copying late."

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Be brief.",
    "Answer in one sentence.",
    "You are a translator.",
    "You summarise texts.",
)
SHARE_WITH_SYSTEM_PROMPT = 0.15
SHARE_INSTRUCTED = 0.06
"Where the system prompt is the task, and the question the bare text."

BEGIN_OF_TEXT = "<|endoftext|>"
BEGIN_OF_TURN = "<|im_start|>"
END_OF_TURN = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Part:
    text: str
    is_answer: bool
    "The loss counts fully on answers, lightly on the rest."


def question(random: Random, tasks: Tasks = TASKS_THEN) -> tuple[str, str]:
    """Draw a question of any task, and its answer."""
    draws, shares = zip(*tasks, strict=True)
    (task,) = random.choices(draws, shares)
    return task(random)


def document(random: Random, tasks: Tasks = TASKS_THEN) -> list[Part]:
    """Draw a chat of one to three questions, written as the chat template writes it."""
    if random.random() < SHARE_INSTRUCTED:
        draw = instructed_translation if random.random() < 0.6 else instructed_summary
        instruction, asked, answer = draw(random)
        return [_system(instruction), *_exchange(asked, answer)]
    parts: list[Part] = []
    if random.random() < SHARE_WITH_SYSTEM_PROMPT:
        parts.append(_system(random.choice(SYSTEM_PROMPTS)))
    for _ in range(random.choices([1, 2, 3], [80, 14, 6])[0]):
        parts += _exchange(*question(random, tasks))
    return parts


def _system(text: str) -> Part:
    return Part(_turn("system", text), is_answer=False)


def _exchange(asked: str, answer: str) -> list[Part]:
    return [
        Part(_turn("user", asked) + f"{BEGIN_OF_TURN}assistant\n", is_answer=False),
        Part(answer + END_OF_TURN, is_answer=True),
        Part("\n", is_answer=False),
    ]


def _turn(role: str, text: str) -> str:
    return f"{BEGIN_OF_TURN}{role}\n{text}{END_OF_TURN}\n"
