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
from cocoon_p2p.inference.exllama.adapter import read_adapter
from cocoon_p2p.inference.exllama.engine import ExllamaEngine
from cocoon_p2p.inference.exllama.form import Forms
from cocoon_p2p.inference.exllama.generator import Generator, Order
from cocoon_p2p.inference.exllama.library import PAGE_TOKENS, ExllamaGenerator
from cocoon_p2p.inference.exllama.loading import (
    CHUNK_TOKENS,
    STEP_TOKENS_MAX,
    CacheKind,
    LoadedModel,
    Placement,
    library_version,
    load,
    says_too_little_memory,
    too_little_memory,
)
from cocoon_p2p.inference.exllama.model_folder import ModelFolder, read_folder
from cocoon_p2p.inference.exllama.splitting import Splitter
from cocoon_p2p.inference.exllama.thread import GeneratorThread
from cocoon_p2p.inference.hash_memory import HashMemory
from cocoon_p2p.inference.manifest import Progress, check_weights, weights_hash
from cocoon_p2p.inference.tools import form_of

CONTEXT_TOKENS: Final = 4096
"For each request, unless the operator says otherwise or the model was trained for less."

FEATURES: Final = frozenset(
    {
        Feature.SEED,
        Feature.STOP,
        Feature.TEMPERATURE,
        Feature.IGNORE_EOS,
        Feature.CONTINUE,
        Feature.JSON_SCHEMA,
        Feature.REGEX,
        Feature.LOGPROBS,
        Feature.LOGIT_BIAS,
        Feature.BANNED_STRINGS,
        Feature.PENALTIES,
    }
)
"Of every model. One whose way of calling tools is known has those, too."


@dataclass(frozen=True, slots=True)
class ExllamaSettings:
    """How much of a card a model is given."""

    slots: int = 4
    "Requests computed at once; without flash-attn it is one, whatever is said here."

    context_tokens: int | None = None
    cache: CacheKind = "fp16"
    draft_ngram: bool = False
    "Guess tokens from what the prompt has said."

    draft: Path | None = None
    "A folder with a small model of the same vocabulary, which guesses them."

    adapters: tuple[Path, ...] = ()
    "Folders of LoRA adapters: all of them change every answer, and the model is another one."

    tensor_parallel: int = 0
    "Cards that each layer is spread over; 0: a layer lies on one card, and the model on as many as it takes."


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
        name: What clients ask for; by default the folder's name, then `+` and the name of each adapter's.
        settings: What it may take.
        has_chat: Whether chats go by the folder's own template; else the model completes text.
        expected_weights_hash: Serve these weights or none; they are the model's without adapters.
        memory: What the model's files hashed to before, so that gigabytes are not read twice.
        progress: Told how far the hashing is.

    Raises:
        ConfigurationError: The library or a card is missing, the folder is no model that it can run, or does
            not fit; the text says what to do.
    """
    settings = settings or ExllamaSettings()
    version = library_version()
    folder = await trio.to_thread.run_sync(read_folder, model)
    placement = await trio.to_thread.run_sync(placement_of, folder, settings)
    weights = await weights_hash(model, memory=memory, progress=progress)
    check_weights(model, weights, expected_weights_hash)
    if settings.adapters:
        weights = await weights_hash(model, adapters=settings.adapters, memory=memory, progress=progress)
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
    named = splitter.vocabulary()
    forms = await trio.to_thread.run_sync(Forms, folder, named)
    vocabulary = folder.vocabulary_size or max(named.values()) + 1
    # Also a thread's: it starts a process, and a hostile template takes its time.
    template = await trio.to_thread.run_sync(
        lambda: ChatTemplate(folder.template, bos=folder.bos, eos=folder.eos)
    )
    call_form = form_of(folder.template)
    card = ModelCard(
        name=name
        or "+".join([folder.path.resolve().name.lower(), *(each.name for each in placement.adapters)]),
        weights_hash=weights,
        tokenizer_hash=folder.tokenizer_hash,
        context_tokens=placement.usable_tokens,
        features=FEATURES if call_form is None else FEATURES | {Feature.TOOLS},
        is_demo=is_demo(weights),
    )

    def make() -> Generator:
        generator = ExllamaGenerator(loaded, placement, folder.eos_ids, forms.text)
        _compute_the_most(generator, placement, slots)
        return generator

    slots = placement.slots if loaded.paged else 1
    thread = GeneratorThread(make)
    try:
        await trio.to_thread.run_sync(thread.open)
    except Exception as exc:
        if says_too_little_memory(exc):
            raise too_little_memory(folder.path, placement) from exc
        raise ConfigurationError(
            f"exllamav2 loads the model and cannot compute it: {exc} (path={folder.path})",
            hint="see that drivers, torch and exllamav2 fit together",
        ) from exc
    engine = ExllamaEngine(
        thread, Capabilities(version, (card,), slots), template, splitter, forms, vocabulary, call_form
    )
    try:
        yield engine
    finally:
        with trio.CancelScope(shield=True):
            await engine.aclose()


def _draft(folder: ModelFolder, path: Path) -> ModelFolder:
    """Read a draft model's folder, and see that its guesses mean the same to the model that checks them."""
    draft = read_folder(path)
    mine, its = Splitter(folder).vocabulary(), Splitter(draft).vocabulary()
    is_same = mine.items() <= its.items() or its.items() <= mine.items()
    # What it guesses is a row of the model's own table.
    if not is_same or draft.vocabulary_size > folder.vocabulary_size:
        raise ConfigurationError(
            f"the draft model has another vocabulary (model={folder.path} draft={draft.path})",
            hint='take a small model of the same family, or draft = "ngram"',
        )
    return draft


