"""A model of a server's that writes down speech: a recording in, its words out.

    count     the recording is decoded here, in a shut-in child: 50 positions for each second begun
    generate  its samples, as WAV --> the words   /v1/audio/transcriptions

The server is given samples that were decoded, never a client's file: what is hidden in one ends in the
child. How many tokens the words have is said by the server's tokenizer.

Spec: OpenAI API reference, Create transcription.
"""

import io
import logging
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import httpx
import msgspec
import trio

from cocoon_p2p.inference.engine import GenerateRequest, ModelCard, Piece, PromptCount
from cocoon_p2p.inference.refusing import refuse_senseless
from cocoon_p2p.inference.upstream.dialects import Dialect
from cocoon_p2p.inference.upstream.generation import Terms, UpstreamGeneration
from cocoon_p2p.inference.upstream.health import Health
from cocoon_p2p.inference.upstream.pace import PREFILL_MAX_SECONDS, Pace
from cocoon_p2p.inference.upstream.reading import Reading
from cocoon_p2p.inference.upstream.steps import Choice, Step, Usage
from cocoon_p2p.inference.upstream.telling import tell
from cocoon_p2p.inference.upstream.wire import exchange
from cocoon_p2p.inference.whisper.sound import RATE, Sound, decode_sound
from cocoon_p2p.nursery import open_service_nursery

log = logging.getLogger(__name__)

TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"

SECONDS_MAX: Final = 780
"Of one recording: as samples, what vLLM takes (25 MB) unless it is told to take more."

POSITIONS_PER_SECOND: Final = 50
ANSWER_SIZE_MAX_BYTES: Final = 1 << 20
"Of the words of a recording, which has some ten thousand characters."


class _Words(msgspec.Struct, frozen=True):
    text: str


def silence(seconds: int) -> Sound:
    """Make a recording of nothing."""
    return Sound(bytes(2 * RATE * seconds))


async def transcribe(
    http: httpx.AsyncClient, model: str, sound: Sound, *, language: str = "", prompt: str = ""
) -> str:
    """Have a recording written down.

    Raises:
        EngineError: The server refuses or fails, or says more than anybody can say in that time.
    """
    form = {"model": model, "response_format": "json", "temperature": "0"}
    form |= {"language": language} if language else {}
    form |= {"prompt": prompt} if prompt else {}
    file = ("speech.wav", _wav(sound), "audio/wav")
    request = http.build_request("POST", TRANSCRIPTIONS, data=form, files={"file": file}, timeout=None)
    words = await exchange(
        http, request, _Words, size_max_bytes=ANSWER_SIZE_MAX_BYTES, within_seconds=PREFILL_MAX_SECONDS
    )
    return words.text


class TranscribingModel:
    """A model that writes down speech.

    Args:
        http: The server's.
        model: What the server calls it.
        dialect: How it splits text.
        card: What is promised of it.
        slots: Of all models of the server.
        health: Whether the server is well.
        pace: How long its recordings take.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        model: str,
        dialect: Dialect,
        card: ModelCard,
        slots: trio.Semaphore,
        health: Health,
        pace: Pace,
    ) -> None:
        self.card = card
        self.health = health
        self.dialect = dialect.name
        self._http = http
        self._model = model
        self._splitter = dialect
        self._slots = slots
        self._pace = pace

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Decode the recording to count its seconds (`Engine.count`). Cancelled, the child is killed."""
        self.health.require()
        return PromptCount(POSITIONS_PER_SECOND * (await self._decode(request)).begun_seconds)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Write it down (`Engine.generate`). Waits for a slot if all are taken."""
        async with self._slots, open_service_nursery() as nursery:
            sound = await self._decode(request)
            positions = POSITIONS_PER_SECOND * sound.begun_seconds
            generation = UpstreamGeneration(Terms(positions, request.completion_tokens_max))
            reading = Reading(self._steps(request, sound))
            nursery.start_soon(reading.run)
            with self._pace.waiting(positions) as waiting:
                async with aclosing(tell(generation, reading, waiting, self.health)) as pieces:
                    yield pieces

    @asynccontextmanager
    async def _steps(self, request: GenerateRequest, sound: Sound) -> AsyncIterator[AsyncIterator[Step]]:
        async with aclosing(self._step(request, sound)) as steps:
            yield steps

    async def _step(self, request: GenerateRequest, sound: Sound) -> AsyncGenerator[Step, None]:
        """The one step that a transcription is."""
        assert request.audio is not None
        language, prompt = request.audio.language, request.prompt or ""
        text = await transcribe(self._http, self._model, sound, language=language, prompt=prompt)
        said, most = await self._tokens(text), request.completion_tokens_max
        finish, tokens = ("length" if said > most else "stop"), said
        while tokens > most:
            # As much of it as the limit allows, about.
            text = text[: len(text) * most // (tokens + 1)]
            tokens = await self._tokens(text)
        yield Step([Choice(text, finish_reason=finish)], usage=Usage(0, tokens))

    async def _tokens(self, text: str) -> int:
        return len(await self._splitter.split_text(text, is_prompt=False)) if text else 0

    async def _decode(self, request: GenerateRequest) -> Sound:
        refuse_senseless(request, self.card)
        assert request.audio is not None
        return await decode_sound(request.audio.data, seconds_max=SECONDS_MAX)


def _wav(sound: Sound) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE, 0, "NONE", ""))
        writer.writeframes(sound.samples)
    return file.getvalue()
