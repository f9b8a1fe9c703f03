"""What is asked of an engine that is measured: requests that it has not seen, of a size that fits.

Words are drawn, so that nothing is cached and no draft guesses them; each request has a cache
scope of its own besides. Where the engine can it goes on beyond the end of its answer.
"""

import io
import wave
from collections.abc import Callable
from dataclasses import dataclass

from cocoon_p2p.inference.engine import Audio, Feature, GenerateRequest, ModelCard
from cocoon_p2p.protocols.ids import Kind

PROMPT_TOKENS = (16, 512)
"Of each text, at least and at most. Shorter ones tell nothing, longer ones nothing more."

SPEECH_TOKENS = (1500, 1500)
"Speech models compute windows of 30 seconds, however little of one is speech."

SOUND_RATE = 16_000
"Samples a second: what speech models take."

_LETTERS = "abcdefghijklmnoprstuvwyz"


@dataclass(frozen=True, slots=True)
class Workload:
    """Makes requests for one model."""

    card: ModelCard
    draw: Callable[[int], bytes]
    "Draws random bytes."

    @property
    def writes(self) -> bool:
        """Whether answers have tokens."""
        return self.card.kind is not Kind.EMBEDDING

    @property
    def prompt_tokens(self) -> tuple[int, int]:
        """How long prompts may be, at least and at most."""
        return SPEECH_TOKENS if self.card.kind is Kind.TRANSCRIPTION else PROMPT_TOKENS

    def request(self, size: int, completion_tokens_max: int) -> GenerateRequest:
        """Make a request that is like no other.

        Args:
            size: Words; of speech, seconds.
            completion_tokens_max: At least one.
        """
        scope = self.draw(16)
        if self.card.kind is Kind.EMBEDDING:
            return GenerateRequest(self.card.name, inputs=(self._words(size),), cache_scope=scope)
        if self.card.kind is Kind.TRANSCRIPTION:
            return GenerateRequest(
                self.card.name,
                audio=Audio(_hiss(size, self.draw)),
                completion_tokens_max=completion_tokens_max,
                cache_scope=scope,
            )
        features = self.card.features
        return GenerateRequest(
            self.card.name,
            prompt=self._words(size),
            completion_tokens_max=completion_tokens_max,
            # The likeliest words of a model repeat themselves, and a draft would guess them.
            temperature=1.0 if Feature.TEMPERATURE in features else 0.0,
            ignore_eos=Feature.IGNORE_EOS in features,
            cache_scope=scope,
        )

    def _words(self, number: int) -> str:
        drawn = self.draw(4 * number)
        letters = [_LETTERS[byte % len(_LETTERS)] for byte in drawn]
        return " ".join("".join(letters[at : at + 4]) for at in range(0, len(letters), 4))


def _hiss(seconds: int, draw: Callable[[int], bytes]) -> bytes:
    """Make a WAV file of faint noise."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SOUND_RATE)
        # The high byte of each sample stays 0: one part in 128 of the loudest.
        samples = bytearray(2 * seconds * SOUND_RATE)
        samples[::2] = draw(seconds * SOUND_RATE)
        sound.writeframes(bytes(samples))
    return file.getvalue()
