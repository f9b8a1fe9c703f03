"""Opening the Whisper engine: everything that can be wrong with a model is found here."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Capabilities, Engine, EngineError, Feature, ModelCard
from cocoon_p2p.inference.hash_memory import HashMemory
from cocoon_p2p.inference.manifest import Progress, check_weights, weights_hash
from cocoon_p2p.inference.processors import default_threads
from cocoon_p2p.inference.whisper.engine import WhisperEngine
from cocoon_p2p.inference.whisper.library import Placement, WhisperModel, library_version
from cocoon_p2p.inference.whisper.model_folder import SpeechFolder, read_folder
from cocoon_p2p.inference.whisper.sound import RATE, Sound, try_decoder
from cocoon_p2p.inference.whisper.spectrum import Spectrum
from cocoon_p2p.inference.whisper.transcribing import TOKENS_PER_SECOND
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS, Kind

CONTEXT_TOKENS: Final = 40_000
"Ten minutes of sound (30,000), and the words of a fast speaker."

FEATURES: Final = frozenset({Feature.STOP})


@asynccontextmanager
async def open_whisper(
    model: Path,
    *,
    name: str | None = None,
    slots: int = 4,
    context_tokens: int | None = None,
    threads: int | None = None,
    expected_weights_hash: bytes | None = None,
    memory: HashMemory | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[Engine]:
    """Load a Whisper model in CTranslate2's form, and serve it on this machine's processors.

    Everything that can be wrong with it is found before the `yield`; the last thing tried is the longest
    window there can be. Cancelled, it leaves nothing behind once that is over.

    Args:
        model: The folder.
        name: What clients ask for; by default the folder's name.
        slots: Recordings computed at once: as many, but no more than threads.
        context_tokens: 50 for each second of sound, and the words. By default 40,000.
        threads: All together. By default one less than the processors at hand.
        expected_weights_hash: Serve these weights or none.
        memory: What the model's files hashed to before, so that gigabytes are not read twice.
        progress: Told how far the hashing is.

    Raises:
        ConfigurationError: A library is missing, the folder is no model of Whisper's, it is too slow for this
            machine, or a number is out of range; the text says what to do.
    """
    placement = _placement(slots, threads)
    context = context_tokens or CONTEXT_TOKENS
    if context <= TOKENS_PER_SECOND:
        raise ConfigurationError(f"the context is too short (context_tokens={context} a second is 50)")
    version = library_version()
    folder = await trio.to_thread.run_sync(read_folder, model)
    await try_decoder()
    weights = await weights_hash(model, memory=memory, progress=progress)
    check_weights(model, weights, expected_weights_hash)
    loaded = await trio.to_thread.run_sync(WhisperModel, folder, placement)
    card = ModelCard(
        name=name or model.name,
        weights_hash=weights,
        tokenizer_hash=folder.tokenizer_hash,
        context_tokens=context,
        features=FEATURES,
        kind=Kind.TRANSCRIPTION,
    )
    await trio.to_thread.run_sync(_compute_the_longest, loaded, folder)
    engine = WhisperEngine(loaded, folder.vocabulary, Capabilities(version, (card,), placement.slots))
    try:
        yield engine
    finally:
        await engine.aclose()


def _placement(slots: int, threads: int | None) -> Placement:
    if slots < 1 or (threads is not None and threads < 1):
        raise ConfigurationError(f"an engine needs slots and threads (slots={slots} threads={threads})")
    # More workers than threads would take the processors from one another, and from the rest of the process.
    threads = threads or default_threads()
    workers = min(slots, threads)
    return Placement(workers, threads // workers)


def _compute_the_longest(model: WhisperModel, folder: SpeechFolder) -> None:
    """See that the model computes, and that no window takes so long that it passes for a failure."""
    vocabulary = folder.vocabulary
    begun = time.monotonic()
    try:
        encoded = model.encode(Spectrum(Sound(bytes(2 * RATE)), model.pitches).window(0))
        language = model.language(encoded) if model.is_multilingual else None
        model.words(encoded, vocabulary.prompt("", language), is_trial=True)
    except EngineError as exc:
        raise ConfigurationError(
            f"the model loads and cannot be computed: {exc} (path={folder.path})",
            hint="its tokenizer.json must be of the same model; try another model",
        ) from exc
    seconds = time.monotonic() - begun
    if seconds > ENGINE_STALL_SECONDS:
        raise ConfigurationError(
            f"the model is too slow for this machine (window={seconds:.0f} max={ENGINE_STALL_SECONDS:.0f} s)",
            hint="take a smaller one, one quantized to int8, or more threads with fewer slots",
        )
