"""The one door to the generator of `exllamav2` 0.3.2. Everything here blocks.

What to know of the library:

* It has no types, and asserts where it means an error.
* `cancel` tells nobody. Drafting takes its tokens off `max_new_tokens`. Only the first end token of a
  model is taken from its configuration; all are given here.
* Its `encode` takes names of control tokens for such even where it is told not to (`splitting`).
* Its page cache is shared by all who ask for the same tokens, and how fast an answer comes would tell what
  another asked. Here the chain of page hashes begins with the scope, and parts of pages are not shared.
* Without flash-attn it computes one request at a time ("unpaged"), and then nothing is shared at all.
* It drafts from what was said by looking at three tokens, and fails for everybody where there are fewer.
* What it takes back for a banned string it still counts, and with drafting it goes on where it was. Here an
  order goes back by starting again, on the pages that it has (`banning`).
* From a byte on that is no text it holds all text back, and at the limit it spells a character's tokens one
  by one. Nothing of its text is used (`characters`).
"""

import hashlib
import importlib
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from cocoon_p2p.inference.engine import EngineError, Finish
from cocoon_p2p.inference.exllama.banning import Burst, HeldBursts
from cocoon_p2p.inference.exllama.characters import Characters
from cocoon_p2p.inference.exllama.generator import Order, Step, Ticket
from cocoon_p2p.inference.exllama.loading import CHUNK_TOKENS, DRAFT_TOKENS, LoadedModel, Placement
from cocoon_p2p.inference.exllama.shaping import Shaping

PAGE_TOKENS: Final = 256
"The library's cache page, and its unit of sharing."

UNSAID_MAX: Final = 32
"""How often an answer may go back for a banned string; then it ends. Each time costs as much as a short
prompt, which nobody pays."""


class _Running:
    """An order under way. `job` is the library's, another after each going back."""

    def __init__(self, order: Order, shaping: Shaping) -> None:
        self.order = order
        self.shaping = shaping
        self.job: Any = None
        self.characters = Characters()
        self.held = HeldBursts(order.banned)
        self.taken_tokens = 0
        "Of those drawn: a step may draw several."

        self.given_tokens = 0
        self.times_unsaid = 0
        self.cached_tokens: int | None = None
        "Of the first job: later ones find what that one computed."


class ExllamaGenerator:
    """The library's dynamic generator (`generator.Generator`).

    Args:
        loaded: The model. Several generators may follow one another on it, one at a time.
        placement: As the model was loaded.
        eos_ids: Every token that ends an answer.
        text_of: Says what a token spells.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        placement: Placement,
        eos_ids: frozenset[int],
        text_of: Callable[[int], bytes],
    ) -> None:
        self._dynamic = importlib.import_module("exllamav2.generator.dynamic")
        self._sampler = importlib.import_module("exllamav2.generator").ExLlamaV2Sampler
        self._torch = importlib.import_module("torch")
        share_whole_pages_only(self._dynamic)
        self._eos_ids = sorted(eos_ids)
        self._text_of = text_of
        self._tickets = itertools.count(1)
        self._running = dict[Ticket, _Running]()
        self._generator = _generator_class(self._dynamic)(
            loaded.model,
            loaded.cache,
            loaded.tokenizer,
            max_batch_size=placement.slots if loaded.paged else 1,
            max_chunk_size=min(CHUNK_TOKENS, placement.context_tokens),
            draft_model=loaded.draft_model,
            draft_cache=loaded.draft_cache,
            num_draft_tokens=DRAFT_TOKENS,
            use_ngram_draft=placement.draft_ngram,
            paged=loaded.paged,
        )
        if loaded.adapters:
            self._generator.set_loras(list(loaded.adapters))
        self._job_class = _order_job_class(self._dynamic)

    def start(self, order: Order) -> Ticket:
        ticket = next(self._tickets)
        running = _Running(order, Shaping(order, self._text_of, self._torch))
        self._enqueue(ticket, running)
        self._running[ticket] = running
        return ticket

    def _enqueue(self, ticket: Ticket, running: _Running) -> None:
        order, drawn = running.order, running.shaping.drawn
        job = self._job_class(
            input_ids=self._torch.tensor([[*order.prompt, *drawn]], dtype=self._torch.long),
            # The library takes what it drafts off the limit.
            max_new_tokens=order.tokens_max - len(drawn) + self._generator.num_draft_tokens,
            gen_settings=self._settings(order),
            seed=order.seed,
            stop_conditions=[] if order.ignore_eos else self._eos_ids,
            identifier=ticket,
        )
        job.scope, job.shaping = order.cache_scope, running.shaping
        job.goes_on = running.job is not None
        if job.goes_on:
            job.rng = running.job.rng
        try:
            self._generator.enqueue(job)
        except AssertionError as exc:
            raise ValueError("the order cannot fit into the cache") from exc
        running.job = job

    def cancel(self, ticket: Ticket) -> None:
        running = self._running.pop(ticket, None)
        if running is not None:
            self._generator.cancel(running.job)

    def step(self) -> list[Step]:
        steps = list[Step]()
        for result in self._generator.iterate():
            running = self._running.get(result["identifier"])
            # An order that went back has another job now; what the one before still says was never said.
            if running is not None and result["job"] is running.job and result["stage"] != "started":
                steps += self._steps(result["identifier"], running, result)
        return steps

    def _steps(self, ticket: Ticket, running: _Running, result: dict[str, Any]) -> list[Step]:
        if result["stage"] == "prefill":
            return [] if running.times_unsaid else [Step(ticket, prompt_tokens=result["curr_progress"])]
        reason = result["eos_reason"] if result["eos"] else None
        running.held, said, unsaid = running.held.take(self._burst(running, reason))
        if unsaid:
            return self._go_back(ticket, running)
        steps = self._say(ticket, running, said)
        return steps if reason is None else [*steps, *self._end(ticket, running, reason)]

    def _burst(self, running: _Running, reason: str | None) -> Burst:
        """Give what the next of the tokens that were drawn finishes; at the end, all that is whole."""
        token, burst = running.shaping.drawn[running.taken_tokens], Burst("", ())
        running.taken_tokens += 1
        if reason != "stop_token":
            running.characters, burst = running.characters.take(token, self._spelled(token, running.order))
        return burst if reason is None or burst.tokens else running.characters.end()

    def _spelled(self, token: int, order: Order) -> bytes:
        pieces: Sequence[str] = self._generator.tokenizer.get_id_to_piece_list(order.shows_control_tokens)
        is_whole = "\N{REPLACEMENT CHARACTER}" not in pieces[token]
        return pieces[token].encode("utf-8", "replace") if is_whole else self._text_of(token)

    def _go_back(self, ticket: Ticket, running: _Running) -> list[Step]:
        """Have an order go on before what was unsaid."""
        running.times_unsaid += 1
        if running.cached_tokens is None:
            running.cached_tokens = _cached(running.job)
        self._generator.cancel(running.job)
        running.characters = Characters()
        running.taken_tokens = running.given_tokens + running.held.token_count
        running.shaping.unsay(running.taken_tokens)
        if running.times_unsaid > UNSAID_MAX:
            return self._end(ticket, running, "unsaid")
        self._enqueue(ticket, running)
        return []

    def _say(self, ticket: Ticket, running: _Running, said: Sequence[Burst]) -> list[Step]:
        # A step each: a stop string in one of them leaves out the tokens of those behind it.
        steps = list[Step]()
        for burst in said:
            start = running.given_tokens
            running.given_tokens += len(burst.tokens)
            likelihoods = running.shaping.logprobs(start, running.given_tokens)
            steps.append(Step(ticket, text=burst.text, tokens=running.given_tokens, logprobs=likelihoods))
        return steps

    def _end(self, ticket: Ticket, running: _Running, reason: str) -> list[Step]:
        del self._running[ticket]
        said = self._say(ticket, running, running.held.bursts)
        end = Step(
            ticket,
            # The end token has no text, and counts; the beginning of a character that will not be finished
            # has none either, and does not.
            tokens=running.given_tokens + (reason == "stop_token"),
            finish=Finish.LENGTH if reason == "max_new_tokens" else Finish.STOP,
            cached_tokens=_cached(running.job) if running.cached_tokens is None else running.cached_tokens,
            error=EngineError("the form of this answer takes too long to keep to")
            if running.shaping.has_failed
            else None,
        )
        return [*said, end]

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
        self._running.clear()
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


def _cached(job: Any) -> int:
    return int(job.cached_pages * PAGE_TOKENS + job.cached_tokens)


def _first_link(cache_scope: bytes) -> bytes:
    """What a chain of page hashes begins with: nobody else's."""
    return hashlib.blake2b(cache_scope, digest_size=16, person=b"cocoon scope").digest()


