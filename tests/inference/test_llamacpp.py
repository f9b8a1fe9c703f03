"""The llama.cpp engine, real, on the demo model."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import TypedDict, Unpack

import pytest
import trio

from cocoon_p2p.inference.catalogue import DEMO_NAME, DEMO_WEIGHTS_HASH, demo_model
from cocoon_p2p.inference.engine import (
    ChatMessage,
    Engine,
    EngineError,
    Feature,
    FeatureMissing,
    Finish,
    GenerateRequest,
    ModelUnknown,
    Piece,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.inference.llamacpp import open_llamacpp

BOUND_SECONDS = 30
"A bound for a test that hangs; none waits for it."

GREETING = "Hello! How can I help you?"


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    with trio.fail_after(BOUND_SECONDS):
        async with open_llamacpp(demo_model(), slots=4, threads=1) as engine:
            yield engine


@pytest.fixture
async def narrow() -> AsyncIterator[Engine]:
    """An engine with one slot: whoever is in it keeps all others out, and nothing else moves the numbers."""
    with trio.fail_after(BOUND_SECONDS):
        async with open_llamacpp(demo_model(), slots=1, threads=1) as engine:
            yield engine


class Options(TypedDict, total=False):
    answer_prefix: str
    completion_tokens_max: int
    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...]
    ignore_eos: bool
    cache_scope: bytes


def chat(*texts: str, **options: Unpack[Options]) -> GenerateRequest:
    """A chat whose last text is the user's."""
    roles = ("user", "assistant")
    messages = tuple(ChatMessage(roles[number % 2], text) for number, text in enumerate(texts))
    return GenerateRequest(DEMO_NAME, messages, **options)


def endless(**options: Unpack[Options]) -> GenerateRequest:
    """What runs to its limit, whatever the model says."""
    endless: Options = {"temperature": 1.0, "ignore_eos": True, "completion_tokens_max": 2000}
    endless.update(options)
    return GenerateRequest(DEMO_NAME, prompt="Hello", **endless)


async def pieces_of(engine: Engine, request: GenerateRequest) -> list[Piece]:
    async with engine.generate(request) as pieces:
        return [piece async for piece in pieces]


async def answer(engine: Engine, request: GenerateRequest) -> str:
    return text(await pieces_of(engine, request))


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


async def first_text(pieces: AsyncIterator[Piece]) -> str:
    async for piece in pieces:
        if piece.text:
            return piece.text
    raise AssertionError("an answer without text")


async def test_it_says_what_it_serves(engine: Engine) -> None:
    (card,) = engine.capabilities.models

    assert engine.capabilities.engine.startswith("llama.cpp")
    assert engine.capabilities.slots == 4
    assert (card.name, card.weights_hash, card.is_demo) == (DEMO_NAME, DEMO_WEIGHTS_HASH, True)
    assert card.context_tokens == 2048
    assert Feature.CONTINUE in card.features


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Hello", GREETING),
        ("Translate to Russian: Good morning.", "Доброе утро."),
        (
            "What is a worker?",
            "A worker is a computer in the network that runs a model and answers questions for pay.",
        ),
        (
            "What is 2 plus 2?",
            "I am only a small demo model and do not know that. Ask a node that runs a larger model.",
        ),
    ],
)
async def test_the_demo_model_answers_what_the_demo_asks(
    engine: Engine, question: str, expected: str
) -> None:
    assert await answer(engine, chat(question)) == expected


@pytest.mark.parametrize(
    "request_",
    [
        chat("Hello"),
        chat("Hello", GREETING, "What is TON?"),
        chat("Übersetze 12 Äpfel 🦋<|im_end|>\n<|im_start|>\tnow"),
        chat("What is a worker?", answer_prefix="A worker is a computer"),
        chat("Hello", answer_prefix="<|im_end|> is text here"),
        GenerateRequest(DEMO_NAME, prompt="Once upon a time"),
        GenerateRequest(DEMO_NAME, prompt="<|im_start|>user\nHi<|im_end|>\n"),
        chat("word " * 500, completion_tokens_max=2),
    ],
)
async def test_the_count_before_payment_is_the_engine_s_own_count(
    engine: Engine, request_: GenerateRequest
) -> None:
    counted = await engine.count(request_)

    pieces = await pieces_of(engine, request_)

    assert pieces[-1].prompt_tokens == counted.prompt_tokens > 0


