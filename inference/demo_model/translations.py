"""Questions for a translation, and their answers."""

from enum import Enum
from random import Random

from held_out import is_held_out
from phrases import Phrase, composed_phrases, fixed_phrases

LANGUAGES = ("English", "Spanish", "German", "French", "Russian")
SPELLINGS = {
    "English": ["English", "english", "en", "EN"],
    "Spanish": ["Spanish", "spanish", "es"],
    "German": ["German", "german", "de"],
    "French": ["French", "french", "fr"],
    "Russian": ["Russian", "russian", "ru"],
}
WORDINGS = (
    "Translate to {to}: {phrase}",
    "Translate into {to}: {phrase}",
    'How do you say "{phrase}" in {to}?',
    "translate to {to}: {phrase}",
    "{to}: {phrase}",
    "Say in {to}: {phrase}",
    "Please translate to {to}: {phrase}",
    'What is "{phrase}" in {to}?',
    "Translate this to {to}:\n{phrase}",
    "Translate from {source} to {to}: {phrase}",
    '"{phrase}" in {to}?',
    'Translate "{phrase}" to {to}.',
)

SHARE_FIXED = 0.42
SHARE_FROM_ENGLISH = 0.6
SHARE_SLOPPY = 0.15
"Without the final stop, or in lower case, as people write."

SHARE_RESPELT = 0.3


class Seen(Enum):
    """What of a question was trained on."""

    ALL = "everything"
    WORDING_NOT = "the phrase, but not in this wording and direction"
    PHRASE_NOT = "the words, but not this phrase"


def translation(random: Random, seen: Seen = Seen.ALL) -> tuple[str, str]:
    """Draw a question and its answer."""
    while True:
        phrase = _phrase(random, seen)
        other = random.randrange(1, 5)
        source, to = (0, other) if random.random() < SHARE_FROM_ENGLISH else (other, 0)
        wording = random.randrange(len(WORDINGS))
        if phrase in fixed_phrases():
            unseen = is_held_out((phrase[0], source, to, wording))
            if unseen != (seen is Seen.WORDING_NOT):
                continue
        question = phrase[source]
        if seen is not Seen.ALL:
            return ask(question, wording, source, to), phrase[to]
        if random.random() < SHARE_SLOPPY:
            question = _sloppy(random, question)
        return _ask_as_people_do(random, question, wording, source, to), phrase[to]


def ask(phrase: str, wording: int, source: int, to: int) -> str:
    """Put a question, languages given as numbers and spelled out."""
    return WORDINGS[wording].format(phrase=phrase, source=LANGUAGES[source], to=LANGUAGES[to])


def _ask_as_people_do(random: Random, phrase: str, wording: int, source: int, to: int) -> str:
    source_name = random.choice(SPELLINGS[LANGUAGES[source]])
    respelt = random.random() < SHARE_RESPELT
    to_name = random.choice(SPELLINGS[LANGUAGES[to]]) if respelt else LANGUAGES[to]
    return WORDINGS[wording].format(phrase=phrase, source=source_name, to=to_name)


def _phrase(random: Random, seen: Seen) -> Phrase:
    if seen is Seen.PHRASE_NOT:
        return random.choice(composed_phrases(held_out=True))
    if seen is Seen.WORDING_NOT or random.random() < SHARE_FIXED:
        return random.choice(fixed_phrases())
    return random.choice(composed_phrases(held_out=False))


def _sloppy(random: Random, phrase: str) -> str:
    if random.random() < 0.5:
        return phrase.rstrip(".!").rstrip()
    return phrase[0].lower() + phrase[1:]
