"""The Whisper engine with its real libraries, and weights that mean nothing.

Run by `make test-speech`, in an environment of its own: the libraries take 330 MB.
"""

import io
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.speech.tiny_whisper import write_model


def wav(seconds: float, *, rate: int = 16_000, channels: int = 1) -> bytes:
    """Noise, always the same."""
    out = io.BytesIO()
    samples = np.random.default_rng(1).integers(-3000, 3000, (round(seconds * rate), channels), np.int16)
    with wave.open(out, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return out.getvalue()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a model that says what it is told to; see `write_model`."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[tuple[object, ...], Path] = {}

    def write(*script: int, languages: bool = True, is_random: bool = False) -> Path:
        key = (*script, languages, is_random)
        if key not in made:
            path = folder / f"model-{len(made)}" / "tiny-whisper"
            made[key] = write_model(path, None if is_random else script, languages=languages)
        return made[key]

    return write
