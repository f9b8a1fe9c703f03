"""Draw the questions that the demo model is scored on: `python questions.py > questions.jsonl`.

`cocoon model evaluate` asks them. Each task draws for itself, so that a change to one leaves
the questions of all others as they were. Needs nothing beyond Python.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from random import Random

from conversation import chat, known, unknown_phrase, unknown_question
from documents import question
from phrases import composed_phrases
from summaries import instructed_summary, repetition, summary
from translations import LANGUAGES, WORDINGS, Seen, ask, instructed_translation, translation


@dataclass(frozen=True, slots=True)
class Asked:
    asked: tuple[str, ...]
    "What was said so far, the user first and last."

    answer: str
    told: str = ""
    "By a system prompt."


Drawing = Callable[[Random], Iterable[Asked]]

TRAINED_ON = 100
DRAWN = 200


def main() -> None:
    for task, draw in TASKS.items():
        for each in draw(Random(task)):
            line = {"task": task, "told": each.told, "asked": each.asked, "answer": each.answer}
            print(json.dumps({name: said for name, said in line.items() if said}, ensure_ascii=False))


def _drawn(draw: Callable[[Random], tuple[str, str]], count: int = DRAWN) -> Drawing:
    return lambda random: _single(draw(random) for _ in repeat(None, count))


def _told(draw: Callable[[Random], tuple[str, str, str]]) -> Drawing:
    return lambda random: (
        Asked((asked,), answer, told) for told, asked, answer in (draw(random) for _ in repeat(None, DRAWN))
    )


def _single(pairs: Iterable[tuple[str, str]]) -> Iterator[Asked]:
    return (Asked((asked,), answer) for asked, answer in pairs)


def _unseen_phrases(random: Random) -> Iterator[Asked]:
    """Every composed phrase that is held out, in each of the eight directions."""
    pairs = list[tuple[str, str]]()
    for phrase in composed_phrases(held_out=True):
        for other in range(1, len(LANGUAGES)):
            for source, to in ((0, other), (other, 0)):
                wording = random.randrange(len(WORDINGS))
                pairs.append((ask(phrase[source], wording, source, to), phrase[to]))
    random.shuffle(pairs)
    return _single(pairs)


def _unseen_wordings(first: int, last: int | None) -> Drawing:
    return lambda random: _single(
        (wording, each.answer) for each in known() for wording in each.held_out[first:last]
    )


def _last_turns(random: Random) -> Iterator[Asked]:
    for _ in repeat(None, DRAWN):
        *earlier, (asked, answer) = [question(random) for _ in range(random.choice([2, 3]))]
        yield Asked((*chain.from_iterable(earlier), asked), answer)


TASKS: dict[str, Drawing] = {
    "translation, trained": _drawn(translation, TRAINED_ON),
    "translation, unseen phrase": _unseen_phrases,
    "translation, unseen wording": _drawn(lambda random: translation(random, Seen.WORDING_NOT)),
    "translation by a system prompt, unseen phrase": _told(
        lambda random: instructed_translation(random, Seen.PHRASE_NOT)
    ),
    "summary, trained kind": _drawn(summary, TRAINED_ON),
    "summary, unseen": _drawn(lambda random: summary(random, held_out=True)),
    "summary by a system prompt, unseen": _told(lambda random: instructed_summary(random, held_out=True)),
    "repetition, unseen": _drawn(lambda random: repetition(random, held_out=True)),
    "chat, trained": _drawn(chat, TRAINED_ON),
    "chat, unseen wording": _unseen_wordings(0, 1),
    "chat, unseen wording, later set": _unseen_wordings(1, None),
    "unknown question, unseen": _drawn(lambda random: unknown_question(random, held_out=True)),
    "unknown phrase, unseen": _drawn(lambda random: unknown_phrase(random, held_out=True)),
    "last of two or three turns": _last_turns,
}

if __name__ == "__main__":
    main()
