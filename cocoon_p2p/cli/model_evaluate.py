"""`cocoon model evaluate`: what a model gets right, asked here, without a network and without money."""

import os
import sys
from pathlib import Path

import click
import trio

from cocoon_p2p.cli.spell import harmless
from cocoon_p2p.cli.tables import print_json, print_table
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.evaluation import (
    Answered,
    Question,
    demo_questions,
    evaluate,
    first_of_each_task,
    scores,
)
from cocoon_p2p.inference.llamacpp import open_llamacpp
from cocoon_p2p.inference.models.catalogue import catalogue_folder, load_catalogue
from cocoon_p2p.inference.models.finding import FoundModel, find_model
from cocoon_p2p.inference.models.folder import ModelFolder, default_models_folder


def evaluate_model(
    model: str, *, tasks: tuple[str, ...], count: int | None, shows_wrong: bool, as_json: bool
) -> None:
    """Ask a model the demo model's questions and print its scores.

    Args:
        model: As a worker's file names it.
        tasks: Ask these alone; empty: all.
        count: So many questions of each task; None: all.
        shows_wrong: Show each wrong answer, and the right one.
        as_json: Print one JSON object.
    """
    questions = chosen(tasks, count)
    found = find_model(
        model,
        beside=Path.cwd(),
        folder=ModelFolder(default_models_folder(os.environ)),
        catalogue=load_catalogue(catalogue_folder(os.environ)),
    )
    answers = trio.run(_ask, found, questions)
    wrong = [each for each in answers if shows_wrong and not each.is_right]
    if as_json:
        facts: dict[str, object] = {"model": model, "path": str(found.path), "tasks": scores(answers)}
        if shows_wrong:
            facts["wrong"] = wrong
        print_json(facts)
        return
    rows = [
        (score.task, f"{score.right} of {score.asked}", f"{score.right / score.asked:.1%}", f"{score.ended}")
        for score in scores(answers)
    ]
    print_table(("task", "right", "", "ended by itself"), rows, amounts=("right", "", "ended by itself"))
    for each in wrong:
        asked, right, answer = (each.question.asked[-1], each.question.answer, each.answer)
        click.echo(harmless(f"{each.question.task}: {asked!r} -> {answer!r}, not {right!r}"))


def chosen(tasks: tuple[str, ...], count: int | None) -> tuple[Question, ...]:
    """Choose among the questions that come along.

    Raises:
        ConfigurationError: There is no such task.
    """
    questions = demo_questions()
    known = dict.fromkeys(question.task for question in questions)
    for task in tasks:
        if task not in known:
            raise ConfigurationError(f"no such task (task={task})", hint=f"there are: {'; '.join(known)}")
    kept = [question for question in questions if not tasks or question.task in tasks]
    return tuple(kept) if count is None else first_of_each_task(kept, count)


async def _ask(found: FoundModel, questions: tuple[Question, ...]) -> tuple[Answered, ...]:
    done = 0

    def told(_: Answered) -> None:
        nonlocal done
        done += 1
        print(f"\r{done} of {len(questions)}", end="", file=sys.stderr, flush=True)

    async with open_llamacpp(
        found.path,
        name=found.name,
        slots=1,
        has_chat=found.has_chat,
        expected_weights_hash=found.weights_hash,
    ) as engine:
        if not sys.stderr.isatty():
            return await evaluate(engine, questions)
        answers = await evaluate(engine, questions, told=told)
        print(file=sys.stderr)
        return answers
