"""Speech, from a client to a worker's engine and back, and from a worker's file."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from cocoon_p2p.config import WorkerFile, load
from cocoon_p2p.errors import Refused
from cocoon_p2p.inference.isolated.opening import open_isolated
from cocoon_p2p.inference.openings import WhisperOpening
from cocoon_p2p.inference.whisper import open_whisper
from cocoon_p2p.node.engine import open_engine
from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.testing.overlay import open_overlay
from cocoon_p2p.testing.processes import open_local_network
from tests.speech.conftest import wav
from tests.speech.test_engine import HELLO, NAME, pieces_of, request, text

pytestmark = pytest.mark.slow

BOUND_SECONDS = 120
EXAMPLE = Path(__file__).parents[2] / "examples" / "worker-speech.toml"
Write = Callable[..., Path]


async def test_a_client_has_speech_written_down_and_pays_for_its_seconds(model: Write) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with (
            open_whisper(model(*HELLO)) as engine,
            open_overlay(engines=[engine]) as overlay,
            overlay.client.transcribe(NAME, wav(2.5), language="de") as answer,
        ):
            words = await answer.read()

    assert words == "Hällo. Wörld"
    assert answer.finish == "stop"
    assert (answer.usage.prompt, answer.usage.completion) == (150, 15)
    assert answer.receipt is not None


async def test_a_limit_ends_it_and_the_recording_is_charged_whole(model: Write) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with (
            open_whisper(model(*HELLO)) as engine,
            open_overlay(engines=[engine]) as overlay,
            overlay.client.transcribe(NAME, wav(70), completion_tokens_max=4) as answer,
        ):
            words = await answer.read()

    assert (words, answer.finish) == ("Hä", "length")
    assert (answer.usage.prompt, answer.usage.completion) == (3500, 4)


async def test_what_is_no_sound_is_refused_and_costs_nothing(model: Write) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with open_whisper(model(*HELLO)) as engine, open_overlay(engines=[engine]) as overlay:
            with pytest.raises(Refused, match="takes no such request") as refused:
                async with overlay.client.transcribe(NAME, b"Hello, write this down", max_cost=10**9):
                    pass

    assert refused.value.code == "malformed"


async def test_the_command_prints_what_was_said_and_what_it_cost(model: Write, tmp_path: Path) -> None:
    (tmp_path / "speech.wav").write_bytes(wav(2.5))
    keys = {"model": str(model(*HELLO)), "threads": 1}
    command = [sys.executable, "-m", "cocoon_p2p.cli", "transcribe", tmp_path / "speech.wav", "--config"]

    with trio.fail_after(BOUND_SECONDS):
        async with open_local_network(tmp_path, workers=1, worker_keys=keys) as network:
            command.append(network.client_file)
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)

    assert done.stdout.decode() == "Hällo. Wörld\n"
    assert b"150 + 15 tokens" in done.stderr


async def test_it_runs_in_a_process_of_its_own_too(model: Write) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with open_isolated(WhisperOpening(model=model(*HELLO))) as engine:
            (card,) = engine.capabilities.models
            count = await engine.count(request(2.1))
            words = text(await pieces_of(engine, request(2.1)))

    assert card.kind is Kind.TRANSCRIPTION
    assert count.prompt_tokens == 150
    assert words == "Hällo. Wörld"


async def test_the_example_serves_a_folder_with_a_speech_model(model: Write, tmp_path: Path) -> None:
    file = tmp_path / EXAMPLE.name
    file.write_text(EXAMPLE.read_text())
    asked = load(WorkerFile, file, {}).settings.worker.model
    (tmp_path / asked).parent.mkdir(parents=True)
    (tmp_path / asked).symlink_to(model(*HELLO))

    with trio.fail_after(BOUND_SECONDS):
        async with open_engine(load(WorkerFile, file, {}), lambda step, **facts: None) as engine:
            (card,) = engine.capabilities.models

    assert (card.name, card.kind, card.context_tokens) == ("whisper-small", Kind.TRANSCRIPTION, 40_000)
