"""The one door to `exllamav2` 0.3.2 and torch. Everything here blocks.

What to know of the library:

* It has no types, and asserts where it means an error.
* `cancel` tells nobody. Drafting takes its tokens off `max_new_tokens`. Only the first end token of a
  model is taken from its configuration; all are given here.
* Its `encode` takes names of control tokens for such even where it is told not to (`splitting`).
* Its page cache is shared by all who ask for the same tokens, and how fast an answer comes would tell what
  another asked. Here the chain of page hashes begins with the scope, and parts of pages are not shared.
* Without flash-attn it computes one request at a time ("unpaged"), and then nothing is shared at all.
"""

import hashlib
import importlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Finish
from cocoon_p2p.inference.exllama.generator import Order, Step, Ticket
from cocoon_p2p.inference.exllama.model_folder import ModelFolder

PAGE_TOKENS: Final = 256
"The library's cache page, and its unit of sharing."

CHUNK_TOKENS: Final = 1024
"Prompt tokens computed in one step. A cancel, and every other request's next token, wait for at most one."

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
    "For each slot; a multiple of `PAGE_TOKENS`."

    cache: CacheKind = "fp16"
    draft_ngram: bool = False
    "Guess tokens from what the prompt has said already, and check several in one step."


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Weights and cache on a card, and the tokenizer. Made by `load`, or by a test on a processor."""

    model: Any
    cache: Any
    tokenizer: Any
    paged: bool


def library_version() -> str:
    """Name and version for receipts.

    Raises:
        ConfigurationError: The library is missing or does not run here; the text says what to install.
    """
    return f"exllamav2 {_library().__version__}"


def load(folder: ModelFolder, placement: Placement) -> LoadedModel:
    """Load a model onto the machine's cards, as many as it takes.

    Raises:
        ConfigurationError: There is no card, too little memory, or the library does not know the model.
    """
    library, torch = _library(), importlib.import_module("torch")
    if not torch.cuda.is_available():
        raise ConfigurationError(
            "there is no NVIDIA card that torch can use",
            hint="see `nvidia-smi`; on a processor serve the model's GGUF file, by llama.cpp",
        )
    paged = bool(importlib.import_module("exllamav2.attn").has_flash_attn_with_paged)
    slots = placement.slots if paged else 1
    try:
        config = library.ExLlamaV2Config(str(folder.path))
        config.max_seq_len = placement.context_tokens
        config.max_input_len = min(CHUNK_TOKENS, placement.context_tokens)
        config.max_batch_size = 1
        model = library.ExLlamaV2(config)
        cache_class = getattr(library, _CACHES[placement.cache])
        cache = cache_class(model, max_seq_len=slots * placement.context_tokens, lazy=True)
        model.load_autosplit(cache)
        tokenizer = library.ExLlamaV2Tokenizer(config)
    except torch.cuda.OutOfMemoryError as exc:
        raise _too_little_memory(folder, placement) from exc
    except (RuntimeError, AssertionError, ValueError, KeyError, TypeError) as exc:
        if "Insufficient VRAM" in str(exc):
            raise _too_little_memory(folder, placement) from exc
        raise ConfigurationError(
            f"exllamav2 cannot load the model: {exc} (path={folder.path} architecture={folder.architecture} "
            f"quantization={folder.quantization})",
            hint="take an EXL2, GPTQ or plain safetensors model of an architecture that it knows",
        ) from exc
    return LoadedModel(model, cache, tokenizer, paged)


class ExllamaGenerator:
    """The library's dynamic generator (`generator.Generator`).

    Args:
        loaded: The model. Several generators may follow one another on it, one at a time.
        placement: As the model was loaded.
        eos_ids: Every token that ends an answer.
    """

    def __init__(self, loaded: LoadedModel, placement: Placement, eos_ids: frozenset[int]) -> None:
        self._dynamic = importlib.import_module("exllamav2.generator.dynamic")
        self._sampler = importlib.import_module("exllamav2.generator").ExLlamaV2Sampler
        self._torch = importlib.import_module("torch")
        _share_whole_pages_only(self._dynamic)
        self._eos_ids = sorted(eos_ids)
        self._tickets = itertools.count(1)
        self._jobs = dict[Ticket, Any]()
        self._given = dict[Ticket, int]()
        self._generator = self._dynamic.ExLlamaV2DynamicGenerator(
            loaded.model,
            loaded.cache,
            loaded.tokenizer,
            max_batch_size=placement.slots if loaded.paged else 1,
            max_chunk_size=min(CHUNK_TOKENS, placement.context_tokens),
            use_ngram_draft=placement.draft_ngram,
            paged=loaded.paged,
        )
        self._job_class = _scoped_job_class(self._dynamic)

    def start(self, order: Order) -> Ticket:
        ticket = next(self._tickets)
        job = self._job_class(
            input_ids=self._torch.tensor([list(order.prompt)], dtype=self._torch.long),
            # The library takes what it drafts off the limit.
            max_new_tokens=order.tokens_max + self._generator.num_draft_tokens,
            gen_settings=self._settings(order),
            seed=order.seed,
            stop_conditions=[] if order.ignore_eos else self._eos_ids,
            identifier=ticket,
        )
        job.scope = order.cache_scope
        try:
            self._generator.enqueue(job)
        except AssertionError as exc:
            raise ValueError("the order cannot fit into the cache") from exc
        self._jobs[ticket], self._given[ticket] = job, 0
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        self._generator.cancel(self._jobs.pop(ticket))
        del self._given[ticket]

    def step(self) -> list[Step]:
        return [self._step(result) for result in self._generator.iterate() if result["stage"] != "started"]

    def cached_tokens(self, prompt: Sequence[int], cache_scope: bytes) -> int:
        generator = self._generator
        if not generator.paged:
            return 0
        ids = self._torch.tensor([list(prompt)], dtype=self._torch.long)
        link = _first_link(cache_scope)
        whole_pages = (len(prompt) - 1) // PAGE_TOKENS
        for number in range(whole_pages):
            page_ids = ids[:, number * PAGE_TOKENS : (number + 1) * PAGE_TOKENS]
            link = self._dynamic._tensor_hash_checksum(page_ids, link)
            page = generator.referenced_pages.get(link) or generator.unreferenced_pages.get(link)
            if page is None or page.kv_position != PAGE_TOKENS:
                return number * PAGE_TOKENS
        return whole_pages * PAGE_TOKENS

    def close(self) -> None:
        # Jobs are not cancelled: a generator that failed raises then, and its page table goes with it.
        self._jobs.clear()
        self._given.clear()
        if self._generator.max_sampling_threads > 1:
            self._generator.sampling_pool.shutdown()
        if self._generator.filter_pool is not None:
            self._generator.filter_pool.shutdown()

    def _settings(self, order: Order) -> Any:
        # The library's defaults are not OpenAI's: nothing but temperature and top-p samples here.
        settings = self._sampler.Settings.greedy()
        if order.temperature > 0:
            settings.temperature = order.temperature
            settings.top_k = 0
            # To the library, zero is off.
            settings.top_p = order.top_p if order.top_p < 1 else 0.0
        settings.token_repetition_penalty = 1.0
        return settings

    def _step(self, result: dict[str, Any]) -> Step:
        ticket = result["identifier"]
        if result["stage"] == "prefill":
            return Step(ticket, prompt_tokens=result["curr_progress"])
        ids = result.get("token_ids")
        self._given[ticket] += 0 if ids is None else ids.shape[-1]
        tokens = self._given[ticket]
        if not result["eos"]:
            return Step(ticket, text=result.get("text", ""), tokens=tokens)
        del self._jobs[ticket], self._given[ticket]
        reason = result["eos_reason"]
        return Step(
            ticket,
            text=result.get("text", ""),
            tokens=tokens if reason == "max_new_tokens" else result["new_tokens"],
            finish=Finish.LENGTH if reason == "max_new_tokens" else Finish.STOP,
            cached_tokens=result["cached_tokens"],
        )


def _first_link(cache_scope: bytes) -> bytes:
    """What a chain of page hashes begins with: nobody else's."""
    return hashlib.blake2b(cache_scope, digest_size=16, person=b"cocoon scope").digest()


