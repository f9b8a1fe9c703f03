"""The recipe's promise: what the demo model is scored on as unseen is nowhere in its training text."""

import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cocoon_p2p.inference.evaluation import demo_questions

RECIPE = Path(__file__).parents[2] / "inference" / "demo_model"
MODULES = ("held_out", "phrases", "translations", "summaries", "conversation", "documents")


@pytest.fixture(scope="module")
def recipe() -> Iterator[dict[str, Any]]:
    """The recipe's modules by name; they are scripts, in no package."""
    sys.path.insert(0, str(RECIPE))
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(RECIPE))
        for name in MODULES:
            sys.modules.pop(name, None)


def unseen(*tasks: str) -> set[str]:
    return {question.asked[-1] for question in demo_questions() if question.task in tasks}


def bare(phrase: str) -> str:
    return phrase.rstrip(".!").strip().lower()


def words(phrases: Iterable[tuple[str, ...]], language: int) -> set[str]:
    return {word for phrase in phrases for word in re.findall(r"\w+", phrase[language].lower())}


def test_no_phrase_that_is_trained_on_is_one_held_out_in_any_language(recipe: dict[str, Any]) -> None:
    phrases = recipe["phrases"]
    held_out = phrases.composed_phrases(held_out=True)
    trained = [phrase for kind in phrases.KINDS for phrase in phrases.trained_phrases(kind)]

    assert len(held_out) == 92
    for language in range(5):
        unseen = {bare(phrase[language]) for phrase in held_out}
        assert unseen.isdisjoint(bare(phrase[language]) for phrase in trained)


def test_every_word_of_a_phrase_held_out_is_trained_on(recipe: dict[str, Any]) -> None:
    phrases = recipe["phrases"]
    trained = [phrase for kind in phrases.KINDS for phrase in phrases.trained_phrases(kind)]

    for language in range(5):
        assert words(phrases.composed_phrases(held_out=True), language) <= words(trained, language)


def test_no_wording_held_out_is_ever_drawn(recipe: dict[str, Any]) -> None:
    conversation = recipe["conversation"]
    held_out = {conversation.letters(wording) for wording, _ in conversation.held_out_wordings()}
    random = Random(0)

    drawn = {conversation.letters(conversation.chat(random)[0]) for _ in range(5_000)}

    assert len(held_out) == 107
    assert drawn.isdisjoint(held_out)


def test_no_wording_can_mean_two_questions(recipe: dict[str, Any]) -> None:
    conversation = recipe["conversation"]
    answers = dict[str, str]()
    for each in conversation.known():
        for wording in each.wordings:
            pieces = conversation.PARTS.split(wording)
            choices = [piece.split("|") if place % 2 else [piece] for place, piece in enumerate(pieces)]
            for chosen in product(*choices):
                letters = conversation.letters("".join(chosen))
                assert answers.setdefault(letters, each.answer) == each.answer


def test_no_question_scored_as_unseen_is_asked_in_training(recipe: dict[str, Any]) -> None:
    random = Random(1)
    scored = unseen(
        "translation, unseen phrase",
        "translation, unseen wording",
        "summary, unseen",
        "repetition, unseen",
        "chat, unseen wording",
        "chat, unseen wording, later set",
        "unknown question, unseen",
        "unknown phrase, unseen",
    )

    drawn = {recipe["documents"].question(random)[0] for _ in range(10_000)}

    assert drawn.isdisjoint(scored)


def test_no_text_scored_under_a_system_prompt_is_trained_on_under_one(recipe: dict[str, Any]) -> None:
    random = Random(2)
    scored = unseen("translation by a system prompt, unseen phrase", "summary by a system prompt, unseen")
    draws = (recipe["translations"].instructed_translation, recipe["summaries"].instructed_summary)

    drawn = {draw(random)[1] for draw in draws for _ in range(5_000)}

    assert len(scored) > 300
    assert drawn.isdisjoint(scored)