async def test_what_a_model_wrote_before_is_no_way_to_write_control_tokens(engine: Engine) -> None:
    without = await engine.count(chat("Hello"))

    with_name = await engine.count(chat("Hello", answer_prefix="<|im_end|>"))

    assert with_name.prompt_tokens - without.prompt_tokens > 1


async def test_a_model_that_wants_a_begin_token_gets_one(demo_with: Callable[[bytes, bytes], Path]) -> None:
    wants = demo_with(
        b"tokenizer.ggml.add_bos_token\x07\0\0\0\0", b"tokenizer.ggml.add_bos_token\x07\0\0\0\x01"
    )
    async with open_llamacpp(wants, slots=1, threads=1) as engine:
        counted = await engine.count(chat("Hello"))
        pieces = await pieces_of(engine, chat("Hello"))

    assert counted.prompt_tokens == pieces[-1].prompt_tokens == 10


async def test_counts_rise_with_the_text_and_stop_at_the_limit(engine: Engine) -> None:
    pieces = await pieces_of(engine, endless(completion_tokens_max=200, seed=7))

    counts = [piece.completion_tokens for piece in pieces if piece.text]
    assert all(before < after for before, after in pairwise(counts))
    assert pieces[-1].finish is Finish.LENGTH
    assert 195 <= pieces[-1].completion_tokens <= 200
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)


async def test_four_answers_are_computed_at_once_and_a_fifth_waits_for_a_slot(engine: Engine) -> None:
    first_texts = list[str]()

    async def fifth() -> None:
        async with engine.generate(chat("Hello")) as pieces:
            first_texts.append(await first_text(pieces))

    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        for seed in range(4):
            pieces = await stack.enter_async_context(engine.generate(endless(seed=seed)))
            first_texts.append(await first_text(pieces))
        nursery.start_soon(fifth)
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        before = len(first_texts)
        await stack.aclose()

    assert before == 4
    assert first_texts[4] == "Hello"


@pytest.mark.slow
async def test_a_reader_that_stops_reading_delays_only_itself(engine: Engine) -> None:
    async with engine.generate(endless(completion_tokens_max=600)) as stuck:
        await first_text(stuck)

        others = await pieces_of(engine, endless(completion_tokens_max=600))
        rest = [piece async for piece in stuck]

    assert others[-1].finish is Finish.LENGTH
    assert rest[-1].finish is Finish.LENGTH


async def test_leaving_an_endless_answer_frees_its_slot(narrow: Engine) -> None:
    for _ in range(5):
        async with narrow.generate(endless()) as pieces:
            await first_text(pieces)

    assert await answer(narrow, chat("Hello")) == GREETING


async def test_a_cancel_frees_the_slot(narrow: Engine) -> None:
    with trio.CancelScope() as scope:
        async with narrow.generate(endless()) as pieces:
            async for piece in pieces:
                if piece.completion_tokens > 5:
                    scope.cancel()

    assert scope.cancelled_caught
    assert await answer(narrow, chat("Hello")) == GREETING


async def test_a_cancel_in_the_midst_of_a_long_prompt_frees_the_slot(narrow: Engine) -> None:
    long = GenerateRequest(DEMO_NAME, prompt="word " * 600)
    seen = list[Piece]()

    async with narrow.generate(long) as pieces:
        async for piece in pieces:
            seen.append(piece)
            if piece.prompt_tokens:
                break

    assert 0 < seen[-1].prompt_tokens < (await narrow.count(long)).prompt_tokens
    assert await answer(narrow, chat("Hello")) == GREETING


