"""One request in the client's own terms: what the application said, checked, and what follows from it.

Everything that no proxy or worker could accept is found here, before anybody is asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypedDict

from cocoon_p2p.client.policy import Policy
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.contents import ChatTurn, RequestContent
from cocoon_p2p.protocols.ids import (
    CHAT_MESSAGES_MAX,
    DEADLINE_MAX_SECONDS,
    NAME_MAX_BYTES,
    PART_PLAIN_MAX_BYTES,
    PARTS_MAX,
    PEERS_MAX,
    REQUEST_TEXT_MAX_BYTES,
    STOP_MAX,
    STOP_STRING_MAX_BYTES,
    Kind,
    Trust,
)
from cocoon_p2p.protocols.messages import Ask, ChannelId, ExchangeId
from cocoon_p2p.protocols.schema import UINT_MAX
from cocoon_p2p.units import Nano

TURN_OVERHEAD_TOKENS = 24
"""What a chat template may add around one message beside its role. `<|im_start|>`, `<|im_end|>` and
two line ends are 24 bytes, so even a tokenizer that does not know them as tokens keeps within it."""

PROMPT_OVERHEAD_TOKENS = 128
"""What may stand around a prompt: a beginning-of-text token, a template's own standing system prompt
(the longest in wide use have some 70 tokens), the opening of the answer."""

PROMPT_STEPS = (256, 1024)
"""Bounds that are told of short prompts; above them multiples of the last. The exact bound would tell
the proxy a prompt's length to the byte, which the padding under the seal hides."""

WEIGHTS_HASH_SIZE_BYTES = 32

_SIZE_MAX_BYTES = (PARTS_MAX - 1) * PART_PLAIN_MAX_BYTES

Message = ChatTurn | Mapping[str, str]
"One message of a chat; a mapping has `role` and `content`, as OpenAI's do."


class Wishes(TypedDict, total=False):
    """What an application may say about how it wants to be answered. What it leaves out is the policy's."""

    max_cost: int | None
    "In nanoTON, commission included, for the whole answer."

    trust: Trust | str | None
    "What must be proven about the worker's machine: `open`, `sim`, `tdx` or `tdx+gpu`."

    completion_tokens_max: int | None
    temperature: float
    "0 unless given: the likeliest token each time."

    top_p: float
    seed: int | None
    stop: Sequence[str]
    ignore_eos: bool
    timeout_seconds: float | None
    "For the whole answer."

    prefer: Sequence[PeerId]
    exclude: Sequence[PeerId]
    "Workers."

    weights: bytes | str | None
    """Only a worker with these very weights will do: their hash (inference/engines.md), 32 bytes or 64
    hexadecimal digits. `cocoon model hash` says it of a file."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be asked of any proxy."""

    content: RequestContent
    prompt_tokens_bound: int
    "How many tokens the prompt can have. Not told: it is the prompt's length."

    prompt_tokens_max: int
    "What is told instead."

    features: tuple[str, ...]
    max_cost: Nano
    trust: Trust
    timeout_seconds: float
    prefer: tuple[PeerId, ...]
    exclude: tuple[PeerId, ...]
    weights_hash: bytes | None


def prompt_tokens_bound(messages: Sequence[ChatTurn], prompt: str | None = None) -> int:
    """Bound a prompt's tokens without its tokenizer.

    A token of text stands for one byte of UTF-8 at least, and a template adds markup around each
    message. Tokenizers that lengthen a text before they cut it (by Unicode's compatibility forms,
    say) can pass the bound with odd texts; the worker then refuses, and nothing is charged.
    """
    if prompt is not None:
        return len(prompt.encode()) + PROMPT_OVERHEAD_TOKENS
    return PROMPT_OVERHEAD_TOKENS + sum(
        len(turn.role.encode()) + len(turn.content.encode()) + TURN_OVERHEAD_TOKENS for turn in messages
    )


