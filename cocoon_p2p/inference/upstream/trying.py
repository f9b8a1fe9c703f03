"""One model of a server's, tried: what kind of model it is, and what it can.

a text is embedded, as many tokens as were sent    --> it embeds
a prompt is computed, as long as it was counted    --> it writes
silence is written down                            --> it hears
"""

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import httpx
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import ChatMessage, EngineError, Feature, GenerateRequest, ModelCard
from cocoon_p2p.inference.upstream.dialects import Dialect, ServedModel
from cocoon_p2p.inference.upstream.embedding import EmbeddingModel, are_alike, embed
from cocoon_p2p.inference.upstream.engine import UpstreamModel
from cocoon_p2p.inference.upstream.finding import find_dialect
from cocoon_p2p.inference.upstream.generating import GeneratingModel, Served
from cocoon_p2p.inference.upstream.health import Health
from cocoon_p2p.inference.upstream.pace import Pace
from cocoon_p2p.inference.upstream.probing import probe
from cocoon_p2p.inference.upstream.proofs import PROMPT, answer
from cocoon_p2p.inference.upstream.transcribing import (
    POSITIONS_PER_SECOND,
    SECONDS_MAX,
    TranscribingModel,
    silence,
    transcribe,
)
from cocoon_p2p.inference.upstream.wire import KeyRefused, RequestRefused, ServerBusy, Unanswered
from cocoon_p2p.inference.whisper.sound import try_decoder
from cocoon_p2p.protocols.ids import Kind

log = logging.getLogger(__name__)

TRIAL_TOKENS: Final = 4

TRIAL_SECONDS: Final = 120.0
"For the first prompt of all: a server that has just begun may still warm up."

ONE_TOKEN_SECONDS: Final = 60.0
"For a whole trial of one token, which may wait behind others' prompts."

CONTEXT_MAX_TOKENS: Final = 1 << 32
"What is longer is no context."

SEVERAL: Final = ("Hello world", "Hello", "The quick brown fox jumps over the lazy dog.")
"Texts of several lengths, which a batch may cut in the middle."

