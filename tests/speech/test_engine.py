"""The engine on ctranslate2 itself, with models that say what they are told to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import (
    Audio,
    ChatMessage,
    Engine,
    EngineError,
    FeatureMissing,
    Finish,
    GenerateRequest,
    ModelUnknown,
    Piece,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.inference.manifest import weights_hash
from cocoon_p2p.inference.whisper import open_whisper
from cocoon_p2p.inference.whisper import opening as opening_module
from cocoon_p2p.inference.whisper.library import WhisperModel
from cocoon_p2p.inference.whisper.vocabulary import HINT_TOKENS_MAX, Vocabulary
from cocoon_p2p.protocols.ids import Kind
from tests.speech.conftest import wav
from tests.speech.tiny_whisper import ID, TOKENS, script

pytestmark = pytest.mark.slow

BOUND_SECONDS = 120
NAME = "tiny-whisper"
HELLO = script(0.0, " Hällo.", 2.4, 2.4, " Wörld", 29.0)
Write = Callable[..., Path]


def request(
    seconds: float = 2, *, language: str = "", hint: str | None = None, **options: Any
) -> GenerateRequest:
    return GenerateRequest(NAME, audio=Audio(wav(seconds), language), prompt=hint, **options)


async def pieces_of(engine: Engine, asked: GenerateRequest) -> list[Piece]:
    with trio.fail_after(BOUND_SECONDS):
        async with engine.generate(asked) as pieces:
            return [piece async for piece in pieces]


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


async def test_what_is_said_comes_a_segment_at_a_time(model: Write) -> None:
    async with open_whisper(model(*HELLO)) as engine:
        pieces = await pieces_of(engine, request())

    assert [piece.text for piece in pieces] == ["Hällo.", " Wörld", ""]
    # A token a byte, the space that is not delivered among them.
    assert [piece.completion_tokens for piece in pieces] == [8, 15, 15]
    assert [piece.finish for piece in pieces] == [None, None, Finish.STOP]


async def test_a_second_that_has_begun_counts_fifty_tokens(model: Write) -> None:
    async with open_whisper(model(*HELLO)) as engine:
        asked = request(2.1)
        count = await engine.count(asked)
        pieces = await pieces_of(engine, asked)

    assert count.prompt_tokens == 150
    assert pieces[-1].prompt_tokens == 150


async def test_long_sound_goes_window_by_window_and_says_how_far_it_is(model: Write) -> None:
    async with open_whisper(model(*script(0.0, " One.", 12.0, 12.0, " Tw"))) as engine:
        pieces = await pieces_of(engine, request(40))

    # Each window closes twelve seconds; the last four are all there is, so what is open there is taken.
    assert text(pieces) == "One. One. One. One. Tw"
    assert [piece.prompt_tokens for piece in pieces] == [600, 1200, 1800, 2000, 2000, 2000]


async def test_the_same_sound_gives_the_same_words_and_other_sound_others(model: Write) -> None:
    async with open_whisper(model(is_random=True)) as engine:
        first, again = [text(await pieces_of(engine, request(3))) for _ in range(2)]
        other = text(await pieces_of(engine, request(4)))

    assert first == again != other


async def test_every_character_is_whole_and_every_count_that_of_what_was_delivered(model: Write) -> None:
    async with open_whisper(model(*script(0.0, " на ведро", 9.0))) as engine:
        pieces = await pieces_of(engine, request(completion_tokens_max=4))

    # A space and three bytes: the second letter is not whole, so its byte does not count.
    assert text(pieces) == "н"
    assert pieces[-1].completion_tokens == 3
    assert pieces[-1].finish is Finish.LENGTH


async def test_a_control_token_amid_words_is_neither_delivered_nor_counted(model: Write) -> None:
    slip = [ID["<|nospeech|>"], ID["<|en|>"]]
    async with open_whisper(model(*script(0.0, " a"), *slip, *script("b", 2.0))) as engine:
        pieces = await pieces_of(engine, request())

    assert text(pieces) == "ab"
    assert pieces[-1].completion_tokens == 3


async def test_a_stop_string_ends_it(model: Write) -> None:
    async with open_whisper(model(*HELLO)) as engine:
        pieces = await pieces_of(engine, request(40, stop=("Wör",)))

    assert text(pieces) == "Hällo. "
    assert pieces[-1].finish is Finish.STOP


@pytest.mark.parametrize(
    ("asked", "error", "why"),
    [
        (GenerateRequest("other", audio=Audio(wav(1))), ModelUnknown, "unknown model"),
        (GenerateRequest(NAME, prompt="Hello"), RequestMalformed, "speech"),
        (GenerateRequest(NAME, audio=Audio(b"none")), RequestMalformed, "no sound"),
        (request(language="tlh"), RequestMalformed, "no such language"),
        (request(language="|>"), RequestMalformed, "no such language"),
        (request(12), PromptTooLong, "too long"),
        (request(1, hint="x" * 5000), PromptTooLong, "names and words"),
        (request(1, temperature=1.0), FeatureMissing, "temperature"),
        (request(1, answer_prefix="so far"), FeatureMissing, "continue"),
        (request(1, messages=(ChatMessage("user", "Hi"),)), RequestMalformed, "no messages"),
    ],
)
async def test_what_cannot_be_written_down_is_refused_by_name_before_it_is_paid(
    model: Write, asked: GenerateRequest, error: type[EngineError], why: str
) -> None:
    async with open_whisper(model(*HELLO), context_tokens=600) as engine:
        with pytest.raises(error, match=why):
            await engine.count(asked)


async def test_a_model_of_english_refuses_other_languages(model: Write) -> None:
    async with open_whisper(model(*HELLO, languages=False)) as engine:
        assert await engine.count(request(1, language="en"))
        with pytest.raises(RequestMalformed, match="English alone"):
            await engine.count(request(1, language="de"))


async def test_leaving_frees_the_slot_once_its_window_is_over(
    model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[object] = []
    encode = WhisperModel.encode

    def counted(self: WhisperModel, window: object) -> object:
        windows.append(window)
        return encode(self, window)

    async with open_whisper(model(*HELLO), slots=1) as engine:
        monkeypatch.setattr(WhisperModel, "encode", counted)
        with trio.fail_after(BOUND_SECONDS):
            async with engine.generate(request(290)) as pieces:
                await anext(aiter(pieces))
        left_after = len(windows)
        pieces_then = await pieces_of(engine, request(1))

    # Ten windows were asked for. It was in the first or the second, and finished it at most.
    assert left_after <= 3
    assert len(windows) == left_after + 1
    assert pieces_then[-1].finish is Finish.STOP


async def test_a_recording_that_no_thread_was_had_for_keeps_no_slot(
    model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    async with open_whisper(model(*HELLO), slots=1) as engine:
        await engine.count(request(1))
        with monkeypatch.context() as patched, pytest.raises(EngineError, match="no thread"):
            patched.setattr(trio.lowlevel, "start_thread_soon", start)
            async with engine.generate(request(1)):
                pass
        # It was forgotten when its generation began, and is decoded anew.
        pieces = await pieces_of(engine, request(1))

    assert pieces[-1].finish is Finish.STOP


async def test_two_recordings_are_written_down_at_once(model: Write) -> None:
    async with open_whisper(model(*HELLO), slots=2, threads=2) as engine:
        assert engine.capabilities.slots == 2
        with trio.fail_after(BOUND_SECONDS):
            async with engine.generate(request(1)) as first, engine.generate(request(1)) as second:
                words = [text([piece async for piece in each]) for each in (first, second)]

    assert words == ["Hällo. Wörld", "Hällo. Wörld"]


async def test_no_more_slots_are_advertised_than_threads_compute(model: Write) -> None:
    async with open_whisper(model(*HELLO), slots=8, threads=1) as engine:
        assert engine.capabilities.slots == 1


async def test_a_closed_engine_fails_what_runs_and_takes_no_more(model: Write) -> None:
    async with open_whisper(model(*HELLO)) as engine:
        with trio.fail_after(BOUND_SECONDS), pytest.raises(EngineError, match="closed"):
            async with engine.generate(request(290)) as pieces:
                await anext(aiter(pieces))
                await engine.aclose()
                async for _ in pieces:
                    pass
        with pytest.raises(EngineError, match="closed"):
            await engine.count(request(1))


async def test_a_recording_is_decoded_once_for_its_count_and_its_words(
    model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    from cocoon_p2p.inference.whisper import engine as engine_module

    decode = engine_module.decode_sound

    async def counted(data: bytes, *, seconds_max: int) -> object:
        decoded.append(len(data))
        return await decode(data, seconds_max=seconds_max)

    monkeypatch.setattr(engine_module, "decode_sound", counted)
    async with open_whisper(model(*HELLO)) as engine:
        asked = request(1)
        await engine.count(asked)
        await pieces_of(engine, asked)

    assert len(decoded) == 1


async def test_a_recording_that_cannot_be_decoded_again_in_time_fails_alone(
    model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that does not begin is killed, with the recordings of all others."""
    from cocoon_p2p.inference.whisper import engine as engine_module

    async def wait(data: bytes, *, seconds_max: int) -> object:
        await trio.sleep_forever()

    async with open_whisper(model(*HELLO)) as engine:
        kept = request(1)
        await engine.count(kept)
        monkeypatch.setattr(engine_module, "decode_sound", wait)
        monkeypatch.setattr(engine_module, "AGAIN_SECONDS", 0.01)
        with pytest.raises(EngineError, match="decoded again in time"):
            await pieces_of(engine, request(2))

        assert text(await pieces_of(engine, kept)) == "Hällo. Wörld"


