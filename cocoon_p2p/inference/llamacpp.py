"""Opening the llama.cpp engine: everything that can be wrong with a model is found here.

The engine itself is in `llama_engine`, the library's door in `llama_server`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import is_demo, model_name
from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.engine import Capabilities, ChatMessage, Engine, EngineError, Feature, ModelCard
from cocoon_p2p.inference.gguf import GgufHead, read_gguf
from cocoon_p2p.inference.hash_memory import HashMemory
from cocoon_p2p.inference.llama_embedding import LlamaCppEmbedding
from cocoon_p2p.inference.llama_engine import LlamaCppEngine
from cocoon_p2p.inference.llama_server import LlamaServer, ServerSettings, library_version
from cocoon_p2p.inference.manifest import Progress, check_weights, weights_hash
from cocoon_p2p.inference.processors import default_threads
from cocoon_p2p.inference.refusing import TOKEN_SIZE_MAX
from cocoon_p2p.inference.tools import CallForm, form_of, new_call_id
from cocoon_p2p.inference.wishes import Tool, ToolCall
from cocoon_p2p.protocols.ids import Kind

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
        Feature.GRAMMAR,
        Feature.LOGPROBS,
        Feature.LOGIT_BIAS,
        Feature.PENALTIES,
    }
)
"Of every model that answers. One whose way of calling tools is known has those, too."

_LAST: Final = 3
_POOLINGS: Final = (1, 2, _LAST)
"How a GGUF file spells mean, cls and last."


@asynccontextmanager
async def open_llamacpp(
    model: Path,
    *,
    name: str | None = None,
    slots: int = 4,
    context_tokens: int | None = None,
    threads: int | None = None,
    has_chat: bool = True,
    expected_weights_hash: bytes | None = None,
    memory: HashMemory | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[Engine]:
    """Load a GGUF model and serve it.

    Everything that can be wrong with the model is found before the first `yield`. While
    llama.cpp loads it the whole process stands still, so open the engine before anybody
    relies on this process. Cancelled, it leaves nothing behind, once llama.cpp has loaded.

    Args:
        model: The file, or the first part of a split one.
        name: What clients ask for; by default what the file calls itself.
        slots: Requests computed at once. Each has the memory of its whole context.
        context_tokens: Prompt and completion together, a request. By default 4,096 or what
            the model was trained for, if that is less.
        threads: For the computation. By default one less than the processors at hand.
        has_chat: False leaves the model's template alone: it completes text, and refuses chats.
        expected_weights_hash: Serve these weights or none.
        memory: What the model's files hashed to before, so that gigabytes are not read twice.
        progress: Told how far the hashing is, where it takes seconds.

    Raises:
        ConfigurationError: llama.cpp is not installed, the file is not a model that it can
            run, it has other weights than expected, or a number is out of range.
    """
    if slots < 1 or (threads is not None and threads < 1):
        raise ConfigurationError(f"an engine needs slots and threads (slots={slots} threads={threads})")
    version = library_version()
    head = await trio.to_thread.run_sync(read_gguf, model)
    template = await trio.to_thread.run_sync(_checked_template, head) if has_chat else ChatTemplate("")
    kind = _kind(head)
    embeds = kind is Kind.EMBEDDING
    form = await trio.to_thread.run_sync(_checked_form, head, template) if has_chat else None
    settings = ServerSettings(
        model, slots, _context(head, context_tokens), threads or default_threads(), embeds=embeds
    )
    weights = await weights_hash(model, memory=memory, progress=progress)
    check_weights(model, weights, expected_weights_hash)
    card = ModelCard(
        name=name or model_name(head),
        weights_hash=weights,
        tokenizer_hash=head.tokenizer_hash,
        context_tokens=settings.context_tokens,
        features=_features(kind, form),
        is_demo=is_demo(weights),
        kind=kind,
    )
    server = await trio.to_thread.run_sync(LlamaServer, settings)
    capabilities = Capabilities(version, (card,), slots)
    token_size_max = head.token_size_max_bytes or TOKEN_SIZE_MAX
    engine: Engine
    if embeds:
        engine = LlamaCppEmbedding(server, capabilities, token_size_max_bytes=token_size_max)
    else:
        engine = LlamaCppEngine(
            server,
            capabilities,
            template,
            bos=head.bos,
            token_size_max_bytes=token_size_max,
            vocabulary=head.vocabulary,
            form=form,
        )
    try:
        yield engine
    finally:
        await engine.aclose()


def _checked_form(head: GgufHead, template: ChatTemplate) -> CallForm | None:
    """How the model calls tools, if that is known and its template takes a conversation with a call in it."""
    form = form_of(head.chat_template)
    if form is None:
        return None
    call = ToolCall(new_call_id(), "time", "{}")
    conversation = [
        ChatMessage("user", "Hello"),
        ChatMessage("assistant", "", calls=(call,)),
        ChatMessage("tool", "12:00", call_id=call.id),
    ]
    try:
        template.render(conversation, [Tool("time", "What time it is.", '{"type": "object"}')])
    except EngineError:
        return None
    return form


def _kind(head: GgufHead) -> Kind:
    """What a model is for: one that says how it sums a text up into a vector is for that.

    Raises:
        ConfigurationError: It ranks texts, or leaves summing up to others.
    """
    pooling = head.values.get(f"{head.architecture}.pooling_type")
    if pooling is None and "bert" not in head.architecture:
        return Kind.CHAT
    if pooling not in _POOLINGS:
        raise ConfigurationError(
            f"the model gives no vector for a text (pooling={pooling} path={head.path})",
            hint="choose an embedding model whose file says how it pools: mean, cls or last",
        )
    return Kind.EMBEDDING


def _features(kind: Kind, form: CallForm | None) -> frozenset[Feature]:
    if kind is Kind.EMBEDDING:
        return frozenset()
    return FEATURES if form is None else FEATURES | {Feature.TOOLS}


def _context(head: GgufHead, asked: int | None) -> int:
    """Settle the context of a request, in tokens."""
    trained = head.context_tokens or (asked or CONTEXT_TOKENS)
    if head.values.get(f"{head.architecture}.pooling_type") == _LAST:
        trained -= 1  # llama.cpp keeps a place for the token that could follow.
    if asked is not None and not 1 < asked <= trained:
        raise ConfigurationError(
            f"the model cannot have that context (asked={asked} trained={trained} tokens)",
            hint=f"set context_tokens between 2 and {trained}, or leave it out",
        )
    return asked or min(CONTEXT_TOKENS, trained)


def _checked_template(head: GgufHead) -> ChatTemplate:
    """Try the model's template once, on the shortest chat. A model without one only completes text."""
    template = ChatTemplate(head.chat_template, bos=head.bos, eos=head.eos)
    if head.chat_template:
        try:
            template.render([ChatMessage("user", "Hello")])
        except EngineError as exc:
            raise ConfigurationError(
                f"{exc} (path={head.path})", hint="the model's publisher may have a newer file"
            ) from exc
    return template
