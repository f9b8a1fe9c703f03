"""Everyday phrases in five languages: some hundred written down, some thousand composed from word lists.

A composed phrase is held out or trained on as a whole; a phrase that is written down is
held out only in some wordings of the question (`translations`). Words that stand in few
composed phrases stand in practice phrases too, so that a phrase held out is new, and its
words are not.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, product
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
PRACTICE_PLACES: tuple[Phrase, ...] = (
    ("the {}", "{}", "{}", "{}", "{}"),
    ("Here is the {}.", "Aquí está {}.", "Hier ist {}.", "Voici {}.", "Вот {}."),
)
PRACTICE_WAYS: tuple[Phrase, ...] = (
    (
        "I want to go to the {}.",
        "Quiero ir {}.",
        "Ich möchte {} gehen.",
        "Je veux aller {}.",
        "Я хочу пойти {}.",
    ),
    (
        "How do I get to the {}?",
        "¿Cómo llego {}?",
        "Wie komme ich {}?",
        "Comment aller {} ?",
        "Как пройти {}?",
    ),
)
PRACTICE_WALKS: Phrase = ("{} is going to the {}.", "{} va {}.", "{} geht {}.", "{} va {}.", "{} идёт {}.")
PRACTICE_FOODS: tuple[Phrase, ...] = (
    ("I see {}.", "Veo {}.", "Ich sehe {}.", "Je vois {}.", "Я вижу {}."),
    ("We are buying {}.", "Compramos {}.", "Wir kaufen {}.", "Nous achetons {}.", "Мы покупаем {}."),
    (
        "Bring me {}, please.",
        "Tráigame {}, por favor.",
        "Bringen Sie mir bitte {}.",
        "Apportez-moi {}, s'il vous plaît.",
        "Принесите мне {}, пожалуйста.",
    ),
    (
        "We want to buy {}.",
        "Queremos comprar {}.",
        "Wir möchten {} kaufen.",
        "Nous voulons acheter {}.",
        "Мы хотим купить {}.",
    ),
)
PRACTICE_BUYS: tuple[Phrase, ...] = (
    ("{} wants {}.", "{} quiere {}.", "{} möchte {}.", "{} veut {}.", "{} хочет {}."),
    ("{} is looking for {}.", "{} busca {}.", "{} sucht {}.", "{} cherche {}.", "{} ищет {}."),
)
PRACTICE_DATES: tuple[Phrase, ...] = (
    ("{}", "{}", "{}", "{}", "{}"),
    (
        "Is it {} today?",
        "¿Es hoy {}?",
        "Ist heute {}?",
        "Est-ce que c'est {} aujourd'hui ?",
        "Сегодня {}?",
    ),
    (
        "The day after tomorrow is {}.",
        "Pasado mañana es {}.",
        "Übermorgen ist {}.",
        "Après-demain, c'est {}.",
        "Послезавтра {}.",
    ),
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
    return tuple(
        phrase for kind in KINDS for phrase in KINDS[kind].composed() if is_held_out(phrase[0]) == held_out
    )


@cache
def trained_phrases(kind: str) -> tuple[Phrase, ...]:
    """The composed phrases of a kind that are trained on, and those that are for practice only."""
    trained = tuple(phrase for phrase in KINDS[kind].composed() if not is_held_out(phrase[0]))
    return trained + tuple(KINDS[kind].practice())


def _filled(sentences: Iterable[Phrase], *lists: str) -> Iterator[Phrase]:
    """Put every word of the lists, all combinations, into every sentence."""
    for sentence in sentences:
        for chosen in product(*map(words, lists)):
            yield _phrase([form.format(*each) for form, *each in zip(sentence, *chosen, strict=True)])


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


def _practice_with_places() -> Iterator[Phrase]:
    for english, spanish, german, french, *forms in words("places"):
        spanish_to, german_to, french_to, russian, russian_to = forms
        place = (english, spanish, german, french, russian)
        to_it = (english, spanish_to, german_to, french_to, russian_to)
        for sentence in PRACTICE_PLACES:
            yield _phrase([form.format(word) for form, word in zip(sentence, place, strict=True)])
        for sentence in PRACTICE_WAYS:
            yield _phrase([form.format(word) for form, word in zip(sentence, to_it, strict=True)])
        for person in words("people"):
            forms_of_all = zip(PRACTICE_WALKS, person, to_it, strict=True)
            yield _phrase([form.format(who, word) for form, who, word in forms_of_all])


@dataclass(frozen=True, slots=True)
class Kind:
    """Phrases about the same words."""

    share: int
    "Of a hundred composed phrases in training, how many are of this kind: few words need no fewer examples."

    composed: Callable[[], Iterator[Phrase]]
    practice: Callable[[], Iterator[Phrase]]
    "Never held out, never asked when the model is scored."


KINDS = {
    "things": Kind(46, _about_things, lambda: iter(())),
    "places": Kind(16, _about_places, _practice_with_places),
    "foods": Kind(
        18,
        lambda: _filled(WANTS, "foods"),
        lambda: chain(_filled(PRACTICE_FOODS, "foods"), _filled(PRACTICE_BUYS, "people", "foods")),
    ),
    "people": Kind(8, lambda: _filled(LIVES, "people", "cities"), lambda: iter(())),
    "days": Kind(12, lambda: _filled(DATES, "days"), lambda: _filled(PRACTICE_DATES, "days")),
}
