"""One recording on its way through the model: window after window, from samples to pieces. Blocks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cocoon_p2p.inference.engine import Finish, Piece
from cocoon_p2p.inference.text import AnswerText
from cocoon_p2p.inference.whisper.library import WhisperModel
from cocoon_p2p.inference.whisper.sound import Sound
from cocoon_p2p.inference.whisper.spectrum import STEPS_PER_SECOND, STEPS_PER_WINDOW, Spectrum
from cocoon_p2p.inference.whisper.vocabulary import Vocabulary
from cocoon_p2p.inference.whisper.windows import read_window

TOKENS_PER_SECOND: Final = 50
"What a second of sound counts as: the encoder's positions."


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be written down."""

    sound: Sound
    hint: str
    language: str
    "Empty: the model tells, by the first window."

    tokens_max: int
    stop: tuple[str, ...]

    @property
    def prompt_tokens(self) -> int:
        return self.sound.begun_seconds * TOKENS_PER_SECOND


class Transcription:
    """Writes one recording down. Belongs to the thread that runs it.

    Args:
        model: Computes it.
        vocabulary: The model's.
        put: Where pieces go. It returns False once nobody reads them.
    """

    def __init__(self, model: WhisperModel, vocabulary: Vocabulary, put: Callable[[Piece], bool]) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._put = put

    def run(self, order: Order) -> None:
        """Return when the recording is over, the limit is reached, or nobody reads any more.

        Raises:
            EngineError: The model failed.
        """
        spectrum = Spectrum(order.sound, self._model.pitches)
        answer = _Answer(order, self._vocabulary)
        prompt: list[int] | None = None
        first = 0
        while first < spectrum.steps:
            encoded = self._model.encode(spectrum.window(first))
            if prompt is None:
                prompt = self._vocabulary.prompt(order.hint, self._language(order, encoded))
            tokens = self._model.words(encoded, prompt)
            heard = read_window(
                tokens,
                first_mark=self._vocabulary.first_mark,
                steps=min(STEPS_PER_WINDOW, spectrum.steps - first),
            )
            first += heard.steps
            heard_tokens = min(-(-first // STEPS_PER_SECOND) * TOKENS_PER_SECOND, order.prompt_tokens)
            for segment in heard.segments:
                piece = answer.take(segment, heard_tokens)
                if not self._put(piece) or piece.finish is not None:
                    return
            if not heard.segments and not self._put(answer.piece("", heard_tokens)):
                return
        self._put(answer.end())

    def _language(self, order: Order, encoded: object) -> str | None:
        if not self._model.is_multilingual:
            return None
        return order.language or self._model.language(encoded)


class _Answer:
    """The text so far: whole characters, cut at stop strings and at the limit."""

    def __init__(self, order: Order, vocabulary: Vocabulary) -> None:
        self._order = order
        self._vocabulary = vocabulary
        self._text = AnswerText(order.stop)
        self._sampled = self._delivered = 0
        self._begun = False

    def take(self, segment: tuple[int, ...], prompt_tokens: int) -> Piece:
        """Take one more segment. The piece has a finish if nothing may follow it."""
        said: list[str] = []
        for token in segment:
            data = self._vocabulary.text_of(token)
            if not data:
                # A control token in the midst of words: nothing is delivered for it.
                continue
            # Every segment begins with a space; an answer does not.
            data = data if self._begun else data.lstrip()
            self._begun = self._begun or bool(data)
            self._sampled += 1
            self._text, delivery = self._text.feed(data, self._sampled)
            said.append(delivery.text)
            self._delivered = delivery.completion_tokens
            if delivery.stopped:
                return self.piece("".join(said), prompt_tokens, Finish.STOP)
            if self._sampled == self._order.tokens_max:
                said.append(self._rest())
                return self.piece("".join(said), prompt_tokens, Finish.LENGTH)
        return self.piece("".join(said), prompt_tokens)

    def end(self) -> Piece:
        """Say that the recording is over."""
        return self.piece(self._rest(), self._order.prompt_tokens, Finish.STOP)

    def piece(self, text: str, prompt_tokens: int, finish: Finish | None = None) -> Piece:
        return Piece(text, self._delivered, prompt_tokens, finish=finish)

    def _rest(self) -> str:
        delivery = self._text.end()
        self._delivered = delivery.completion_tokens
        return delivery.text
