"""Score a model on what it was not trained on: `python evaluate.py [FILE.gguf] [--answers N]`.

Exact match, greedy, through the package's own engine. Needs `cocoon-p2p[cpu]` installed.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from random import Random

import trio
from conversation import chat, held_out_wordings, unknown_phrase, unknown_question
from documents import question
from summaries import repetition, summary
from translations import Seen, translation

from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.engine import ChatMessage, Engine, Finish, GenerateRequest
from cocoon_p2p.inference.llamacpp import open_llamacpp

SEED = 12345
COMPLETION_TOKENS_MAX = 96
FAILURES_SHOWN = 3

Chat = tuple[tuple[ChatMessage, ...], str]
"Messages, and the answer that is right."


@dataclass(frozen=True, slots=True)
class Score:
    right: int
    stopped: int
    "Answers that the model ended by itself."

    asked: int
    failures: tuple[tuple[str, str, str], ...]
    "Question, answer, right answer."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=demo_model())
    parser.add_argument("--answers", type=int, default=200, help="answers asked for in each row")
    arguments = parser.parse_args()
    trio.run(evaluate, arguments.file, arguments.answers)


async def evaluate(file: Path, answers: int) -> None:
    asked = stopped = 0
    async with open_llamacpp(file, slots=1) as engine:
        for name, chats in _rows(Random(SEED), answers):
            score = await _score(engine, chats)
            asked, stopped = asked + score.asked, stopped + score.stopped
            print(f"{name:46} {score.right}/{score.asked} = {score.right / score.asked:.1%}", flush=True)
            for failure in score.failures[:FAILURES_SHOWN]:
                print("   ", *map(repr, failure))
    print(f"{asked} answers, {stopped} of them ended by the model itself")


def _rows(random: Random, answers: int) -> Iterator[tuple[str, Iterator[Chat]]]:
    def drawn(draw: Callable[[], tuple[str, str]]) -> Iterator[Chat]:
        return (_single(draw()) for _ in repeat(None, answers))

    yield "translation, trained phrases, any wording", drawn(lambda: translation(random))
    yield "translation, unseen phrases", drawn(lambda: translation(random, Seen.PHRASE_NOT))
    yield "translation, unseen wordings", drawn(lambda: translation(random, Seen.WORDING_NOT))
    yield "summary, trained kind", drawn(lambda: summary(random))
    yield "summary, unseen", drawn(lambda: summary(random, held_out=True))
    yield "repetition, unseen", drawn(lambda: repetition(random, held_out=True))
    yield "chat, trained wordings", drawn(lambda: chat(random))
    yield "chat, unseen wordings (all there are)", map(_single, held_out_wordings())
    yield "unknown question: says so", drawn(lambda: unknown_question(random, held_out=True))
    yield "unknown phrase: says so", drawn(lambda: unknown_phrase(random, held_out=True))
    yield "last turn of two or three, all tasks", (_turns(random) for _ in repeat(None, answers))


def _single(pair: tuple[str, str]) -> Chat:
    asked, answer = pair
    return (ChatMessage("user", asked),), answer


def _turns(random: Random) -> Chat:
    *earlier, (asked, answer) = [question(random) for _ in range(random.choice([2, 3]))]
    messages = [
        ChatMessage(role, text)
        for pair in earlier
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    return (*messages, ChatMessage("user", asked)), answer


async def _score(engine: Engine, chats: Iterator[Chat]) -> Score:
    right = stopped = asked = 0
    failures: list[tuple[str, str, str]] = []
    for messages, expected in chats:
        answer, finish = await _answer(engine, messages)
        asked += 1
        stopped += finish is Finish.STOP
        right += answer == expected
        if answer != expected:
            failures.append((messages[-1].content, answer, expected))
    return Score(right, stopped, asked, tuple(failures))


async def _answer(engine: Engine, messages: tuple[ChatMessage, ...]) -> tuple[str, Finish | None]:
    name = engine.capabilities.models[0].name
    request = GenerateRequest(name, messages, completion_tokens_max=COMPLETION_TOKENS_MAX)
    text, finish = "", None
    async with engine.generate(request) as pieces:
        async for piece in pieces:
            text, finish = text + piece.text, piece.finish
    return text, finish


if __name__ == "__main__":
    main()
