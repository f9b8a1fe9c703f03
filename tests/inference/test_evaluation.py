"""Scores: which answers count, and those of the demo model as its pages state them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.evaluation import (
    Answered,
    Question,
    Score,
    answer,
    demo_questions,
    evaluate,
    first_of_each_task,
    scores,
)
from cocoon_p2p.inference.llamacpp import open_llamacpp

INFERENCE = Path(__file__).parents[2] / "inference"
BOUND_SECONDS = 60
"A bound for a test that hangs; none waits for it."

STATED = re.compile(r"^\| ([a-z][a-z, ]+?) \| (\d+) of (\d+) \|", re.MULTILINE)
SLACK = 0.01
"Processors round differently, so a close choice of the model's may fall elsewhere."


def asked(task: str, question: str = "Hello", right: str = "Hi") -> Question:
    return Question(task, (question,), right)


def stated() -> dict[str, tuple[int, int]]:
    text = (INFERENCE / "README.md").read_text(encoding="utf-8")
    return {task: (int(right), int(of)) for task, right, of in STATED.findall(text)}


def test_an_answer_counts_to_the_letter() -> None:
    right = asked("chat")
    answers = [Answered(right, text, is_ended=True) for text in ("Hi", "Hi.", "hi", "")]

    assert [each.is_right for each in answers] == [True, False, False, False]


def test_an_answer_that_the_limit_cut_off_is_wrong_though_all_of_it_is_right() -> None:
    assert not Answered(asked("chat"), "Hi", is_ended=False).is_right


def test_each_task_is_counted_for_itself() -> None:
    answers = [
        Answered(asked("a"), "Hi", is_ended=True),
        Answered(asked("b"), "no", is_ended=True),
        Answered(asked("a"), "Hi", is_ended=False),
    ]

    assert scores(answers) == (Score("a", 1, 2, 1), Score("b", 0, 1, 1))


def test_a_larger_count_only_adds_questions() -> None:
    questions = [asked(task, str(number)) for number in range(5) for task in "ab"]

    few, more = (first_of_each_task(questions, count) for count in (1, 3))

    assert [(each.task, each.asked) for each in few] == [("a", ("0",)), ("b", ("0",))]
    assert set(few) < set(more)
    assert len(more) == 6


def test_the_questions_are_those_that_the_recipe_draws() -> None:
    drawn = subprocess.run(
        [sys.executable, INFERENCE / "demo_model" / "questions.py"],
        capture_output=True,
        check=True,
        env={"PYTHONUTF8": "1"},
    )

    kept = demo_model().parent / "questions.jsonl"
    assert drawn.stdout == kept.read_bytes()


def test_every_task_has_a_stated_figure_over_all_of_its_questions() -> None:
    asked_by_task = dict[str, int]()
    for question in demo_questions():
        asked_by_task[question.task] = asked_by_task.get(question.task, 0) + 1

    assert {task: of for task, (_, of) in stated().items()} == asked_by_task


@pytest.mark.slow
async def test_of_a_few_questions_of_each_task_the_demo_model_gets_most_right() -> None:
    questions = first_of_each_task(demo_questions(), 3)
    told = list[Answered]()
    with trio.fail_after(BOUND_SECONDS):
        async with open_llamacpp(demo_model(), slots=1, threads=1) as engine:
            answers = await evaluate(engine, questions, told=told.append)
            earlier = Question("chat", ("Hello", "Hello! How can I help you?", "What is TON?"), "")
            of_the_last_turn = await answer(engine, earlier)

    assert tuple(told) == answers
    assert sum(each.is_right for each in answers) >= 0.9 * len(questions)
    assert of_the_last_turn.answer == "TON is a blockchain. This network uses it to settle payments."


@pytest.mark.long
async def test_the_demo_model_reaches_its_stated_figures() -> None:
    async with open_llamacpp(demo_model(), slots=1, threads=1) as engine:
        found = scores(await evaluate(engine, demo_questions()))

    short = [
        (score.task, score.right, right)
        for score in found
        for right, of in [stated()[score.task]]
        if score.right < right - max(1, SLACK * of)
    ]
    assert short == []
    assert sum(score.ended for score in found) >= (1 - SLACK) * len(demo_questions())
