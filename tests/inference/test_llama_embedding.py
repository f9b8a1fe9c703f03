"""Embedding models in llama.cpp, real, with random weights."""

import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import (
    Engine,
    EngineError,
    FeatureMissing,
    Finish,
    GenerateRequest,
    Piece,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.inference.llamacpp import open_llamacpp
from cocoon_p2p.protocols.ids import Kind
from tests.inference.random_gguf import CONTEXT_TOKENS, HIDDEN, write_chat_model, write_embedding_model

BOUND_SECONDS = 30
"A bound for a test that hangs; none waits for it."

NAME = "random-embedder"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("embedding") / "random.gguf"
    write_embedding_model(file)
    return file


@pytest.fixture
async def engine(model: Path) -> AsyncIterator[Engine]:
    with trio.fail_after(BOUND_SECONDS):
        async with open_llamacpp(model, slots=2, threads=1) as engine:
            yield engine


def embed(*texts: str) -> GenerateRequest:
    return GenerateRequest(NAME, inputs=texts)


async def pieces_of(engine: Engine, request: GenerateRequest) -> list[Piece]:
    async with engine.generate(request) as pieces:
        return [piece async for piece in pieces]


async def vectors(engine: Engine, *texts: str) -> list[tuple[float, ...]]:
    pieces = await pieces_of(engine, embed(*texts))
    return [struct.unpack(f"<{HIDDEN}f", vector) for piece in pieces for vector in piece.vectors]


async def test_it_says_that_it_embeds(engine: Engine) -> None:
    (card,) = engine.capabilities.models

    assert (card.kind, card.features, card.context_tokens) == (Kind.EMBEDDING, frozenset(), CONTEXT_TOKENS)


async def test_each_text_has_a_vector_of_length_one_that_others_do_not_change(engine: Engine) -> None:
    together = await vectors(engine, "hello world", "bye", "hello world")
    (alone,) = await vectors(engine, "hello world")

    assert together[0] == together[2] == pytest.approx(alone, abs=1e-5)
    assert together[1] != pytest.approx(alone, abs=0.05)
    assert [math.dist(vector, [0.0] * HIDDEN) for vector in together] == pytest.approx([1.0] * 3, abs=1e-4)


async def test_tokens_are_counted_as_they_are_computed(engine: Engine) -> None:
    request = embed("hello good world", "bye")

    counted = await engine.count(request)
    pieces = await pieces_of(engine, request)

    # Every text has a token before and after it.
    assert counted.prompt_tokens == 3 + 1 + 2 * 2
    assert [piece.prompt_tokens for piece in pieces] == [5, 8]
    assert [piece.finish for piece in pieces] == [None, Finish.STOP]
    assert not any(piece.completion_tokens or piece.text for piece in pieces)


async def test_many_requests_at_once_get_their_own_vectors(engine: Engine) -> None:
    found = dict[str, tuple[float, ...]]()

    async def ask(text: str) -> None:
        (found[text],) = await vectors(engine, text)

    async with trio.open_nursery() as nursery:
        for text in ("hello", "good", "world", "bye", "a", "the"):
            nursery.start_soon(ask, text)

    for text, vector in found.items():
        assert (await vectors(engine, text))[0] == pytest.approx(vector, abs=1e-5)
    assert len(set(found.values())) == 6


async def test_texts_of_all_lengths_at_once_do_not_mix_in_a_model_with_a_cache(tmp_path: Path) -> None:
    file = tmp_path / "llama.gguf"
    write_chat_model(file, "", pooling=1)
    texts = ["".join(chr(97 + (size * at) % 26) for at in range(size)) for size in range(1, 90, 4)]
    found = dict[str, tuple[float, ...]]()

    async def ask(text: str) -> None:
        (found[text],) = await vectors(engine, text)

    with trio.fail_after(BOUND_SECONDS):
        async with open_llamacpp(file, name=NAME, slots=4, threads=1) as engine:
            alone = await vectors(engine, *texts)
            async with trio.open_nursery() as nursery:
                for text in texts:
                    nursery.start_soon(ask, text)

    for text, vector in zip(texts, alone, strict=True):
        assert found[text] == pytest.approx(vector, abs=1e-3)


REFUSED: list[tuple[GenerateRequest, type[EngineError], str]] = [
    (GenerateRequest(NAME, prompt="hello"), RequestMalformed, "texts to embed"),
    (embed("hello " * 511), PromptTooLong, "text=513 tokens"),
    (embed("x" * 100_000), PromptTooLong, "text=100000 characters"),
    (embed("\ud83d"), RequestMalformed, "lone surrogate"),
    (GenerateRequest(NAME, inputs=("a",), seed=1), FeatureMissing, "seed"),
]


async def test_what_cannot_be_embedded_is_refused_before_it_costs(engine: Engine) -> None:
    for request, error, words in REFUSED:
        with pytest.raises(error, match=words):
            await engine.count(request)
        with pytest.raises(error, match=words):
            await pieces_of(engine, request)


async def test_the_longest_text_that_fits_is_embedded_in_one_step(engine: Engine) -> None:
    (vector,) = await vectors(engine, "hello " * (CONTEXT_TOKENS - 2))

    assert math.dist(vector, [0.0] * HIDDEN) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("context", [None, 256])
async def test_a_model_that_takes_the_last_token_s_vector_embeds_as_long_texts_as_it_says(
    tmp_path: Path, context: int | None
) -> None:
    file = tmp_path / "llama.gguf"
    write_chat_model(file, "", pooling=3)

    with trio.fail_after(BOUND_SECONDS):
        async with open_llamacpp(file, name=NAME, slots=1, threads=1, context_tokens=context) as engine:
            (card,) = engine.capabilities.models
            assert len(await vectors(engine, "x" * card.context_tokens)) == 1
            with pytest.raises(PromptTooLong):
                await engine.count(embed("x" * (card.context_tokens + 1)))


async def test_an_empty_text_has_a_vector_too(engine: Engine) -> None:
    assert len(await vectors(engine, "")) == 1


async def test_leaving_ends_a_long_request_and_frees_its_slot(engine: Engine) -> None:
    for _ in range(2):
        async with engine.generate(embed(*["hello world"] * 300)) as pieces:
            async for _piece in pieces:
                break

    assert len(await vectors(engine, "bye")) == 1


async def test_a_closed_engine_embeds_no_more(engine: Engine) -> None:
    await engine.aclose()

    with pytest.raises(EngineError, match="closed"):
        await engine.count(embed("hello"))


async def test_a_model_that_ranks_is_no_embedding_model(tmp_path: Path) -> None:
    file = tmp_path / "ranks.gguf"
    write_embedding_model(file, pooling=4)

    with pytest.raises(ConfigurationError, match="gives no vector"):
        async with open_llamacpp(file):
            pass
