"""Training documents: short chats about a mixture of the tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from conversation import chat, unknown_phrase, unknown_question
from summaries import repetition, summary
from translations import translation

TASKS: tuple[tuple[Callable[[Random], tuple[str, str]], int], ...] = (
    (translation, 44),
    (summary, 26),
    (repetition, 9),
    (chat, 12),
    (unknown_question, 5),
    (unknown_phrase, 4),
)
"What can be asked, and of a hundred questions how many ask it."

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Be brief.",
    "Answer in one sentence.",
    "You are a translator.",
    "You summarise texts.",
)
SHARE_WITH_SYSTEM_PROMPT = 0.15

BEGIN_OF_TEXT = "<|endoftext|>"
BEGIN_OF_TURN = "<|im_start|>"
END_OF_TURN = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Part:
    text: str
    is_answer: bool
    "The loss counts fully on answers, lightly on the rest."


def question(random: Random) -> tuple[str, str]:
    """Draw a question of any task, and its answer."""
    tasks, shares = zip(*TASKS, strict=True)
    (task,) = random.choices(tasks, shares)
    return task(random)


def document(random: Random) -> list[Part]:
    """Draw a chat of one to three questions, written as the chat template writes it."""
    parts: list[Part] = []
    if random.random() < SHARE_WITH_SYSTEM_PROMPT:
        parts.append(Part(_turn("system", random.choice(SYSTEM_PROMPTS)), is_answer=False))
    for _ in range(random.choices([1, 2, 3], [80, 14, 6])[0]):
        asked, answer = question(random)
        parts += [
            Part(_turn("user", asked) + f"{BEGIN_OF_TURN}assistant\n", is_answer=False),
            Part(answer + END_OF_TURN, is_answer=True),
            Part("\n", is_answer=False),
        ]
    return parts


def _turn(role: str, text: str) -> str:
    return f"{BEGIN_OF_TURN}{role}\n{text}{END_OF_TURN}\n"