def _compute_the_most(generator: ExllamaGenerator, placement: Placement, slots: int) -> None:
    """See that a prompt as long as the context can be computed, and beside it all other slots: memory that
    lacks then would lack later."""
    longest = Order([0] * (placement.usable_tokens - 1), 1, 0.0, 1.0, None, True, b"trial")
    others = [Order([0], 2, 0.0, 1.0, None, True, b"trial")] * (slots - 1)
    left = {generator.start(order) for order in (*others, longest)}
    for _ in range(2 * placement.context_tokens):
        left -= {step.ticket for step in generator.step() if step.finish is not None}
        if not left:
            return
    raise EngineError("it computes nothing")


def placement_of(folder: ModelFolder, settings: ExllamaSettings) -> Placement:
    """Decide what a model is given. Blocks: it reads what adapters and a draft model say.

    Raises:
        ConfigurationError: They are none, or the settings do not go together.
    """
    asked, trained = settings.context_tokens, folder.trained_tokens
    if asked and trained and asked > trained:
        raise ConfigurationError(
            f"the model was trained for a shorter context (asked={asked} trained={trained})",
            hint="lower context_tokens",
        )
    context = asked or min(CONTEXT_TOKENS, trained or CONTEXT_TOKENS)
    if context < PAGE_TOKENS:
        raise ConfigurationError(f"the context is too short (context_tokens={context} least={PAGE_TOKENS})")
    context = context // PAGE_TOKENS * PAGE_TOKENS
    slots_max = min(CHUNK_TOKENS, context) // STEP_TOKENS_MAX
    if not 1 <= settings.slots <= slots_max:
        raise ConfigurationError(
            f"so many slots cannot be computed (slots={settings.slots} most={slots_max})"
        )
    if settings.tensor_parallel and settings.adapters:
        raise ConfigurationError(
            "exllamav2 leaves adapters out where layers are spread over several cards",
            hint="take tensor_parallel out, or merge the adapter into its model",
        )
    return Placement(
        slots=settings.slots,
        context_tokens=context,
        cache=settings.cache,
        draft_ngram=settings.draft_ngram and settings.draft is None,
        draft=None if settings.draft is None else _draft(folder, settings.draft),
        adapters=tuple(read_adapter(path) for path in settings.adapters),
        cards=settings.tensor_parallel,
    )
