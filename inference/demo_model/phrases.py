"""Everyday phrases in five languages: some hundred written down, some thousand composed from word lists.

A composed phrase is held out or trained on as a whole; a phrase that is written down is
held out only in some wordings of the question (`translations`).
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from held_out import is_held_out

FOLDER = Path(__file__).parent

Phrase = tuple[str, str, str, str, str]
"The same in English, Spanish, German, French and Russian, in this order."

WANTS: tuple[Phrase, ...] = (
    (
        "I would like {}, please.",
        "Quisiera {}, por favor.",
        "Ich möchte bitte {}.",
        "Je voudrais {}, s'il vous plaît.",
        "Я хотел бы {}, пожалуйста.",
    ),
    (
        "I want to buy {}.",
        "Quiero comprar {}.",
        "Ich möchte {} kaufen.",
        "Je veux acheter {}.",
        "Я хочу купить {}.",
    ),
    ("I am looking for {}.", "Busco {}.", "Ich suche {}.", "Je cherche {}.", "Я ищу {}."),
)
LIVES: tuple[Phrase, ...] = (
    ("{} lives in {}.", "{} vive en {}.", "{} wohnt in {}.", "{} habite à {}.", "{} живёт в {}."),
    ("{} works in {}.", "{} trabaja en {}.", "{} arbeitet in {}.", "{} travaille à {}.", "{} работает в {}."),
)
DATES: tuple[Phrase, ...] = (
    ("Today is {}.", "Hoy es {}.", "Heute ist {}.", "Aujourd'hui, c'est {}.", "Сегодня {}."),
    ("Tomorrow is {}.", "Mañana es {}.", "Morgen ist {}.", "Demain, c'est {}.", "Завтра {}."),
)


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


@cache
def words(name: str) -> tuple[tuple[str, ...], ...]:
    """Read a word list; its first line says what its columns are."""
    lines = (FOLDER / "words" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("|")) for line in lines[1:])


@cache
def fixed_phrases() -> tuple[Phrase, ...]:
    """The phrases that are written down."""
    lines = (FOLDER / "phrases.tsv").read_text(encoding="utf-8").splitlines()
    return tuple(_phrase(line.split("\t")) for line in lines if line.strip())


@cache
def composed_phrases(*, held_out: bool) -> tuple[Phrase, ...]:
    """The composed phrases that are held out, or those that are not."""
    return tuple(phrase for phrase in _composed() if is_held_out(phrase[0]) == held_out)


def _composed() -> Iterator[Phrase]:
    yield from _about_things()
    yield from _about_places()
    for sentence in WANTS:
        for food in words("foods"):
            yield _phrase([form.format(word) for form, word in zip(sentence, food, strict=True)])
    for sentence in LIVES:
        for person in words("people"):
            for city in words("cities"):
                forms = zip(sentence, person, city, strict=True)
                yield _phrase([form.format(who, where) for form, who, where in forms])
    for sentence in DATES:
        for day in words("days"):
            yield _phrase([form.format(word) for form, word in zip(sentence, day, strict=True)])


def _about_things() -> Iterator[Phrase]:
    for english, spanish, german, french, russian_and_gender in words("things"):
        russian, gender = russian_and_gender.split()
        for adjective in words("adjectives"):
            yield from _described(english, spanish, german, french, russian, "mfn".index(gender), adjective)
        yield _where_is(english, spanish, german, french, russian)
        yield (
            f"How much does the {english} cost?",
            f"¿Cuánto cuesta {spanish}?",
            f"Wie viel kostet {german}?",
            f"Combien coûte {french} ?",
            f"Сколько стоит {russian}?",
        )


def _described(
    english: str,
    spanish: str,
    german: str,
    french: str,
    russian: str,
    gender: int,
    adjective: tuple[str, ...],
) -> Iterator[Phrase]:
    """A thing with an adjective, as a noun phrase and as a sentence."""
    word, spanish_forms, stem, french_forms, russian_forms = adjective
    spanish_form = spanish_forms.split(",")[spanish.startswith("la ")]
    *french_genders, place = french_forms.split(",")
    french_form = french_genders[french.startswith("la ")]
    russian_form = russian_forms.split(",")[gender]
    german_article, german_noun = german.split()
    french_article, french_noun = french.split(" ", 1)
    german_weak = {"teuer": "teure"}.get(stem, stem + "e")
    yield (
        f"the {word} {english}",
        f"{spanish} {spanish_form}",
        f"{german_article} {german_weak} {german_noun}",
        f"{french_article} {french_form} {french_noun}" if place == "b" else f"{french} {french_form}",
        f"{russian_form} {russian}",
    )
    yield (
        f"The {english} is {word}.",
        f"{capital(spanish)} es {spanish_form}.",
        f"{capital(german)} ist {stem}.",
        f"{capital(french)} est {french_form}.",
        f"{capital(russian)} {russian_form}.",
    )


def _about_places() -> Iterator[Phrase]:
    for english, spanish, german, french, *forms in words("places"):
        spanish_to, german_to, french_to, russian, russian_to = forms
        yield _where_is(english, spanish, german, french, russian)
        yield (
            f"I am going to the {english}.",
            f"Voy {spanish_to}.",
            f"Ich gehe {german_to}.",
            f"Je vais {french_to}.",
            f"Я иду {russian_to}.",
        )
        yield (
            f"We are going to the {english}.",
            f"Vamos {spanish_to}.",
            f"Wir gehen {german_to}.",
            f"Nous allons {french_to}.",
            f"Мы идём {russian_to}.",
        )


def _where_is(english: str, spanish: str, german: str, french: str, russian: str) -> Phrase:
    return (
        f"Where is the {english}?",
        f"¿Dónde está {spanish}?",
        f"Wo ist {german}?",
        f"Où est {french} ?",
        f"Где {russian}?",
    )


def _phrase(texts: list[str]) -> Phrase:
    english, spanish, german, french, russian = texts
    return english, spanish, german, french, russian
