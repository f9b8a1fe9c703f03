"""Small talk, questions about the network, and what the model says to all the rest: that it does not know.

What `chat.txt` says of the network must stay true of it: the model repeats it to people.
"""

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

WORDINGS_WITH_HELD_OUT = 4
"Of a question with so many wordings or more, the last is held out."


@cache
def answers() -> tuple[tuple[tuple[str, ...], str], ...]:
    """The wordings of each question, and its answer."""
    lines = (FOLDER / "chat.txt").read_text(encoding="utf-8").strip().splitlines()
    pairs = [line.split(" => ") for line in lines]
    return tuple((tuple(wording.strip() for wording in left.split("|")), right) for left, right in pairs)


def held_out_wordings() -> list[tuple[str, str]]:
    return [
        (wordings[-1], answer) for wordings, answer in answers() if len(wordings) >= WORDINGS_WITH_HELD_OUT
    ]


def chat(random: Random) -> tuple[str, str]:
    """Draw a question of `chat.txt` in a wording that is trained on."""
    wordings, answer = random.choice(answers())
    trained = wordings if len(wordings) < WORDINGS_WITH_HELD_OUT else wordings[:-1]
    return _as_people_do(random, random.choice(trained)), answer


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