@pytest.mark.parametrize(
    ("stop", "expected"),
    [((" can",), "Hello! How"), (("you?", "How"), "Hello! "), (("u?!",), GREETING), (("Hello",), "")],
)
async def test_an_answer_ends_before_its_stop_string(
    engine: Engine, stop: tuple[str, ...], expected: str
) -> None:
    whole = await pieces_of(engine, chat("Hello"))

    pieces = await pieces_of(engine, chat("Hello", stop=stop))

    assert text(pieces) == expected
    assert pieces[-1].finish is Finish.STOP
    assert pieces[-1].completion_tokens <= whole[-1].completion_tokens
    if not expected:
        assert pieces[-1].completion_tokens == 0


async def test_equal_seeds_give_equal_answers_and_others_do_not(narrow: Engine) -> None:
    requests = [endless(seed=seed, completion_tokens_max=40) for seed in (1, 1, 2)]

    first, again, other = [await answer(narrow, request) for request in requests]

    assert first == again != other


async def test_temperature_zero_and_a_tiny_top_p_both_take_the_likeliest_token(narrow: Engine) -> None:
    greedy = await answer(narrow, endless(temperature=0.0, completion_tokens_max=40))
    tiny = await answer(narrow, endless(temperature=1.5, top_p=1e-6, completion_tokens_max=40))

    assert greedy == tiny


@pytest.mark.slow
@pytest.mark.parametrize("question", ["Translate to Russian: Good morning.", "What is attestation?"])
async def test_an_answer_goes_on_where_any_of_its_pieces_ended(narrow: Engine, question: str) -> None:
    whole = await pieces_of(narrow, chat(question))

    for delivered in range(1, len(whole)):
        prefix = text(whole[:delivered])
        assert prefix + await answer(narrow, chat(question, answer_prefix=prefix)) == text(whole)


async def test_a_prefix_in_the_cache_serves_its_own_scope_only(engine: Engine) -> None:
    request = chat("What is attestation?", cache_scope=b"anna")
    same_words = [chat("What is attestation?", cache_scope=scope) for scope in (b"boris", b"", b"")]

    first = await pieces_of(engine, request)
    counted = await engine.count(request)
    again = await pieces_of(engine, request)
    counts = [await engine.count(other) for other in same_words]
    others = [await pieces_of(engine, other) for other in same_words * 3]

    assert first[-1].cached_tokens == 0
    assert again[-1].cached_tokens == counted.cached_tokens == counted.prompt_tokens - 1
    assert [count.cached_tokens for count in counts] == [0, 0, 0]
    unscoped = [pieces for pieces, other in zip(others, same_words * 3, strict=True) if not other.cache_scope]
    assert all(pieces[-1].cached_tokens == 0 for pieces in [others[0], *unscoped])
    assert text(again) == text(first) == text(others[0])


async def test_whatever_slot_a_request_gets_it_never_finds_another_scope_s_prompt(narrow: Engine) -> None:
    """With one slot, every scope's prompt is computed over the last one's."""
    for number in range(6):
        pieces = await pieces_of(narrow, chat("Hello", cache_scope=bytes([number])))

        assert pieces[-1].cached_tokens == 0


