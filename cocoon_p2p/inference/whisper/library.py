"""The one door to `ctranslate2` 4.8. Everything here blocks, without holding Python's lock.

What to know of the library:

* It computes a window at once and cannot be stopped meanwhile: one encoding, and 224 tokens at most.
* It has as many workers as it is told, each with threads of its own; more calls than workers wait in it.
* It has few types, and raises RuntimeError and ValueError for all that it does not like.
"""

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import EngineError
from cocoon_p2p.inference.whisper.model_folder import SpeechFolder

WINDOW_TOKENS: Final = 224
"The library stops there: half of what the decoder takes."

SILENCE: Final = 0.6
UNSURE: Final = -1.0
"""A window that is silence with this probability, and whose words
have a lower mean logarithm of theirs, has none: the reference implementation's numbers."""


@dataclass(frozen=True, slots=True)
class Placement:
    """How much of the machine a model is given."""

    slots: int
    threads: int
    "Of each slot."


def library_version() -> str:
    """Name and version for receipts.

    Raises:
        ConfigurationError: The library is missing or does not run here; the text says what to install.
    """
    return f"whisper (ctranslate2 {_library().__version__})"


class WhisperModel:
    """A loaded model. Its methods may be called from as many threads as it has slots.

    Raises:
        ConfigurationError: It does not load.
    """

    def __init__(self, folder: SpeechFolder, placement: Placement) -> None:
        self._library = _library()
        self._vocabulary = folder.vocabulary
        try:
            self._model: Any = self._library.models.Whisper(
                str(folder.path),
                device="cpu",
                inter_threads=placement.slots,
                intra_threads=placement.threads,
            )
        except (RuntimeError, ValueError, OSError, MemoryError) as exc:
            raise ConfigurationError(
                f"ctranslate2 cannot load the model: {exc} (path={folder.path})",
                hint="the file may be incomplete, or of a newer ctranslate2: download it again, or update",
            ) from exc
        self.pitches: int = self._model.n_mels
        self.is_multilingual: bool = self._model.is_multilingual

    def encode(self, window: object) -> object:
        """Compute a window's sound, once for all that is asked of it."""
        return self._call(self._model.encode, self._library.StorageView.from_array(window))

    def language(self, encoded: object) -> str:
        """Tell what is spoken: the likeliest language, as `en`."""
        ((likeliest, _), *_), *_ = self._call(self._model.detect_language, encoded)
        return str(likeliest).strip("<|>")

    def words(self, encoded: object, prompt: Sequence[int], *, is_trial: bool = False) -> list[int]:
        """Sample a window's tokens, greedily. None if it is silence.

        Args:
            encoded: The window.
            prompt: What the decoder begins with.
            is_trial: Never ends before `WINDOW_TOKENS`.
        """
        (result,) = self._call(
            self._model.generate,
            encoded,
            [list(prompt)],
            beam_size=1,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=[-1, self._vocabulary.end] if is_trial else [-1],
        )
        tokens: list[int] = result.sequences_ids[0]
        mean_logprob: float = result.scores[0]
        if result.no_speech_prob > SILENCE and mean_logprob < UNSURE:
            return []
        return tokens

    def close(self) -> None:
        """Give memory back, once nothing is computed any more."""
        self._model.unload_model()

    def _call(self, method: Any, *args: object, **named: object) -> Any:
        try:
            return method(*args, **named)
        except (RuntimeError, ValueError, MemoryError) as exc:
            # Its words may hold the prompt.
            raise EngineError(f"ctranslate2 failed ({type(exc).__name__})") from exc


def _library() -> Any:  # ctranslate2's types are those of its C++.
    # Numpy's own threads, one a processor, would take turns with the model's.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        importlib.import_module("numpy")
        return importlib.import_module("ctranslate2")
    except ImportError as exc:
        raise ConfigurationError(
            f"speech needs ctranslate2: {exc}", hint="install it with: pip install 'cocoon-p2p[speech]'"
        ) from exc