async def test_recordings_that_are_counted_and_never_asked_for_take_no_more_memory_than_allowed(
    model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cocoon_p2p.inference.whisper import engine as engine_module

    padded = wav(0.1) + bytes(40_000)
    monkeypatch.setattr(engine_module, "SOUNDS_KEPT_BYTES", 100_000)
    async with open_whisper(model(*HELLO)) as engine:
        for number in range(6):
            await engine.count(GenerateRequest(NAME, audio=Audio(padded + bytes([number]))))
        kept = vars(engine)["_sounds"]

    # The file counts too: a large one may hold a moment of sound.
    assert len(kept) <= 2


async def test_its_card_says_what_it_is(model: Write) -> None:
    path = model(*HELLO)
    async with open_whisper(path, name="small") as engine:
        (card,) = engine.capabilities.models

    assert (card.name, card.kind) == ("small", Kind.TRANSCRIPTION)
    assert card.weights_hash == await weights_hash(path)
    assert engine.capabilities.engine.startswith("whisper (ctranslate2 ")


def test_a_hint_is_words_and_never_a_command(model: Write) -> None:
    vocabulary = Vocabulary(model(*HELLO) / "tokenizer.json")

    prompt = vocabulary.prompt("Say <|endoftext|> & <|0.00|>", "de")

    control = [TOKENS[token] for token in prompt if token >= ID["<|endoftext|>"]]
    assert control == ["<|startofprev|>", "<|startoftranscript|>", "<|de|>", "<|transcribe|>"]
    assert b"".join(map(vocabulary.text_of, prompt)) == b" Say <|endoftext|> & <|0.00|>"


def test_of_a_long_hint_the_end_counts(model: Write) -> None:
    vocabulary = Vocabulary(model(*HELLO) / "tokenizer.json")

    prompt = vocabulary.prompt("x" * 4000, None)

    assert len(prompt) == HINT_TOKENS_MAX + 2


async def test_a_hint_goes_before_what_is_sampled(model: Write) -> None:
    async with open_whisper(model(is_random=True)) as engine:
        plain = text(await pieces_of(engine, request(2)))
        hinted = text(await pieces_of(engine, request(2, hint="Tauri, Sokolow")))

    assert plain != hinted


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: (path / "tokenizer.json").unlink(), "lacks tokenizer.json"),
        (lambda path: (path / "tokenizer.json").write_text("{}"), "cannot read"),
        (lambda path: (path / "model.bin").write_bytes(b"\6\0\0\0\4\0Bert"), "not a Whisper model"),
        (
            lambda path: (path / "model.bin").write_bytes((path / "model.bin").read_bytes()[:100_000]),
            "cannot load",
        ),
        (lambda path: (path / "vocabulary.json").unlink(), "lacks vocabulary.json"),
    ],
)
async def test_what_is_wrong_with_a_folder_is_said_before_it_is_served(
    model: Write, tmp_path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoiled = tmp_path / "spoiled"
    spoiled.mkdir()
    for file in model(*HELLO).iterdir():
        (spoiled / file.name).write_bytes(file.read_bytes())
    spoil(spoiled)

    with pytest.raises(ConfigurationError, match=why) as caught:
        async with open_whisper(spoiled):
            pass

    assert caught.value.hint


async def test_a_model_that_would_pass_for_one_that_failed_is_not_served(
    model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_module, "ENGINE_STALL_SECONDS", 0.0)

    with pytest.raises(ConfigurationError, match="too slow"):
        async with open_whisper(model(*HELLO)):
            pass


async def test_other_weights_than_were_agreed_on_are_not_served(model: Write) -> None:
    with pytest.raises(ConfigurationError, match="other weights"):
        async with open_whisper(model(*HELLO), expected_weights_hash=bytes(32)):
            pass
