"""Guessing tokens changes how soon an answer comes, and nothing else."""

import json
from pathlib import Path

import pytest
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import GenerateRequest, PromptTooLong
from cocoon_p2p.inference.exllama.loading import DRAFT_TOKENS, Placement
from cocoon_p2p.inference.exllama.model_folder import ModelFolder, read_folder
from cocoon_p2p.inference.exllama.opening import ExllamaSettings, placement_of
from tests.exllama.asking import BOUND_SECONDS, NAME, chat, pieces_of, text
from tests.exllama.conftest import Bench
from tests.exllama.other_folders import write_shaken

QUESTIONS = (
    chat("What is a worker?"),
    chat("Translate to Russian: Good morning."),
    chat("What is a worker?", completion_tokens_max=5),
    chat("What is a worker?", banned=("network",), logprobs=0),
    chat("What is a worker?", answer_prefix="A worker", stop=("runs",)),
)


@pytest.fixture(scope="session")
def shaken(folder: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return read_folder(write_shaken(folder.path, tmp_path_factory.mktemp("draft") / "shaken", noise=0.8))


@pytest.mark.parametrize("paged", [True, False], ids=["in pages", "one at a time"])
async def test_a_draft_model_changes_no_answer_and_no_count(
    bench: Bench, shaken: ModelFolder, paged: bool
) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(paged=paged) as engine:
            free = [await pieces_of(engine, question) for question in QUESTIONS]
        for draft in (shaken, bench.folder):
            async with bench.open(paged=paged, draft=draft) as engine:
                drafted = [await pieces_of(engine, question) for question in QUESTIONS]

            assert [text(each) for each in drafted] == [text(each) for each in free]
            ends = [(each[-1].completion_tokens, each[-1].prompt_tokens, each[-1].finish) for each in drafted]
            assert ends == [
                (each[-1].completion_tokens, each[-1].prompt_tokens, each[-1].finish) for each in free
            ]


@pytest.mark.on_processor
async def test_right_guesses_save_steps_and_wrong_ones_cost_none(bench: Bench, shaken: ModelFolder) -> None:
    steps = dict[str, int]()
    with trio.fail_after(BOUND_SECONDS):
        for name, draft in {"none": None, "shaken": shaken, "equal": bench.folder}.items():
            loaded = bench.load(Placement(4, 512, draft=draft))
            async with bench.open(loaded, draft=draft) as engine:
                before = loaded.model.steps
                await pieces_of(engine, QUESTIONS[0])
                steps[name] = loaded.model.steps - before

    assert steps["equal"] < steps["shaken"] <= steps["none"]


async def test_many_are_drafted_in_one_batch_and_each_gets_its_own(bench: Bench, shaken: ModelFolder) -> None:
    answers = dict[int, str]()

    async def ask(number: int) -> None:
        answers[number] = text(await pieces_of(engine, QUESTIONS[number % 2]))

    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(draft=shaken) as engine:
            alone = [text(await pieces_of(engine, question)) for question in QUESTIONS[:2]]
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(ask, number)

    assert answers == {number: alone[number % 2] for number in range(8)}


async def test_what_guesses_reach_beyond_is_no_room_for_answers(bench: Bench, shaken: ModelFolder) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(slots=1, draft=shaken) as engine:
            (card,) = engine.capabilities.models
            assert card.context_tokens == 512 - DRAFT_TOKENS - 1
            long = GenerateRequest(NAME, prompt="a b" * 251, completion_tokens_max=600, ignore_eos=True)
            counted = await engine.count(long)
            pieces = await pieces_of(engine, long)
            assert pieces[-1].completion_tokens + counted.prompt_tokens == card.context_tokens
            with pytest.raises(PromptTooLong):
                await engine.count(GenerateRequest(NAME, prompt="a b" * 300))


def test_a_draft_model_of_another_vocabulary_is_refused(
    bench: Bench, shaken: ModelFolder, tmp_path: Path
) -> None:
    other = write_shaken(bench.folder.path, tmp_path / "other", noise=0)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))

    with pytest.raises(ConfigurationError, match="another vocabulary"):
        placement_of(bench.folder, ExllamaSettings(draft=other))
    assert placement_of(bench.folder, ExllamaSettings(draft=shaken.path)).draft == shaken
