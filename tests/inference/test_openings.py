"""What opens an engine travels to its process as it was written."""

from pathlib import Path

import msgspec
import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.exllama import ExllamaSettings
from cocoon_p2p.inference.openings import (
    ExllamaOpening,
    LlamaCppOpening,
    Opening,
    WhisperOpening,
    decode_opening,
    encode_opening,
)

OPENINGS: list[Opening] = [
    LlamaCppOpening(model=Path("/m/a.gguf"), name="a", slots=3, threads=2, expected_weights_hash=bytes(32)),
    WhisperOpening(model=Path("/m/speech"), context_tokens=100),
    ExllamaOpening(model=Path("/m/folder"), settings={"slots": 8, "cache": "q4"}, has_chat=False),
]


@pytest.mark.parametrize("opening", OPENINGS, ids=lambda opening: type(opening).__name__)
def test_an_opening_arrives_as_it_was(opening: Opening) -> None:
    assert decode_opening(encode_opening(opening)) == opening


def test_the_folders_that_exllama_is_told_of_arrive_as_folders() -> None:
    said = {"slots": 8, "draft": Path("/m/draft"), "adapters": (Path("/m/one"), Path("/m/two"))}

    arrived = decode_opening(encode_opening(ExllamaOpening(model=Path("/m"), settings=said)))

    assert isinstance(arrived, ExllamaOpening)
    assert arrived.exllama_settings() == ExllamaSettings(
        slots=8, draft=Path("/m/draft"), adapters=(Path("/m/one"), Path("/m/two"))
    )


@pytest.mark.parametrize("settings", [{"slotz": 8}, {"cache": "q5"}])
def test_settings_that_exllama_does_not_have_are_a_mistake(settings: dict[str, object]) -> None:
    with pytest.raises((ConfigurationError, msgspec.ValidationError)):
        ExllamaOpening(model=Path("/m"), settings=settings).exllama_settings()
