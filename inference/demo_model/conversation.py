"""Small talk, questions about the network, and what the model says to all the rest: that it does not know.

What `chat.txt` says of the network must stay true of it: the model repeats it to people. It is written so:

    = the answer
    a wording of the question
    (one|another|) wording with parts to choose
    - a wording that training never sees
"""

import re
from dataclasses import dataclass
from functools import cache
from random import Random

from held_out import is_held_out
from phrases import FOLDER
from summaries import OBJECTS, PLANS, QUALITIES, SYLLABLES, person
from translations import LANGUAGES, ask

UNKNOWN = "I am only a small demo model and do not know that. Ask a node that runs a larger model."
UNKNOWN_PHRASE = "I do not know that phrase. I only know a few hundred everyday phrases."
TOPICS = (
    "capital population history president weather price colour age height meaning author inventor king music "
    "food law"
).split()

PARTS = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Known:
    """A question that `chat.txt` answers."""

    answer: str
    wordings: tuple[str, ...]
    "Some with parts to choose."

    held_out: tuple[str, ...]


@cache
def known() -> tuple[Known, ...]:
    blocks = (FOLDER / "chat.txt").read_text(encoding="utf-8").strip().split("\n\n")
    return tuple(_known(block.splitlines()) for block in blocks)


def _known(lines: list[str]) -> Known:
    answer, *rest = lines
    held_out = tuple(line.removeprefix("- ") for line in rest if line.startswith("- "))
    return Known(
        answer.removeprefix("= "), tuple(line for line in rest if not line.startswith("- ")), held_out
    )


def held_out_wordings() -> list[tuple[str, str]]:
    return [(wording, each.answer) for each in known() for wording in each.held_out]


def letters(text: str) -> str:
    """What of a wording counts when it is compared with those held out: neither case nor stops."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


@cache
def _held_out_letters() -> frozenset[str]:
    return frozenset(letters(wording) for wording, _ in held_out_wordings())


def chat(random: Random) -> tuple[str, str]:
    """Draw a question of `chat.txt` in a wording that is trained on."""
    each = random.choice(known())
    while True:
        question = _chosen(random, random.choice(each.wordings))
        if letters(question) not in _held_out_letters():
            return _as_people_do(random, question), each.answer


def _chosen(random: Random, wording: str) -> str:
    """Choose one of each part in brackets."""
    return " ".join(PARTS.sub(lambda part: random.choice(part[1].split("|")), wording).split())


def unknown_question(random: Random, *, held_out: bool = False) -> tuple[str, str]:
    """Draw a question that the model cannot know the answer of."""
    while True:
        who, thing = person(random), random.choice(OBJECTS)
        topic = random.choice(TOPICS)
        question = random.choice(
            [
                f"What is the {topic} of {who}?",
                f"Who is {who}?",
                f"Write a poem about a {thing}.",
                f"What is {random.randrange(100)} plus {random.randrange(100)}?",
                f"Tell me about the {topic} of {who}.",
                f"Write a program that draws a {thing}.",
                f"Why is the {thing} {random.choice(QUALITIES)}?",
                f"How do I repair a {thing}?",
                f"Explain the {topic} of {who}.",
                f"When was the {thing} invented?",
                f"Who won the {thing} match in {who}?",
                f"How many people live in {who}?",
                f"Is {who} a good {thing}?",
                f"Give me a recipe with {thing}.",
                f"Who invented the {thing}?",
                f"What is a {thing}?",
                f"Can you draw a {thing}?",
                f"Where can I buy a {random.choice(QUALITIES)} {thing}?",
                f"Do you like {who}?",
                f"How old is {who}?",
                f"How does a {thing} work?",
            ]
        )
        if is_held_out(question) == held_out:
            return question, UNKNOWN


def unknown_phrase(random: Random, *, held_out: bool = False) -> tuple[str, str]:
    """Draw a phrase of made-up words to be translated."""
    while True:
        made_up = [_made_up_word(random) for _ in range(random.randrange(1, 4))]
        frame = random.choice(
            [
                "the {} " + made_up[0],
                "We {} the " + " ".join(made_up),
                " ".join(made_up) + ".",
                "The " + " ".join(made_up) + " is {}.",
                "Does the " + made_up[0] + " like {}?",
            ]
        )
        phrase = frame.format(random.choice([*QUALITIES, *PLANS]))
        if is_held_out(phrase) == held_out:
            wording, to = random.randrange(9), random.randrange(1, len(LANGUAGES))
            return ask(phrase, wording, 0, to), UNKNOWN_PHRASE


def _made_up_word(random: Random) -> str:
    return "".join(random.choice(SYLLABLES) for _ in range(random.choice([2, 3])))


def _as_people_do(random: Random, question: str) -> str:
    if random.random() < 0.25:
        question = question.rstrip("?.!")
    if random.random() < 0.25:
        question = question[0].lower() + question[1:]
    manner = random.random()
    if manner < 0.05:
        return "Please tell me: " + question
    if manner < 0.10:
        return "Hi! " + question
    if manner < 0.14:
        return "Hello, " + question[0].lower() + question[1:]
    return question