PACE_TOKENS: Final = 1024
"A prompt long enough to tell how quick prompts are computed, and short enough for a slow processor."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator said of a model; None: what the server says, or what is its own."""

    name: str
    "What clients ask for."

    root: str
    "The server's address."

    context_tokens: int | None = None
    weights_hash: bytes | None = None


async def open_model(
    http: httpx.AsyncClient, listed: ServedModel, wanted: Wanted, slots: trio.Semaphore
) -> UpstreamModel:
    """Try a model, and find out what it can.

    Raises:
        ConfigurationError: It cannot be served; the text says what to do.
        EngineError: The server fails, or computes other prompts than it counts.
    """
    dialect = await find_dialect(http, listed)
    if dialect is None:
        raise ConfigurationError(
            f"the server does not split text: nothing can be counted before it is paid (url={wanted.root})",
            hint="use vLLM, SGLang, TabbyAPI or llama.cpp's server, and do not switch off their /tokenize",
        )
    context = _context(await dialect.context_tokens(), wanted)
    trial = _Trial(http, listed.id, dialect, wanted, context, slots)
    # A server that embeds was told to: some of those write as well, none of the others embeds.
    if size := await trial.embeds():
        return await trial.embedding(size)
    try:
        with trio.fail_after(TRIAL_SECONDS):
            await trial.write()
    except trio.TooSlowError:
        raise EngineError(f"it computed nothing (waited={TRIAL_SECONDS:g} s)") from None
    except (RequestRefused, Unanswered):
        if not await trial.transcribes():
            raise
        return await trial.transcribing()
    return await trial.generating()


@dataclass(frozen=True, slots=True)
class _Trial:
    """A model whose text is split, and of which nothing else is known yet."""

    http: httpx.AsyncClient
    model: str
    dialect: Dialect
    wanted: Wanted
    context: int
    slots: trio.Semaphore

    @property
    def served(self) -> Served:
        return Served(self.http, self.model, self.dialect, {})

    # ------------------------------------------------------------ it embeds

    async def embeds(self) -> int:
        """How many numbers a vector has; 0 if none comes."""
        if not self.dialect.takes_tokens:
            return 0
        try:
            with trio.move_on_after(TRIAL_SECONDS):
                tokens = await self.dialect.split_text("Hello world", is_prompt=True)
                (vector,) = await embed(self.http, self.model, [tokens])
                return len(vector) // 4
        except (KeyRefused, ServerBusy):
            raise
        except EngineError as exc:
            log.debug("upstream lacks", extra={"what": "embeddings", "reason": str(exc)})
        return 0

    async def embedding(self, size: int) -> UpstreamModel:
        """Promise that it embeds, if each text's vector is its own.

        Raises:
            ConfigurationError: It depends on what else is computed: llama.cpp's does without a unified cache.
                Or it does not depend on the text.
        """
        texts = [await self.dialect.split_text(text, is_prompt=True) for text in SEVERAL]
        alone = [(await embed(self.http, self.model, [text], size=size))[0] for text in texts]
        if len(set(alone)) < len(alone):
            raise ConfigurationError(
                f"the server gives one vector for several texts (url={self.wanted.root})",
                hint="see that the model that it runs embeds, and that its pooling fits it",
            )
        together = await embed(self.http, self.model, texts, size=size)
        if not all(map(are_alike, alone, together)):
            raise ConfigurationError(
                f"the server's vectors depend on what else it embeds (url={self.wanted.root})",
                hint="start llama.cpp's server with --kv-unified, or with one slot",
            )
        card = self._card(Kind.EMBEDDING)
        self._tell(card, {"vector_numbers": size})
        health = Health(_within(self.embeds))
        return EmbeddingModel(self.http, self.model, self.dialect, card, self.slots, health, size=size)

    # ------------------------------------------------------------ it writes

    async def write(self) -> None:
        """Have some tokens computed, and compare how long the prompt was to the server both times."""
        request = GenerateRequest(self.model, prompt=PROMPT, completion_tokens_max=TRIAL_TOKENS)
        prompt = await self.served.split(request)
        computed = (await answer(self.served, request, prompt)).prompt_tokens
        if not computed:
            raise EngineError("it does not say how many tokens an answer had")
        if computed != prompt.tokens:
            raise EngineError(
                f"it counts a prompt of {prompt.tokens} tokens as {computed} when it computes it"
            )

    async def generating(self) -> UpstreamModel:
        """Probe what it can besides, and promise that."""
        pace = Pace(await self._seconds_per_token())
        found = await probe(self.served)
        card = self._card(Kind.CHAT if await self._chats() else Kind.COMPLETION, found.features)
        quick = round(1 / pace.seconds_per_token) if pace.seconds_per_token else 0
        features = sorted(feature.value for feature in found.features)
        self._tell(card, {"features": features, "prompt_tokens_per_second": quick})
        one = GenerateRequest(self.model, prompt="Hello", completion_tokens_max=1)
        health = Health(_within(lambda: answer(found.served, one)))
        return GeneratingModel(found.served, card, self.slots, health, pace)

    async def _chats(self) -> bool:
        """Whether a chat is rendered, and computed as long as it was counted. Some models only complete."""
        chat = (ChatMessage("user", "Hello"),)
        request = GenerateRequest(self.model, chat, completion_tokens_max=1)
        try:
            with trio.move_on_after(TRIAL_SECONDS):
                prompt = await self.served.split(request)
                return (await answer(self.served, request, prompt)).prompt_tokens == prompt.tokens
        except EngineError as exc:
            log.debug("upstream lacks", extra={"what": "chat", "reason": str(exc)})
        return False

    async def _seconds_per_token(self) -> float:
        """Measure how long a prompt takes, with the first token of its answer."""
        words = PROMPT + " jumps over the lazy dog." * (PACE_TOKENS // 8)
        # In a scope of its own: what is cached is no measure.
        request = GenerateRequest(
            self.model, prompt=words, completion_tokens_max=1, cache_scope=secrets.token_bytes(16)
        )
        prompt = await self.served.split(request)
        if prompt.tokens >= self.context:
            request = replace(request, prompt=PROMPT)
            prompt = await self.served.split(request)
        began = trio.current_time()
        with trio.move_on_after(TRIAL_SECONDS) as scope:
            await answer(self.served, request, prompt)
        if scope.cancelled_caught:
            log.warning("upstream is slow", extra={"prompt_tokens": prompt.tokens, "seconds": TRIAL_SECONDS})
        return (trio.current_time() - began) / max(prompt.tokens, 1)

    # ------------------------------------------------------------ it hears

    async def transcribes(self) -> bool:
        """Whether it writes down silence."""
        try:
            with trio.move_on_after(TRIAL_SECONDS):
                await transcribe(self.http, self.model, silence(1))
                return True
        except ServerBusy:
            raise
        except EngineError as exc:
            log.debug("upstream lacks", extra={"what": "transcriptions", "reason": str(exc)})
        return False

    async def transcribing(self) -> UpstreamModel:
        """Promise that it writes down what is said, if recordings can be decoded here.

        Raises:
            ConfigurationError: They cannot.
        """
        await try_decoder()
        began = trio.current_time()
        await self.transcribes()
        pace = Pace((trio.current_time() - began) / POSITIONS_PER_SECOND)
        card = replace(self._card(Kind.TRANSCRIPTION), context_tokens=SECONDS_MAX * POSITIONS_PER_SECOND)
        self._tell(card, {})
        health = Health(_within(self.transcribes))
        return TranscribingModel(self.http, self.model, self.dialect, card, self.slots, health, pace)

    def _card(self, kind: Kind, features: frozenset[Feature] = frozenset()) -> ModelCard:
        own = hashlib.sha256(f"{self.wanted.root}\0{self.model}".encode()).digest()
        unseen = hashlib.sha256(b"cocoon/weights/unseen/1\0" + own).digest()
        return ModelCard(
            name=self.wanted.name,
            weights_hash=self.wanted.weights_hash or unseen,
            tokenizer_hash=hashlib.sha256(b"cocoon/tokenizer/unseen/1\0" + own).digest(),
            context_tokens=self.context,
            features=features,
            kind=kind,
        )

    def _tell(self, card: ModelCard, found: Mapping[str, object]) -> None:
        told = {"model": card.name, "kind": card.kind.name.lower(), "dialect": self.dialect.name}
        log.info("upstream probed", extra={**told, **found})


def _within(compute: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """Have something computed within `ONE_TOKEN_SECONDS`, as a server's health is asked for."""

    async def look() -> None:
        try:
            # A server that trickles is never silent, and never done.
            with trio.fail_after(ONE_TOKEN_SECONDS):
                if not await compute():
                    raise EngineError("it computed nothing")
        except trio.TooSlowError:
            raise EngineError(f"it computed no token (waited={ONE_TOKEN_SECONDS:g} s)") from None

    return look


def _context(said: int, wanted: Wanted) -> int:
    # Tokenizers that know no limit say 10^30.
    said = said if 0 < said <= CONTEXT_MAX_TOKENS else 0
    if said and wanted.context_tokens and wanted.context_tokens > said:
        raise ConfigurationError(
            "the server's context is shorter "
            f"(wanted={wanted.context_tokens} there={said} url={wanted.root})",
            hint="lower context_tokens, or start the server with a longer context",
        )
    if not (context := wanted.context_tokens or said):
        raise ConfigurationError(
            f"the server does not say how long its context is (url={wanted.root})", hint="set context_tokens"
        )
    return context
