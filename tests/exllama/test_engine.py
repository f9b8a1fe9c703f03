"""The engine on ExLlamaV2's own generator, jobs, sampler and tokenizer."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from tokenizers import Tokenizer

from cocoon_p2p.inference.engine import (
    Engine,
    EngineError,
    Finish,
    GenerateRequest,
    ModelUnknown,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.inference.exllama.loading import Placement
from cocoon_p2p.inference.exllama.model_folder import read_folder
from tests.exllama.asking import BOUND_SECONDS, NAME, chat, endless, pieces_of, text
from tests.exllama.conftest import Bench

LONG = "Summarise: " + "It was a sunny day. Anna bought a red car in Paris. The shops were closed. " * 24


@pytest.fixture(params=[True, False], ids=["in pages", "one at a time"])
async def engine(bench: Bench, request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(paged=request.param) as engine:
            yield engine


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Hello", "Hello! How can I help you?"),
        ("Translate to Spanish: the red house", "la casa roja"),
        ("Translate to Russian: Good morning.", "Доброе утро."),
        (
            "What is a worker?",
            "A worker is a computer in the network that runs a model and answers questions for pay.",
        ),
    ],
)
async def test_it_answers_as_the_other_engine_does(engine: Engine, question: str, expected: str) -> None:
    pieces = await pieces_of(engine, chat(question))

    assert text(pieces) == expected
    assert pieces[-1].finish is Finish.STOP


async def test_without_attention_in_pages_it_has_one_slot(bench: Bench) -> None:
    async with bench.open(paged=False, slots=4) as engine:
        assert engine.capabilities.slots == 1


async def test_the_count_before_payment_is_the_engine_s_own_count(engine: Engine) -> None:
    for request in (
        chat("Hello"),
        chat("Übersetze 12 Äpfel 🦋<|im_end|>"),
        chat("Hi", answer_prefix="Hello!"),
    ):
        counted = await engine.count(request)
        pieces = await pieces_of(engine, request)

        assert pieces[-1].prompt_tokens == counted.prompt_tokens > 0


async def test_a_continuation_says_only_what_follows(engine: Engine) -> None:
    pieces = await pieces_of(engine, chat("What is a worker?", answer_prefix="A worker is a computer"))

    assert text(pieces) == " in the network that runs a model and answers questions for pay."


async def test_what_a_model_wrote_before_is_no_way_to_write_control_tokens(engine: Engine) -> None:
    without = await engine.count(chat("Hello"))
    with_name = await engine.count(chat("Hello", answer_prefix="<|im_end|>"))

    assert with_name.prompt_tokens - without.prompt_tokens > 1


async def test_a_limit_is_kept_to_the_token(engine: Engine) -> None:
    for limit in (1, 3):
        pieces = await pieces_of(engine, chat("What is a worker?", completion_tokens_max=limit))

        assert (pieces[-1].finish, pieces[-1].completion_tokens) == (Finish.LENGTH, limit)


async def test_counts_rise_token_by_token_and_the_end_counts_too(engine: Engine) -> None:
    pieces = await pieces_of(engine, chat("Hello"))

    counts = [piece.completion_tokens for piece in pieces]
    assert counts == sorted(counts)
    whole = await pieces_of(engine, chat("Hello", completion_tokens_max=counts[-1]))
    assert whole[-1].finish is Finish.STOP
    assert text(whole) == text(pieces)


async def test_a_stop_string_ends_it_and_is_not_delivered(engine: Engine) -> None:
    pieces = await pieces_of(engine, chat("What is a worker?", stop=("network",)))

    assert text(pieces) == "A worker is a computer in the "
    assert pieces[-1].finish is Finish.STOP
    assert text(await pieces_of(engine, chat("Hello"))) == "Hello! How can I help you?"


async def test_characters_of_several_tokens_are_delivered_whole(engine: Engine) -> None:
    pieces = await pieces_of(engine, chat("Translate to Russian: Good morning."))

    assert "\N{REPLACEMENT CHARACTER}" not in text(pieces)
    assert all(piece.text.isprintable() for piece in pieces)


async def test_equal_seeds_give_equal_answers_and_others_do_not(engine: Engine) -> None:
    same = [text(await pieces_of(engine, endless(seed=7, completion_tokens_max=30))) for _ in range(2)]
    others = {
        text(await pieces_of(engine, endless(seed=seed, completion_tokens_max=30))) for seed in range(4)
    }

    assert same[0] == same[1]
    assert len(others) > 1


async def test_what_cannot_be_computed_is_refused_by_name(engine: Engine) -> None:
    with pytest.raises(PromptTooLong, match="context=512"):
        await engine.count(chat("word " * 600))
    with pytest.raises(ModelUnknown):
        await engine.count(GenerateRequest("another", prompt="Hello"))
    with pytest.raises(RequestMalformed):
        await engine.count(chat("\ud800"))


async def test_leaving_frees_the_slot_in_the_midst_of_an_endless_answer(engine: Engine) -> None:
    for _ in range(3 * engine.capabilities.slots):
        async with engine.generate(endless()) as pieces:
            await anext(pieces)

    assert text(await pieces_of(engine, chat("Hello"))) == "Hello! How can I help you?"


# ---------------------------------------------------------------- many at once


@pytest.mark.on_processor
async def test_many_are_computed_in_one_batch_and_each_gets_its_own(bench: Bench) -> None:
    questions = {"Hello": "Hello! How can I help you?", "Translate to Spanish: the red house": "la casa roja"}
    answers = dict[tuple[str, int], str]()
    placement = Placement(4, 512)
    loaded = bench.load(placement)

    async def ask(question: str, number: int) -> None:
        answers[question, number] = text(await pieces_of(engine, chat(question)))

    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(loaded) as engine:
            before = loaded.model.steps
            async with trio.open_nursery() as nursery:
                for number in range(4):
                    for question in questions:
                        nursery.start_soon(ask, question, number)

    assert answers == {(q, number): a for q, a in questions.items() for number in range(4)}
    tokens = 4 * (9 + 6)
    assert loaded.model.steps - before < tokens


async def test_a_slow_reader_delays_nobody(bench: Bench) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(slots=2) as engine, engine.generate(endless()) as slow:
            await anext(slow)

            assert text(await pieces_of(engine, chat("Hello"))) == "Hello! How can I help you?"


async def test_drafting_changes_no_answer_and_no_count(bench: Bench) -> None:
    question = chat("Repeat: one two three one two three one two three")
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open() as engine:
            expected = await pieces_of(engine, question)
            cut = await pieces_of(engine, chat("What is a worker?", completion_tokens_max=5))
        async with bench.open(draft_ngram=True) as engine:
            drafted = await pieces_of(engine, question)
            drafted_cut = await pieces_of(engine, chat("What is a worker?", completion_tokens_max=5))

    assert (text(drafted), drafted[-1].finish) == (text(expected), expected[-1].finish)
    assert drafted[-1].completion_tokens == expected[-1].completion_tokens
    assert (text(drafted_cut), drafted_cut[-1]) == (text(cut), cut[-1])


async def test_a_prompt_too_short_to_draft_from_fails_nobody(bench: Bench) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(draft_ngram=True) as engine:
            pieces = await pieces_of(engine, GenerateRequest(NAME, prompt="a", completion_tokens_max=8))

    assert pieces[-1].completion_tokens > 0


async def test_a_token_that_the_tokenizer_names_and_the_model_lacks_fails_nobody(
    bench: Bench, tmp_path: Path
) -> None:
    folder = tmp_path / NAME
    shutil.copytree(bench.folder.path, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["<beyond>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with trio.fail_after(BOUND_SECONDS):
        async with Bench(read_folder(folder)).open() as engine, engine.generate(endless()) as other:
            await anext(other)
            with pytest.raises(RequestMalformed, match="no such token"):
                await engine.count(chat("<beyond>"))
            assert await anext(other)


# ---------------------------------------------------------------- cached prefixes


async def test_a_prefix_is_cached_for_its_scope_and_counted_before(bench: Bench) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(context_tokens=1024) as engine:
            first = chat(LONG, cache_scope=b"mine", completion_tokens_max=4)
            assert (await engine.count(first)).cached_tokens == 0
            cold = await pieces_of(engine, first)
            counted = await engine.count(first)
            warm = await pieces_of(engine, first)

    assert cold[-1].cached_tokens == 0
    assert warm[-1].cached_tokens == counted.cached_tokens == 256
    assert text(warm) == text(cold)


async def test_nobody_learns_from_the_cache_what_another_asked(bench: Bench) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(context_tokens=1024) as engine:
            for question in ("Hello", LONG):
                await pieces_of(engine, chat(question, cache_scope=b"mine", completion_tokens_max=4))
                theirs = chat(question, cache_scope=b"theirs", completion_tokens_max=4)

                assert (await engine.count(theirs)).cached_tokens == 0
                assert (await pieces_of(engine, theirs))[-1].cached_tokens == 0


# ---------------------------------------------------------------- bad days


@pytest.mark.on_processor
async def test_a_card_that_fails_fails_what_runs_and_then_computes_again(bench: Bench) -> None:
    loaded = bench.load(Placement(4, 512))
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(loaded) as engine:
            async with engine.generate(endless()) as first, engine.generate(endless()) as second:
                await anext(first)
                await anext(second)
                loaded.model.fail_next = 1
                for pieces in (first, second):
                    with pytest.raises(EngineError, match="the engine failed"):
                        async for _ in pieces:
                            pass

            assert text(await pieces_of(engine, chat("Hello"))) == "Hello! How can I help you?"


@pytest.mark.on_processor
async def test_a_card_that_fails_for_good_is_given_up(bench: Bench) -> None:
    loaded = bench.load(Placement(4, 512))
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open(loaded) as engine:
            loaded.model.fail_next = 1_000_000
            with pytest.raises(EngineError):
                await pieces_of(engine, chat("Hello"))
            with pytest.raises(EngineError, match="failed for good"):
                while True:
                    await engine.count(chat("Hello"))


async def test_closing_fails_what_still_runs(bench: Bench) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open() as engine, engine.generate(endless()) as pieces:
            await anext(pieces)
            await engine.aclose()
            with pytest.raises(EngineError, match="closed"):
                async for _ in pieces:
                    pass