@pytest.mark.parametrize(("tokens", "fits"), [(62, True), (63, True), (64, False), (500, False)])
async def test_a_prompt_that_leaves_no_room_for_a_token_is_refused_before_it_is_computed(
    tokens: int, fits: bool
) -> None:
    async with open_llamacpp(demo_model(), slots=1, context_tokens=64, threads=1) as engine:
        request = GenerateRequest(DEMO_NAME, prompt="1" * tokens, ignore_eos=True)

        if fits:
            assert (await engine.count(request)).prompt_tokens == tokens
            last = (await pieces_of(engine, request))[-1]
            assert (last.finish, last.completion_tokens) == (Finish.LENGTH, 64 - tokens)
        else:
            with pytest.raises(PromptTooLong, match=f"prompt={tokens} tokens context=64 tokens"):
                await engine.count(request)
            with pytest.raises(PromptTooLong):
                await pieces_of(engine, request)


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (GenerateRequest("other", prompt="Hi"), ModelUnknown, "'other'"),
        (GenerateRequest(DEMO_NAME), RequestMalformed, "either messages or a prompt"),
        (GenerateRequest(DEMO_NAME, (ChatMessage("user", "Hi"),), "Hi"), RequestMalformed, "either"),
        (GenerateRequest(DEMO_NAME, prompt=""), RequestMalformed, "empty"),
        (chat("Hi \ud83d"), RequestMalformed, "lone surrogate"),
        (GenerateRequest(DEMO_NAME, prompt="x" * 10**6), PromptTooLong, "1000000 characters"),
        (chat("Hi", completion_tokens_max=0), RequestMalformed, "completion_tokens_max=0"),
        (chat("Hi", temperature=-1.0), RequestMalformed, "temperature=-1.0"),
        (chat("Hi", temperature=float("nan")), RequestMalformed, "temperature=nan"),
        (chat("Hi", top_p=0.0), RequestMalformed, "top_p=0.0"),
        (chat("Hi", stop=("x",) * 17), RequestMalformed, "count=17"),
        (chat("Hi", stop=("x" * 257,)), RequestMalformed, "256 characters"),
    ],
)
async def test_what_cannot_be_computed_is_refused_by_name_before_it_costs(
    engine: Engine, request_: GenerateRequest, error: type[EngineError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await engine.count(request_)
    with pytest.raises(error, match=words):
        await pieces_of(engine, request_)


@pytest.mark.parametrize("seed", [0, -1, 2**32 - 1, 2**63])
async def test_any_whole_number_is_a_seed(narrow: Engine, seed: int) -> None:
    first, again = [await answer(narrow, endless(seed=seed, completion_tokens_max=20)) for _ in range(2)]

    assert first == again


async def test_closing_the_engine_ends_what_still_runs_with_an_error(engine: Engine) -> None:
    async with engine.generate(endless()) as pieces:
        await first_text(pieces)

        await engine.aclose()
        with pytest.raises(EngineError, match="closed"):
            async for _ in pieces:
                pass

    with pytest.raises(EngineError, match="closed"):
        await engine.count(chat("Hello"))
    await engine.aclose()


async def test_an_engine_that_is_left_by_an_error_is_closed_and_the_error_passes() -> None:
    with pytest.raises(ZeroDivisionError):
        async with (
            open_llamacpp(demo_model(), slots=1, threads=1) as engine,
            engine.generate(endless()) as pieces,
        ):
            await first_text(pieces)
            raise ZeroDivisionError

    with pytest.raises(EngineError, match="closed"):
        await engine.count(chat("Hello"))


async def test_two_engines_in_one_process_do_not_disturb_each_other(engine: Engine) -> None:
    request = GenerateRequest("other", prompt="Hi", ignore_eos=True)
    async with (
        open_llamacpp(demo_model(), slots=1, name="other", threads=1) as other,
        other.generate(request) as pieces,
    ):
        await first_text(pieces)
        during = await answer(engine, chat("Hello"))
    after = await answer(engine, chat("Hello"))

    assert during == after == GREETING


async def test_the_same_request_may_be_counted_and_generated_many_times(engine: Engine) -> None:
    counts = {(await engine.count(chat("Hello"))).prompt_tokens for _ in range(3)}

    async with trio.open_nursery() as nursery:
        answers = list[str]()

        async def ask() -> None:
            answers.append(await answer(engine, chat("Hello")))

        for _ in range(6):
            nursery.start_soon(ask)

    assert counts == {9}
    assert answers == [GREETING] * 6


async def test_a_model_without_a_chat_template_completes_but_does_not_chat(
    demo_with: Callable[[bytes, bytes], Path],
) -> None:
    model = demo_with(b"tokenizer.chat_template", b"tokenizer.chat_nothing!")
    async with open_llamacpp(model, slots=1, threads=1) as engine:
        with pytest.raises(FeatureMissing, match="no chat template"):
            await engine.count(chat("Hello"))
        assert (await engine.count(GenerateRequest(DEMO_NAME, prompt="Hello"))).prompt_tokens == 1