def told_bound(tokens: int) -> int:
    """Round a prompt's bound up to what a proxy may know of it."""
    largest = PROMPT_STEPS[-1]
    return next((step for step in PROMPT_STEPS if tokens <= step), -(-tokens // largest) * largest)


def parse_trust(text: str) -> Trust:
    """Read a trust level as people write it: `open`, `sim`, `tdx`, `tdx+gpu`.

    Raises:
        ConfigurationError: It is none of them.
    """
    try:
        return Trust[text.upper().replace("+", "_")]
    except KeyError:
        raise ConfigurationError(
            f"not a trust level: {text[:32]!r}", hint="use open, sim, tdx or tdx+gpu"
        ) from None


def read_weights(weights: bytes | str | None) -> bytes | None:
    """Read a weights hash as people write it, 64 hexadecimal digits; 32 bytes are taken as they are.

    Raises:
        ConfigurationError: It is neither.
    """
    found = weights
    if isinstance(weights, str):
        with suppress(ValueError):
            found = bytes.fromhex(weights)
    if found is not None and (isinstance(found, str) or len(found) != WEIGHTS_HASH_SIZE_BYTES):
        raise ConfigurationError(
            "not a weights hash: it has 64 hexadecimal digits",
            hint="`cocoon models --json` says which are offered, `cocoon model hash PATH` those of a file",
        )
    return found


def read_messages(messages: Sequence[Message]) -> tuple[ChatTurn, ...]:
    """Take the messages of a chat as an application has them.

    Raises:
        ConfigurationError: There is none, one lacks role or content, or one is out of bounds.
    """
    if not 1 <= len(messages) <= CHAT_MESSAGES_MAX:
        raise ConfigurationError(f"a chat has 1 to {CHAT_MESSAGES_MAX} messages (got={len(messages)})")
    return tuple(_read_message(message) for message in messages)


def _read_message(message: Message) -> ChatTurn:
    if not isinstance(message, ChatTurn):
        if not {"role", "content"} <= message.keys():
            raise ConfigurationError("a message has a `role` and a `content`")
        message = ChatTurn(message["role"], message["content"])
    _check_text("role", message.role, 32)
    _check_text("content", message.content, REQUEST_TEXT_MAX_BYTES)
    return message


def build_request(
    model: str,
    wishes: Wishes,
    policy: Policy,
    *,
    messages: tuple[ChatTurn, ...] = (),
    prompt: str | None = None,
) -> Request:
    """Check what the application wants and spell it in the protocol's terms.

    Args:
        model: The model's name, as proxies list it.
        wishes: How it is to be answered.
        policy: What holds where `wishes` is silent.
        messages: A chat, or empty if there is a bare prompt.
        prompt: A bare prompt.

    Raises:
        ConfigurationError: A value is out of range; the text names it.
    """
    _check_text("model", model, NAME_MAX_BYTES)
    _check_text("prompt", prompt or "", REQUEST_TEXT_MAX_BYTES)
    _check_wishes(wishes)
    size_bytes = sum(len(turn.content.encode()) + 64 for turn in messages) + len((prompt or "").encode())
    if size_bytes > _SIZE_MAX_BYTES:
        raise ConfigurationError(f"the request is too long (size={size_bytes} max={_SIZE_MAX_BYTES} bytes)")
    trust, bound = wishes.get("trust"), prompt_tokens_bound(messages, prompt)
    content = RequestContent(
        kind=Kind.CHAT if prompt is None else Kind.COMPLETION,
        model=model,
        messages=messages,
        completion_tokens_max=wishes.get("completion_tokens_max") or policy.completion_tokens_max,
        temperature_milli=round(wishes.get("temperature", 0.0) * 1000),
        top_p_milli=round(wishes.get("top_p", 1.0) * 1000),
        stop=tuple(wishes.get("stop", ())),
        ignore_eos=wishes.get("ignore_eos", False),
        answer_prefix="",
        prompt=prompt,
        seed=wishes.get("seed"),
    )
    return Request(
        content=content,
        prompt_tokens_bound=bound,
        prompt_tokens_max=told_bound(bound),
        features=_features(content),
        max_cost=Nano(wishes.get("max_cost") or policy.max_cost),
        trust=policy.trust if trust is None else parse_trust(trust) if isinstance(trust, str) else trust,
        timeout_seconds=wishes.get("timeout_seconds") or policy.timeout_seconds,
        prefer=tuple(wishes.get("prefer", ())),
        exclude=tuple(wishes.get("exclude", ())),
        weights_hash=read_weights(wishes.get("weights")) or policy.weights.get(model),
    )


def build_ask(
    request: Request,
    *,
    exchange: ExchangeId,
    max_cost: int,
    seconds_left: float,
    channel: ChannelId | None,
    prefer: Iterable[PeerId],
    exclude: Iterable[PeerId],
) -> Ask:
    """Spell a request as the question to one proxy. Without a channel only the price is asked."""
    content = request.content
    return Ask(
        exchange=exchange,
        model=content.model,
        kind=content.kind,
        prompt_tokens_max=request.prompt_tokens_max,
        completion_tokens_max=content.completion_tokens_max,
        max_cost=max_cost,
        deadline_ms=max(1, int(seconds_left * 1000)),
        trust=request.trust,
        prefer=tuple(prefer)[:PEERS_MAX],
        exclude=tuple(sorted(exclude))[:PEERS_MAX],
        features=request.features,
        channel=channel,
        weights_hash=request.weights_hash,
    )


def _features(content: RequestContent) -> tuple[str, ...]:
    """Name what not every engine can do, so that one that cannot is not chosen."""
    wanted = {
        "ignore-eos": content.ignore_eos,
        "seed": content.seed is not None,
        "stop": bool(content.stop),
        "temperature": content.temperature_milli != 0 or content.top_p_milli != 1000,
    }
    return tuple(sorted(name for name, is_wanted in wanted.items() if is_wanted))


def _check_wishes(wishes: Wishes) -> None:
    if unknown := sorted(wishes.keys() - Wishes.__annotations__.keys()):
        # One that is misspelt, and so not kept, may have been the one that mattered.
        raise ConfigurationError(f"unknown wishes: {', '.join(unknown)}")
    _check_range("max_cost", wishes.get("max_cost"), 1, UINT_MAX)
    _check_range("completion_tokens_max", wishes.get("completion_tokens_max"), 1, UINT_MAX)
    _check_range("temperature", wishes.get("temperature"), 0, 100)
    _check_range("top_p", wishes.get("top_p"), 0, 1)
    _check_range("seed", wishes.get("seed"), 0, UINT_MAX)
    _check_range("timeout_seconds", wishes.get("timeout_seconds"), 0.001, DEADLINE_MAX_SECONDS)
    _check_range("number of stop strings", len(wishes.get("stop", ())), 0, STOP_MAX)
    _check_range("number of preferred workers", len(wishes.get("prefer", ())), 0, PEERS_MAX)
    _check_range("number of excluded workers", len(wishes.get("exclude", ())), 0, PEERS_MAX)
    for stop in wishes.get("stop", ()):
        _check_text("stop string", stop, STOP_STRING_MAX_BYTES)


def _check_range(name: str, value: float | None, least: float, most: float) -> None:
    # `not` catches NaN too.
    if value is not None and not least <= value <= most:
        raise ConfigurationError(f"{name} is out of range (got={value} from={least} to={most})")


def _check_text(name: str, text: str, size_max_bytes: int) -> None:
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name} is not Unicode text (it has half a surrogate pair)") from None
    if size_bytes > size_max_bytes:
        raise ConfigurationError(f"{name} is too long (size={size_bytes} max={size_max_bytes} bytes)")
