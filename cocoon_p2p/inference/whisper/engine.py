"""The Whisper engine: recordings in, what was said out, a segment at a time.

count     decode the recording in a child process, count its seconds
generate  a slot --> a thread for the recording --> pipe --> the reader
leave     the pipe stops; the thread sees it after its window (thirty seconds of sound)
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from cocoon_p2p.inference.engine import (
    Capabilities,
    EngineError,
    GenerateRequest,
    Piece,
    PromptCount,
    PromptKey,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.inference.pipe import Pipe
from cocoon_p2p.inference.refusing import refuse_senseless
from cocoon_p2p.inference.whisper.library import WhisperModel
from cocoon_p2p.inference.whisper.sound import Sound, decode_sound
from cocoon_p2p.inference.whisper.transcribing import TOKENS_PER_SECOND, Order, Transcription
from cocoon_p2p.inference.whisper.vocabulary import Vocabulary
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS

log = logging.getLogger(__name__)

LET_GO_SECONDS: Final = 10.0
"How long leaving a generation waits for its window."

SECONDS_MAX: Final = 3600
"Of a recording, however long the context is: an hour's samples and spectrum take half a gigabyte."

SOUNDS_KEPT_BYTES: Final = 256 * 1024 * 1024
"Files and samples between their count and their generation, so that each is decoded once."

DECODERS: Final = 2
"Child processes at once; more recordings wait."

AGAIN_SECONDS: Final = ENGINE_STALL_SECONDS / 2
"""How long a recording may wait to be decoded once more, where it is kept no longer: an engine that has not
begun after twice that is taken for dead, with all that it computes."""

HINT_MAX_CHARACTERS: Final = 4096


class WhisperEngine:
    """An `Engine` on a loaded model. Made by `open_whisper`; lives in one trio run.

    Args:
        model: The loaded model. The engine closes it.
        vocabulary: Its tokens.
        capabilities: One model, and as many slots as it has workers.
    """

    def __init__(self, model: WhisperModel, vocabulary: Vocabulary, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        (self._card,) = capabilities.models
        self._model = model
        self._vocabulary = vocabulary
        self._free_slots = trio.Semaphore(capabilities.slots)
        self._decoders = trio.CapacityLimiter(DECODERS)
        self._sounds = dict[PromptKey, Sound]()
        self._kept_bytes = dict[PromptKey, int]()
        self._running = dict[Pipe[Piece], trio.Event]()
        self._trio = trio.lowlevel.current_trio_token()
        self._is_closed = False

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Decode the recording and count its seconds (`Engine.count`). A cancel kills the decoder."""
        sound = await self._sound(request)
        self._keep(request, sound)
        return PromptCount(sound.begun_seconds * TOKENS_PER_SECOND)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Write it down (`Engine.generate`). Waits for a slot if all are taken.

        Leaving waits until the window that is computed is over, for `LET_GO_SECONDS` at most; a slot that is
        kept longer is not given to others until then.
        """
        sound = await self._sound_again(request)
        self._forget(request.prompt_key)
        await self._free_slots.acquire()
        if self._is_closed:
            self._free_slots.release()
            raise EngineError("the engine is closed")
        pipe = self._start(self._order(request, sound))
        has_let_go = self._running[pipe]
        try:
            with pipe as pieces:
                yield pieces
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LET_GO_SECONDS):
                await has_let_go.wait()
            if not has_let_go.is_set():
                log.warning("engine keeps a slot", extra={"seconds": LET_GO_SECONDS})

    async def aclose(self) -> None:
        """Stop everything and unload the model.

        A cancel does not cut it short; it waits for `LET_GO_SECONDS` at most. What is still computed then
        keeps its memory until it is done.
        """
        self._is_closed = True
        self._sounds.clear()
        for pipe in self._running:
            pipe.close(EngineError("the engine was closed"))
            pipe.stop()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(LET_GO_SECONDS):
                for has_let_go in tuple(self._running.values()):
                    await has_let_go.wait()
            if self._running:
                log.error("engine does not stop", extra={"generations": len(self._running)})
                return
            await trio.to_thread.run_sync(self._model.close)

    def _keep(self, request: GenerateRequest, sound: Sound) -> None:
        assert request.audio is not None
        # The key holds the file.
        self._kept_bytes[request.prompt_key] = len(request.audio.data) + len(sound.samples)
        self._sounds[request.prompt_key] = sound
        while sum(self._kept_bytes.values()) > SOUNDS_KEPT_BYTES:
            self._forget(next(iter(self._sounds)))

    def _forget(self, key: PromptKey) -> None:
        self._sounds.pop(key, None)
        self._kept_bytes.pop(key, None)

    async def _sound(self, request: GenerateRequest) -> Sound:
        """The request's samples; refuses what cannot be written down, before anybody has paid."""
        if self._is_closed:
            raise EngineError("the engine is closed")
        refuse_senseless(request, self._card)
        audio = request.audio
        if audio is None or request.messages:
            raise RequestMalformed("a request to write down has a recording, and no messages")
        if len(request.prompt or "") > HINT_MAX_CHARACTERS:
            raise PromptTooLong(
                f"names and words that occur in it are too many (max={HINT_MAX_CHARACTERS} characters)"
            )
        self._refuse_language(audio.language)
        kept = self._sounds.get(request.prompt_key)
        if kept is not None:
            return kept
        async with self._decoders:
            return await decode_sound(audio.data, seconds_max=self._seconds_max)

    async def _sound_again(self, request: GenerateRequest) -> Sound:
        with trio.move_on_after(AGAIN_SECONDS):
            return await self._sound(request)
        raise EngineError("the recording is kept no longer, and cannot be decoded again in time")

    @property
    def _seconds_max(self) -> int:
        return min(SECONDS_MAX, (self._card.context_tokens - 1) // TOKENS_PER_SECOND)

    def _refuse_language(self, language: str) -> None:
        if not self._model.is_multilingual:
            if language not in ("", "en"):
                raise RequestMalformed("this model knows English alone")
        elif language and language not in self._vocabulary.languages:
            raise RequestMalformed(
                f"this model knows no such language ({language[:16]!r})",
                hint="name it by ISO 639-1, such as en, or leave it out",
            )

    def _order(self, request: GenerateRequest, sound: Sound) -> Order:
        assert request.audio is not None
        room = self._card.context_tokens - sound.begun_seconds * TOKENS_PER_SECOND
        return Order(
            sound=sound,
            hint=request.prompt or "",
            language=request.audio.language,
            tokens_max=min(request.completion_tokens_max, room),
            stop=request.stop,
        )

    def _start(self, order: Order) -> Pipe[Piece]:
        pipe = Pipe[Piece]()
        self._running[pipe] = trio.Event()
        try:
            trio.lowlevel.start_thread_soon(
                lambda: self._compute(order, pipe),
                lambda _: self._let_go_soon(pipe),
                name="whisper recording",
            )
        except RuntimeError as exc:
            self._let_go(pipe)
            raise EngineError("no thread for a recording") from exc
        return pipe

    def _compute(self, order: Order, pipe: Pipe[Piece]) -> None:
        """Write one recording down. The top of its thread."""
        error: EngineError | None = None
        try:
            Transcription(self._model, self._vocabulary, pipe.put).run(order)
        except EngineError as exc:
            error = exc
        except Exception as exc:  # noqa: BLE001 (said, and the engine goes on)
            # Its words may hold the prompt.
            log.error("engine thread failed", extra={"error": type(exc).__name__})
            error = EngineError(f"whisper failed ({type(exc).__name__})")
        pipe.close(error)

    def _let_go_soon(self, pipe: Pipe[Piece]) -> None:
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(self._let_go, pipe)

    def _let_go(self, pipe: Pipe[Piece]) -> None:
        self._free_slots.release()
        self._running.pop(pipe).set()
