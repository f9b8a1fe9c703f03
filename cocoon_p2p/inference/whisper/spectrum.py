"""What Whisper hears: sound as logarithms of how loud each of 80 or 128 pitches is, a hundred times a second.

Spec: the reference implementation's `log_mel_spectrogram` (openai/whisper, whisper/audio.py): windows of
25 ms (Hann), steps of 10 ms, Slaney's mel scale, floor eight below the loudest of the whole recording.
"""

import importlib
import math
from typing import Any, Final

from cocoon_p2p.inference.whisper.sound import RATE, Sound

WINDOW: Final = 400
STEP: Final = 160
STEPS_PER_SECOND: Final = RATE // STEP
WINDOW_SECONDS: Final = 30
"What the encoder takes at once."

STEPS_PER_WINDOW: Final = WINDOW_SECONDS * STEPS_PER_SECOND

_BREAK_HZ, _HZ_PER_MEL = 1000.0, 200.0 / 3
_LOG_STEP: Final = math.log(6.4) / 27.0
"Slaney's scale: even up to 1 kHz, logarithmic above it."


class Spectrum:
    """A recording's spectrum, computed at once: some tenths of a second for ten minutes. Blocks.

    Args:
        sound: Whatever its length.
        pitches: As many as the model takes.
    """

    def __init__(self, sound: Sound, pitches: int) -> None:
        np = _numpy()
        samples = np.frombuffer(sound.samples, "<i2").astype(np.float32) / 32768
        self.steps = max(1, -(-len(samples) // STEP))
        # What is before the beginning is its mirror image, what is after the end is silence.
        padded = np.pad(samples, (0, WINDOW // 2 + STEP * STEPS_PER_WINDOW))
        padded = np.pad(padded, (WINDOW // 2, 0), mode="reflect")
        filters = mel_filters(pitches)
        hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
        total = self.steps + STEPS_PER_WINDOW
        self._loudness: Any = np.empty((pitches, total), np.float32)
        for first in range(0, total, STEPS_PER_WINDOW):
            last = min(first + STEPS_PER_WINDOW, total)
            part = padded[first * STEP : (last - 1) * STEP + WINDOW]
            pieces = np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::STEP]
            power = np.abs(np.fft.rfft(pieces * hann, axis=1)) ** 2
            self._loudness[:, first:last] = np.log10(np.maximum(filters @ power.T, 1e-10))
        np.maximum(self._loudness, self._loudness.max() - 8.0, out=self._loudness)
        self._loudness += 4.0
        self._loudness /= 4.0

    def window(self, first: int) -> Any:
        """Give the thirty seconds from a step on, as a batch of one of 32-bit floats; the rest is silence."""
        return _numpy().ascontiguousarray(self._loudness[None, :, first : first + STEPS_PER_WINDOW])


def mel_filters(pitches: int) -> Any:
    """How much each frequency counts to each pitch: triangles of equal area. A row a pitch."""
    np = _numpy()
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)
    corners = _hertz(np.linspace(0.0, _mel(RATE / 2), pitches + 2))
    width = np.diff(corners)
    distance = corners[:, None] - frequencies[None, :]
    rising, falling = -distance[:-2] / width[:-1, None], distance[2:] / width[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (corners[2:] - corners[:-2]))[:, None]).astype(np.float32)


def _mel(hertz: float) -> float:
    if hertz < _BREAK_HZ:
        return hertz / _HZ_PER_MEL
    return _BREAK_HZ / _HZ_PER_MEL + math.log(hertz / _BREAK_HZ) / _LOG_STEP


def _hertz(mels: Any) -> Any:
    np = _numpy()
    above = mels - _BREAK_HZ / _HZ_PER_MEL
    return np.where(above < 0, mels * _HZ_PER_MEL, _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(above, 0)))


def _numpy() -> Any:
    """It is there where speech is served, and nowhere else."""
    return importlib.import_module("numpy")
