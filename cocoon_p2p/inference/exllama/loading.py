"""How a model comes onto the machine's cards: layer by layer, or each layer over several."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.exllama.adapter import Adapter
from cocoon_p2p.inference.exllama.model_folder import ModelFolder

CHUNK_TOKENS: Final = 1024
"Prompt tokens computed in one step. A cancel, and every other request's next token, wait for at most one."

DRAFT_TOKENS: Final = 4
"Guessed and checked in one step: the library's own default."

STEP_TOKENS_MAX: Final = 8
"What the library sets aside for each request's step."

RESERVE_GIGABYTES: Final = 0.5
"Of each card, where its share of a model is measured out: for what is computed."

CacheKind = Literal["fp16", "q8", "q6", "q4"]
_CACHES: Final = {
    "fp16": "ExLlamaV2Cache",
    "q8": "ExLlamaV2Cache_Q8",
    "q6": "ExLlamaV2Cache_Q6",
    "q4": "ExLlamaV2Cache_Q4",
}

_INSTALL_HINT: Final = "install it with: pip install 'cocoon-p2p[exllama]', on a machine with an NVIDIA card"


@dataclass(frozen=True, slots=True)
class Placement:
    """How much memory a model is given, and for what."""

    slots: int
    context_tokens: int
    "For each slot; a multiple of the library's page."

    cache: CacheKind = "fp16"
    draft_ngram: bool = False
    "Guess tokens from what the prompt has said already, and check several in one step."

    draft: ModelFolder | None = None
    "A small model that guesses them."

    adapters: tuple[Adapter, ...] = ()
    cards: int = 0
    "Over so many each layer is spread (tensor parallel). 0: whole layers, over as many as it takes."

    @property
    def usable_tokens(self) -> int:
        """Of the context, what a request may take: guesses reach beyond its end."""
        drafts = self.draft_ngram or self.draft is not None
        return self.context_tokens - (DRAFT_TOKENS + 1 if drafts else 0)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Weights and cache on a card, and the tokenizer. Made by `load`, or by a test on a processor."""

    model: Any
    cache: Any
    tokenizer: Any
    paged: bool
    draft_model: Any = None
    draft_cache: Any = None
    adapters: tuple[Any, ...] = ()


def library_version() -> str:
    """Name and version for receipts.

    Raises:
        ConfigurationError: The library is missing or does not run here; the text says what to install.
    """
    return f"exllamav2 {_library().__version__}"


def load(folder: ModelFolder, placement: Placement) -> LoadedModel:
    """Load a model onto the machine's cards, as many as it takes.

    Raises:
        ConfigurationError: There is no card, too few, too little memory, or a model that it cannot load.
    """
    _library()
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        raise _no_card()
    if placement.cards > torch.cuda.device_count():
        raise ConfigurationError(
            f"the machine has fewer cards than asked for (asked={placement.cards} "
            f"there={torch.cuda.device_count()})",
            hint="lower tensor_parallel; see `nvidia-smi` and CUDA_VISIBLE_DEVICES",
        )
    paged = bool(importlib.import_module("exllamav2.attn").has_flash_attn_with_paged)
    try:
        return _load(folder, placement, paged)
    except Exception as exc:
        if says_too_little_memory(exc):
            raise too_little_memory(folder.path, placement) from exc
        if not isinstance(exc, RuntimeError | AssertionError | ValueError | KeyError | TypeError | OSError):
            raise
        raise ConfigurationError(
            f"exllamav2 cannot load the model: {exc} (path={folder.path} architecture={folder.architecture} "
            f"quantization={folder.quantization})",
            hint="see that the folder is whole, and that drivers, torch and exllamav2 fit together",
        ) from exc


def _load(folder: ModelFolder, placement: Placement, paged: bool) -> LoadedModel:
    library = _library()
    tokens = (placement.slots if paged else 1) * placement.context_tokens
    cache_class = getattr(library, _CACHES[placement.cache])
    model = library.ExLlamaV2(model_config(folder.path, placement))
    if placement.cards:
        model.load_tp(
            _free_gigabytes(placement.cards), expect_cache_tokens=tokens, expect_cache_base=cache_class
        )
        cache = library.ExLlamaV2Cache_TP(model, base=cache_class, max_seq_len=tokens)
    else:
        cache = cache_class(model, max_seq_len=tokens, lazy=True)
        model.load_autosplit(cache)
    draft_model = draft_cache = None
    if placement.draft is not None:
        draft_model = library.ExLlamaV2(model_config(placement.draft.path, placement))
        draft_cache = cache_class(draft_model, max_seq_len=tokens, lazy=True)
        draft_model.load_autosplit(draft_cache)
    return LoadedModel(
        model=model,
        cache=cache,
        tokenizer=library.ExLlamaV2Tokenizer(model.config),
        paged=paged,
        draft_model=draft_model,
        draft_cache=draft_cache,
        adapters=attach(model, placement.adapters),
    )


def model_config(path: Path, placement: Placement) -> Any:
    """Give the library's configuration of a model. Reads what its files list, not what they hold."""
    config = _library().ExLlamaV2Config(str(path))
    config.max_seq_len = placement.context_tokens
    config.max_input_len = min(CHUNK_TOKENS, placement.context_tokens)
    config.max_batch_size = 1
    return config


def attach(model: Any, adapters: tuple[Adapter, ...]) -> tuple[Any, ...]:
    """Load adapters for a model."""
    # Not by folder: the library would rather take a pickle from there, which runs what it likes.
    lora = _library().ExLlamaV2Lora
    return tuple(lora(model, str(adapter.config), str(adapter.weights)) for adapter in adapters)


def says_too_little_memory(exc: BaseException) -> bool:
    """Tell whether a failure of the library means that a card is full."""
    return type(exc).__name__ == "OutOfMemoryError" or "Insufficient VRAM" in str(exc)


def too_little_memory(path: Path, placement: Placement) -> ConfigurationError:
    """Say so, and what to do."""
    return ConfigurationError(
        f"the card has too little memory for the model and its cache (path={path} "
        f"slots={placement.slots} context={placement.context_tokens} cache={placement.cache})",
        hint="try fewer slots, a shorter context, a cache of q8 or q4, or a smaller quantization",
    )


def _free_gigabytes(cards: int) -> list[float]:
    cuda = importlib.import_module("torch").cuda
    return [max(0.0, cuda.mem_get_info(card)[0] / (1 << 30) - RESERVE_GIGABYTES) for card in range(cards)]


def _no_card() -> ConfigurationError:
    return ConfigurationError(
        "there is no NVIDIA card that torch can use",
        hint="see `nvidia-smi`; on a processor serve the model's GGUF file, by llama.cpp",
    )


def _library() -> Any:  # exllamav2 has no types.
    try:
        return importlib.import_module("exllamav2")
    except ImportError as exc:
        raise ConfigurationError(f"ExLlamaV2 cannot be used: {exc}", hint=_INSTALL_HINT) from exc
    except IndexError as exc:
        # Where it must be built first, torch looks into an empty list of cards.
        raise _no_card() from exc
    except (OSError, RuntimeError) as exc:
        raise ConfigurationError(
            f"ExLlamaV2 cannot build its CUDA extension: {exc}",
            hint="install a CUDA toolkit of torch's version, or a wheel of exllamav2 that is built for it",
        ) from exc
