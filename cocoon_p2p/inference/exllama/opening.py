"""Opening the ExLlamaV2 engine: everything that can be wrong with a model is found here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import is_demo
from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.engine import Capabilities, Engine, EngineError, Feature, ModelCard
from cocoon_p2p.inference.exllama.engine import ExllamaEngine
from cocoon_p2p.inference.exllama.generator import Generator, Order
from cocoon_p2p.inference.exllama.library import (
    PAGE_TOKENS,
    CacheKind,
    ExllamaGenerator,
    LoadedModel,
    Placement,
    library_version,
    load,
)
from cocoon_p2p.inference.exllama.model_folder import ModelFolder, read_folder
from cocoon_p2p.inference.exllama.splitting import Splitter
from cocoon_p2p.inference.exllama.thread import GeneratorThread
from cocoon_p2p.inference.hash_memory import HashMemory
from cocoon_p2p.inference.manifest import Progress, check_weights, weights_hash

CONTEXT_TOKENS: Final = 4096
"For each request, unless the operator says otherwise or the model was trained for less."

FEATURES: Final = frozenset(
    {Feature.SEED, Feature.STOP, Feature.TEMPERATURE, Feature.IGNORE_EOS, Feature.CONTINUE}
)


@dataclass(frozen=True, slots=True)
class ExllamaSettings:
    """How much of a card a model is given."""

    slots: int = 4
    "Requests computed at once; without flash-attn it is one, whatever is said here."

    context_tokens: int | None = None
    cache: CacheKind = "fp16"
    draft_ngram: bool = False


@asynccontextmanager
async def open_exllama(
    model: Path,
    *,
    name: str | None = None,
    settings: ExllamaSettings | None = None,
    has_chat: bool = True,
    expected_weights_hash: bytes | None = None,
    memory: HashMemory | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[Engine]:
    """Load a model folder onto the machine's cards, and serve it.

    Everything that can be wrong with it is found before the `yield`; the last thing tried is a prompt as
    long as the context, so what fits now fits later. Cancelled, it leaves nothing behind once it has loaded.

    Args:
        model: The folder: config.json, tokenizer.json, safetensors.
        name: What clients ask for; by default the folder's name.
        settings: What it may take.
        has_chat: Whether chats go by the folder's own template; else the model completes text.
        expected_weights_hash: Serve these weights or none.
        memory: What the model's files hashed to before, so that gigabytes are not read twice.
        progress: Told how far the hashing is.

    Raises:
        ConfigurationError: The library or a card is missing, the folder is no model that it can run, or does
            not fit; the text says what to do.
    """
    settings = settings or ExllamaSettings()
    version = library_version()
    folder = await trio.to_thread.run_sync(read_folder, model)
    placement = _placement(folder, settings)
    weights = await weights_hash(model, memory=memory, progress=progress)
    check_weights(model, weights, expected_weights_hash)
    if not has_chat:
        folder = replace(folder, template="")
    loaded = await trio.to_thread.run_sync(load, folder, placement)
    async with serve_loaded(loaded, folder, placement, version, name=name, weights=weights) as engine:
        yield engine


@asynccontextmanager
async def serve_loaded(
    loaded: LoadedModel,
    folder: ModelFolder,
    placement: Placement,
    version: str,
    *,
    name: str | None,
    weights: bytes,
) -> AsyncIterator[Engine]:
    """Serve a model that is loaded. Raises as `open_exllama` does."""
    splitter = await trio.to_thread.run_sync(Splitter, folder)
    # Also a thread's: it starts a process, and a hostile template takes its time.
    template = await trio.to_thread.run_sync(
        lambda: ChatTemplate(folder.template, bos=folder.bos, eos=folder.eos)
    )
    card = ModelCard(
        name=name or folder.path.resolve().name.lower(),
        weights_hash=weights,
        tokenizer_hash=folder.tokenizer_hash,
        context_tokens=placement.context_tokens,
        features=FEATURES,
        is_demo=is_demo(weights),
    )

    def make() -> Generator:
        generator = ExllamaGenerator(loaded, placement, folder.eos_ids)
        _compute_the_longest(generator, placement)
        return generator

    thread = GeneratorThread(make)
    try:
        await trio.to_thread.run_sync(thread.open)
    except Exception as exc:
        raise ConfigurationError(
            f"exllamav2 loads the model and cannot compute it: {exc} (path={folder.path})",
            hint="try fewer slots or a shorter context; see that drivers, torch and exllamav2 fit together",
        ) from exc
    slots = placement.slots if loaded.paged else 1
    engine = ExllamaEngine(thread, Capabilities(version, (card,), slots), template, splitter)
    try:
        yield engine
    finally:
        with trio.CancelScope(shield=True):
            await engine.aclose()


def _compute_the_longest(generator: ExllamaGenerator, placement: Placement) -> None:
    """See that a prompt as long as the context can be computed: memory that lacks then would lack later."""
    length = placement.context_tokens - 1
    order = Order([0] * length, 1, 0.0, 1.0, None, True, b"trial")
    ticket = generator.start(order)
    for _ in range(2 * length):
        if any(step.ticket == ticket and step.finish is not None for step in generator.step()):
            return
    raise EngineError("it computes nothing")


def _placement(folder: ModelFolder, settings: ExllamaSettings) -> Placement:
    if settings.slots < 1:
        raise ConfigurationError(f"an engine needs slots (slots={settings.slots})")
    asked, trained = settings.context_tokens, folder.trained_tokens
    if asked and trained and asked > trained:
        raise ConfigurationError(
            f"the model was trained for a shorter context (asked={asked} trained={trained})",
            hint="lower context_tokens",
        )
    context = asked or min(CONTEXT_TOKENS, trained or CONTEXT_TOKENS)
    if context < PAGE_TOKENS:
        raise ConfigurationError(f"the context is too short (context_tokens={context} least={PAGE_TOKENS})")
    return Placement(
        slots=settings.slots,
        context_tokens=context // PAGE_TOKENS * PAGE_TOKENS,
        cache=settings.cache,
        draft_ngram=settings.draft_ngram,
    )
