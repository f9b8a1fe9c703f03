"""Servers that embed or write down speech, and servers of several models."""

import io
import json
import struct
import wave
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import (
    Audio,
    Engine,
    EngineError,
    Finish,
    GenerateRequest,
    ModelUnknown,
    Piece,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.inference.upstream import (
    Upstream,
    embedding,
    health,
    open_upstream,
    probing,
    transcribing,
    trying,
)
from cocoon_p2p.inference.upstream.embedding import EMBEDDINGS, TEXTS_AT_ONCE
from cocoon_p2p.inference.whisper.sound import RATE, Sound
from cocoon_p2p.protocols.ids import Kind
from tests.inference.upstream.scene import Script, scripted_server, words

BOUND_SECONDS = 60
JSON = (("content-type", "application/json"),)
Answer = tuple[int, Sequence[tuple[str, str]], bytes]
Answering = Callable[[Mapping[str, Any]], Answer]


@pytest.fixture(autouse=True)
def unprobed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these servers can do beside is no matter here."""
    monkeypatch.setattr(probing, "PROBES_SECONDS", 0.0)


@asynccontextmanager
async def opened(script: Script, model: str = "") -> AsyncIterator[Engine]:
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address, model)) as engine:
            yield engine


async def pieces_of(engine: Engine, request: GenerateRequest) -> list[Piece]:
    async with engine.generate(request) as pieces:
        return [piece async for piece in pieces]


# ---------------------------------------------------------------- vectors


def vectors(asked: Mapping[str, Any]) -> Answer:
    """Embed each text as its length and its first token, in reverse order."""
    entries = [{"index": at, "embedding": [len(text), text[0] / 4]} for at, text in enumerate(asked["input"])]
    usage = {"prompt_tokens": sum(map(len, asked["input"]))}
    return 200, JSON, json.dumps({"data": entries[::-1], "usage": usage}).encode()


def embeds(inputs: tuple[str, ...]) -> GenerateRequest:
    return GenerateRequest("scripted", inputs=inputs)


async def test_a_server_that_embeds_is_served_as_one_and_vectors_come_in_order() -> None:
    texts = tuple("word " * at for at in range(1, TEXTS_AT_ONCE + 3))
    async with opened(Script(answers={EMBEDDINGS: vectors})) as engine:
        (card,) = engine.capabilities.models
        counted = await engine.count(embeds(texts))
        pieces = await pieces_of(engine, embeds(texts))

    assert card.kind is Kind.EMBEDDING
    got = [struct.unpack("<2f", vector) for piece in pieces for vector in piece.vectors]
    assert got == [(at, 1.0) for at in range(1, TEXTS_AT_ONCE + 3)]
    assert counted.prompt_tokens == pieces[-1].prompt_tokens == sum(range(1, TEXTS_AT_ONCE + 3))
    assert [piece.finish for piece in pieces] == [None, Finish.STOP]
    assert {piece.completion_tokens for piece in pieces} == {0}


async def test_long_texts_are_embedded_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "TOKENS_AT_ONCE", 100)
    texts = tuple("word " * at for at in (60, 40, 90, 20, 100))
    async with opened(Script(answers={EMBEDDINGS: vectors})) as engine:
        pieces = await pieces_of(engine, embeds(texts))

    assert [len(piece.vectors) for piece in pieces] == [2, 1, 1, 1]
    assert [piece.prompt_tokens for piece in pieces] == [100, 190, 210, 310]
    assert [piece.finish for piece in pieces] == [None, None, None, Finish.STOP]


@pytest.mark.parametrize("text", ["", "word " * 101, "x" * 60_000])
async def test_a_text_to_embed_that_does_not_fit_is_refused_before_it_is_paid(text: str) -> None:
    async with opened(Script(answers={EMBEDDINGS: vectors})) as engine:
        with pytest.raises(PromptTooLong):
            await engine.count(embeds(("ok", text)))


def says(data: str) -> Answering:
    return lambda _: (200, JSON, data.encode())


@pytest.mark.parametrize("number", [0, 1])
async def test_a_server_with_one_vector_for_all_texts_is_refused(number: float) -> None:
    def same(asked: Mapping[str, Any]) -> Answer:
        entries = [{"index": at, "embedding": [number, number]} for at in range(len(asked["input"]))]
        return 200, JSON, json.dumps({"data": entries}).encode()

    async with scripted_server(Script(answers={EMBEDDINGS: same})) as address:
        with pytest.raises(ConfigurationError, match="one vector"):
            async with open_upstream(Upstream(address)):
                raise AssertionError("it must not open")


BAD_VECTORS: dict[str, Answering] = {
    "of another size": says('{"data": [{"embedding": [1, 2, 3]}]}'),
    "empty": says('{"data": [{"embedding": []}]}'),
    "not a number": says('{"data": [{"embedding": [NaN, 1]}]}'),
    "infinite": says('{"data": [{"embedding": [1e999, 1]}]}'),
    "more than four bytes hold": says('{"data": [{"embedding": [1e39, 1]}]}'),
    "none": says('{"data": []}'),
    "too many": says('{"data": [{"embedding": [1, 2]}, {"embedding": [1, 2], "index": 1}]}'),
    "one twice": says('{"data": [{"embedding": [1, 2], "index": 1}]}'),
    "of other tokens": says('{"data": [{"embedding": [1, 2]}], "usage": {"prompt_tokens": 9}}'),
    "endless": says('{"data": [{"embedding": [' + "1," * 100_000 + "1]}]}"),
    "words": says("no"),
    "packed": lambda _: (200, (*JSON, ("content-encoding", "gzip")), b"x"),
    "elsewhere": lambda _: (307, (("location", "http://127.0.0.1:1/"),), b""),
    "a failure": lambda _: (500, JSON, b"{}"),
}


@pytest.mark.parametrize("bad", BAD_VECTORS.values(), ids=BAD_VECTORS.keys())
async def test_a_vector_that_is_none_is_an_error_and_the_server_is_looked_after(bad: Answering) -> None:
    script = Script(answers={EMBEDDINGS: vectors})
    async with opened(script) as engine:
        script.answers[EMBEDDINGS] = bad
        with pytest.raises(EngineError):
            await pieces_of(engine, embeds(("one two",)))
        with pytest.raises(EngineError, match="down"):
            await engine.count(embeds(("one two",)))


@pytest.mark.parametrize("path", [EMBEDDINGS, transcribing.TRANSCRIPTIONS])
async def test_a_server_without_room_is_not_ill_whatever_its_kind(
    path: str, decoder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(health, "RETRY_SECONDS", 0.0)
    script = Script(answers={EMBEDDINGS: vectors}) if path == EMBEDDINGS else hearing([])
    looks, request = trio.Semaphore(0), embeds(("a",)) if path == EMBEDDINGS else speech(1)

    def busy(_: object) -> Answer:
        looks.release()
        return 429, (*JSON, ("retry-after", "0")), b"{}"

    async with opened(script) as engine:
        script.answers[path] = busy
        for _ in range(3):
            await looks.acquire()

        assert await engine.count(request)


# ---------------------------------------------------------------- speech


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take recordings for samples: the decoder has its own tests."""

    async def decode(data: bytes, *, seconds_max: int) -> Sound:
        await trio.lowlevel.checkpoint()
        return Sound(data)

    async def is_there() -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(transcribing, "decode_sound", decode)
    monkeypatch.setattr(trying, "try_decoder", is_there)


def hearing(heard: list[bytes], text: str = "so they said") -> Script:
    """A server that writes nothing, and always hears the same."""

    def hear(asked: Mapping[str, Any]) -> Answer:
        heard.append(asked["form"])
        return 200, JSON, json.dumps({"text": text}).encode()

    return Script(status=404, answers={transcribing.TRANSCRIPTIONS: hear})


def speech(seconds: float, *, tokens: int = 10, language: str = "") -> GenerateRequest:
    sound = Audio(bytes(2 * int(RATE * seconds)), language)
    return GenerateRequest("scripted", audio=sound, completion_tokens_max=tokens)


async def test_a_server_that_hears_is_given_samples_and_its_words_are_counted(decoder: None) -> None:
    heard = list[bytes]()
    async with opened(hearing(heard)) as engine:
        (card,) = engine.capabilities.models
        counted = await engine.count(speech(1.5, language="en"))
        (*_, last) = await pieces_of(engine, speech(1.5, language="en"))

    assert card.kind is Kind.TRANSCRIPTION
    assert counted.prompt_tokens == last.prompt_tokens == 100
    assert b'name="language"\r\n\r\nen\r\n' in heard[-1]
    begin = heard[-1].index(b"RIFF")
    with wave.open(io.BytesIO(heard[-1][begin:])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (RATE, 1, 1.5 * RATE)


async def test_words_beyond_the_limit_are_cut_off(decoder: None) -> None:
    async with opened(hearing([])) as engine:
        pieces = await pieces_of(engine, speech(1, tokens=2))

    assert "so they said".startswith("".join(piece.text for piece in pieces))
    assert (pieces[-1].finish, pieces[-1].completion_tokens) == (Finish.LENGTH, 2)


async def test_without_a_recording_nothing_is_written_down(decoder: None) -> None:
    async with opened(hearing([])) as engine:
        with pytest.raises(RequestMalformed):
            await engine.count(GenerateRequest("scripted", prompt="a"))


# ---------------------------------------------------------------- completions


def completes_only(asked: Mapping[str, Any]) -> Answer:
    """Split text, and render no chat."""
    tokens = [len(word) for word in asked.get("prompt", "").split()]
    said = json.dumps({"tokens": tokens, "max_model_len": 100}).encode()
    return (400, JSON, b"{}") if "messages" in asked else (200, JSON, said)


async def test_a_model_without_chats_is_served_for_completions() -> None:
    async with opened(Script(answers={"/tokenize": completes_only})) as engine:
        assert engine.capabilities.models[0].kind is Kind.COMPLETION


# ---------------------------------------------------------------- several models


async def test_several_models_of_one_server_are_several_cards() -> None:
    script = Script(models=("org/One", "two", "three"))
    async with opened(script, "org/One, two") as engine:
        names = [card.name for card in engine.capabilities.models]
        await pieces_of(engine, GenerateRequest("one", prompt="a", completion_tokens_max=1))
        with pytest.raises(ModelUnknown):
            await engine.count(GenerateRequest("three", prompt="a"))

    assert names == ["one", "two"]
    assert script.requests[-1]["model"] == "org/One"


async def test_models_of_one_short_name_are_all_served() -> None:
    async with opened(Script(models=("org/one", "one", "other/one", "One", "two")), "*") as engine:
        names = [card.name for card in engine.capabilities.models]

    assert names == ["one", "2-one", "other/one", "One", "two"]


async def test_of_all_models_those_that_fail_are_left_out() -> None:
    script = Script(models=("one", "two"))
    works = script.events

    def events(asked: Mapping[str, object]) -> list[bytes]:
        assert works is None
        return [] if asked["model"] == "one" else words(asked)

    script.events = events
    async with opened(script, "*") as engine:
        assert [card.name for card in engine.capabilities.models] == ["two"]


async def test_one_name_is_not_for_several_models() -> None:
    async with scripted_server(Script(models=("a", "b"))) as address:
        with pytest.raises(ConfigurationError, match="one name"):
            async with open_upstream(Upstream(address, "*"), name="mine"):
                raise AssertionError("it must not open")