def _generator_class(dynamic: Any) -> Any:
    """Make the library's generator one that drafts nothing while it has too little to draft from."""

    # As below.
    generator_class: Any = dynamic.ExLlamaV2DynamicGenerator

    def iterate_ngram_gen(generator: Any, results: Any) -> Any:
        lengths = (len(sequence.sequence_ids) for job in generator.active_jobs for sequence in job.sequences)
        if min(lengths, default=0) < generator.max_ngram:
            return None
        return generator_class.iterate_ngram_gen(generator, results)

    return type("Generator", (generator_class,), {"iterate_ngram_gen": iterate_ngram_gen})


def _order_job_class(dynamic: Any) -> Any:
    """Make the library's job one whose pages are its scope's, and whose tokens are drawn as ordered."""

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

    def prefill(job: Any, results: Any) -> None:
        # Without pages there is one request, and what the cache holds when it goes back is its own.
        dynamic.ext_c.may_match = job.goes_on and not job.generator.paged
        job_class.prefill(job, results)

    def receive_logits(job: Any, logits: Any) -> Any:
        job.shaping.shape(logits[0, 0])
        sampled = job_class.receive_logits(job, logits)
        job.shaping.draw(int(sampled[0]))
        return sampled

    def receive_sample(job: Any, *arguments: Any) -> Any:
        # It would decode all that it holds, again with each token.
        job.held_text = ""
        job.held_tokens.clear()
        return job_class.receive_sample(job, *arguments)

    methods = {
        "prepare_for_queue": prepare_for_queue,
        "prefill": prefill,
        "receive_logits": receive_logits,
        "receive_sample": receive_sample,
    }
    return type("OrderJob", (job_class,), methods)


class _WholePages(threading.local):
    """The library's extension, but that no part of a page matches another, unless it may: in the thread that
    says so, since generators of several models share the extension."""

    def __init__(self, extension: Any) -> None:
        self._extension = extension
        self.may_match = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extension, name)

    def count_match(self, *arguments: Any) -> int:
        return int(self._extension.count_match(*arguments)) if self.may_match else 0


def share_whole_pages_only(dynamic: Any) -> None:
    """Have the library's module of generators match no parts of pages."""
    if not isinstance(dynamic.ext_c, _WholePages):
        dynamic.ext_c = _WholePages(dynamic.ext_c)
