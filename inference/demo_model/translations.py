"""Questions for a translation, and their answers."""

from enum import Enum
from random import Random

from held_out import is_held_out
from phrases import KINDS, Phrase, composed_phrases, fixed_phrases, trained_phrases

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
MORE_WORDINGS = (
    "Translate the following text to {to}: {phrase}",
    "Translate the following text into {to}.\n\n{phrase}",
    "Translate the following text from {source} to {to}.\n\n{phrase}",
    "Translate the text below into {to}. Answer with the translation only.\n\n{phrase}",
    "Translate from {source} into {to}. Give only the translation.\n\n{phrase}",
    "Translate into {to}. Write nothing but the translation.\n\n{phrase}",
    "Translate to {to}, please.\n\n{phrase}",
    "How do I say {phrase} in {to}?",
    'What does "{phrase}" mean in {to}?',
    'Can you translate "{phrase}" into {to}?',
    "{phrase}\n\nTranslate this to {to}.",
)
"Trained on, never asked when the model is scored."

INSTRUCTIONS = (
    "Translate into {to}.",
    "Translate what the user writes into {to}.",
    "Translate the user's text from {source} to {to}. Answer with the translation only.",
    "You are a translator. Translate every message into {to}. Write only the translation.",
    "You translate from {source} to {to}. Give the translation and nothing else.",
)
"What a system prompt says where the question is the bare phrase."

SHARE_MORE_WORDINGS = 0.25
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
        source, to = _direction(random)
        wording = random.randrange(len(WORDINGS))
        if phrase in fixed_phrases():
            unseen = is_held_out((phrase[0], source, to, wording))
            if unseen != (seen is Seen.WORDING_NOT):
                continue
        if seen is not Seen.ALL:
            return ask(phrase[source], wording, source, to), phrase[to]
        words = WORDINGS[wording]
        if random.random() < SHARE_MORE_WORDINGS:
            words = random.choice(MORE_WORDINGS)
        return _ask_as_people_do(random, phrase, words, source, to), phrase[to]


def instructed_translation(random: Random, seen: Seen = Seen.ALL) -> tuple[str, str, str]:
    """Draw a system prompt that asks for translations, a bare phrase, and its answer."""
    phrase = _phrase(random, seen)
    source, to = _direction(random)
    instruction = random.choice(INSTRUCTIONS).format(source=LANGUAGES[source], to=LANGUAGES[to])
    return instruction, phrase[source], phrase[to]


def _direction(random: Random) -> tuple[int, int]:
    other = random.randrange(1, 5)
    return (0, other) if random.random() < SHARE_FROM_ENGLISH else (other, 0)


def ask(phrase: str, wording: int, source: int, to: int) -> str:
    """Put a question, languages given as numbers and spelled out."""
    return WORDINGS[wording].format(phrase=phrase, source=LANGUAGES[source], to=LANGUAGES[to])


def _ask_as_people_do(random: Random, phrase: Phrase, wording: str, source: int, to: int) -> str:
    question = phrase[source]
    if random.random() < SHARE_SLOPPY:
        question = _sloppy(random, question)
    source_name = random.choice(SPELLINGS[LANGUAGES[source]])
    respelt = random.random() < SHARE_RESPELT
    to_name = random.choice(SPELLINGS[LANGUAGES[to]]) if respelt else LANGUAGES[to]
    return wording.format(phrase=question, source=source_name, to=to_name)


def _phrase(random: Random, seen: Seen) -> Phrase:
    if seen is Seen.PHRASE_NOT:
        return random.choice(composed_phrases(held_out=True))
    if seen is Seen.WORDING_NOT or random.random() < SHARE_FIXED:
        return random.choice(fixed_phrases())
    shares = [kind.share for kind in KINDS.values()]
    (kind,) = random.choices(list(KINDS), shares)
    return random.choice(trained_phrases(kind))


def _sloppy(random: Random, phrase: str) -> str:
    if random.random() < 0.5:
        return phrase.rstrip(".!").rstrip()
    return phrase[0].lower() + phrase[1:]