def _scoped_job_class(dynamic: Any) -> Any:
    """Make the library's job one whose pages are its scope's."""

    # The class is known only once the library is imported, and it has no types.
    job_class: Any = dynamic.ExLlamaV2DynamicJob
    checksum: Callable[..., bytes] = dynamic._tensor_hash_checksum

    def prepare_for_queue(job: Any, generator: Any, serial_number: int) -> None:
        job_class.prepare_for_queue(job, generator, serial_number)
        (sequence,) = job.sequences
        link, size = _first_link(job.scope), generator.page_size
        for number in range(len(sequence.page_hashes)):
            page_ids = sequence.sequence_ids.torch_slice(number * size, (number + 1) * size)
            link = sequence.page_hashes[number] = checksum(page_ids, link)
        job.all_unique_hashes = list(set(sequence.page_hashes))

    return type("ScopedJob", (job_class,), {"prepare_for_queue": prepare_for_queue})


class _WholePages:
    """The library's extension, but that no part of a page matches another."""

    def __init__(self, extension: Any) -> None:
        self._extension = extension

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extension, name)

    def count_match(self, *_arguments: Any) -> int:
        return 0


def _share_whole_pages_only(dynamic: Any) -> None:
    if not isinstance(dynamic.ext_c, _WholePages):
        dynamic.ext_c = _WholePages(dynamic.ext_c)


def _library() -> Any:  # exllamav2 has no types.
    try:
        return importlib.import_module("exllamav2")
    except ImportError as exc:
        raise ConfigurationError(f"ExLlamaV2 cannot be used: {exc}", hint=_INSTALL_HINT) from exc
    except (OSError, RuntimeError) as exc:
        raise ConfigurationError(
            f"ExLlamaV2 cannot build its CUDA extension: {exc}",
            hint="install a CUDA toolkit of torch's version, or a wheel of exllamav2 that is built for it",
        ) from exc


def _too_little_memory(folder: ModelFolder, placement: Placement) -> ConfigurationError:
    return ConfigurationError(
        f"the card has too little memory for the model and its cache (path={folder.path} "
        f"slots={placement.slots} context={placement.context_tokens} cache={placement.cache})",
        hint="try fewer slots, a shorter context, a cache of q8 or q4, or a smaller quantization",
    )
