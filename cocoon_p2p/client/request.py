"""One request in the client's own terms: what the application said, checked, and what follows from it.

Everything that no proxy or worker could accept is found here, before anybody is asked.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from cocoon_p2p.client.bounds import (
    WORDS_TOKENS_PER_SECOND,
    prompt_tokens_bound,
    speech_seconds_max,
    told_bound,
)
from cocoon_p2p.client.policy import Policy
from cocoon_p2p.client.ranges import check_text
from cocoon_p2p.client.wishes import (
    EMBEDDING_WISHES,
    Wishes,
    check_wishes,
    read_constraint,
    read_logit_bias,
    read_preference,
    read_preferred,
    read_tools,
    spell_penalty,
)
from cocoon_p2p.errors import ConfigurationError, LocalProtocolError, MalformedMessage
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.contents import ChatTurn, RequestContent, cut_parts, encode_request
from cocoon_p2p.protocols.ids import NAME_MAX_BYTES, PEERS_MAX, Kind, Preference, Trust
from cocoon_p2p.protocols.messages import Ask, ChannelId, ExchangeId
from cocoon_p2p.protocols.request_sense import check_request
from cocoon_p2p.protocols.wishes import Audio, Grammar
from cocoon_p2p.units import Nano

WEIGHTS_HASH_SIZE_BYTES = 32

_CONSTRAINING = {
    Grammar.JSON_OBJECT: "json-schema",
    Grammar.JSON_SCHEMA: "json-schema",
    Grammar.REGEX: "regex",
    Grammar.GBNF: "grammar",
}


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
    purse: str | None
    "Whose budget it is paid from."
    preference: Preference | None = None


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


def build_request(
    model: str,
    wishes: Wishes,
    policy: Policy,
    *,
    messages: tuple[ChatTurn, ...] = (),
    prompt: str | None = None,
    inputs: tuple[str, ...] = (),
    audio: Audio | None = None,
) -> Request:
    """Check what the application wants and spell it in the protocol's terms.

    Args:
        model: The model's name, as proxies list it.
        wishes: How it is to be answered.
        policy: What holds where `wishes` is silent.
        messages: A chat.
        prompt: A bare prompt; with `audio`, names and words that may occur in it.
        inputs: Texts to embed.
        audio: Speech to write down.

    Raises:
        ConfigurationError: A value is out of range; the text names it.
    """
    check_text("model", model, NAME_MAX_BYTES)
    check_wishes(wishes)
    content = _content(model, wishes, policy, messages, prompt, inputs, audio)
    try:
        check_request(content)
        cut_parts(encode_request(content))
    except (MalformedMessage, LocalProtocolError) as exc:
        raise ConfigurationError(str(exc)) from None
    trust, bound = wishes.get("trust"), prompt_tokens_bound(content)
    return Request(
        content=content,
        prompt_tokens_bound=bound,
        prompt_tokens_max=told_bound(bound),
        features=_features(content),
        max_cost=Nano(wishes.get("max_cost") or policy.max_cost),
        trust=policy.trust if trust is None else parse_trust(trust) if isinstance(trust, str) else trust,
        timeout_seconds=wishes.get("timeout_seconds") or policy.timeout_seconds,
        prefer=read_preferred(wishes),
        exclude=tuple(wishes.get("exclude", ())),
        weights_hash=read_weights(wishes.get("weights")) or policy.weights.get(model),
        purse=wishes.get("purse"),
        preference=read_preference(wishes),
    )


def _content(
    model: str,
    wishes: Wishes,
    policy: Policy,
    messages: tuple[ChatTurn, ...],
    prompt: str | None,
    inputs: tuple[str, ...],
    audio: Audio | None,
) -> RequestContent:
    tools, tool_use = read_tools(wishes)
    return RequestContent(
        kind=_kind(prompt, inputs, audio),
        model=model,
        messages=messages,
        completion_tokens_max=_completion_tokens_max(wishes, policy, inputs, audio),
        temperature_milli=round(wishes.get("temperature", 0.0) * 1000),
        top_p_milli=round(wishes.get("top_p", 1.0) * 1000),
        stop=tuple(wishes.get("stop", ())),
        ignore_eos=wishes.get("ignore_eos", False),
        answer_prefix="",
        prompt=prompt,
        seed=wishes.get("seed"),
        constraint=read_constraint(wishes),
        tools=tools,
        tool_use=tool_use,
        logit_bias=read_logit_bias(wishes),
        banned=tuple(wishes.get("banned", ())),
        logprobs=wishes.get("logprobs"),
        frequency_penalty_milli=spell_penalty(wishes.get("frequency_penalty", 0.0)),
        presence_penalty_milli=spell_penalty(wishes.get("presence_penalty", 0.0)),
        inputs=inputs,
        audio=audio,
    )


def _kind(prompt: str | None, inputs: tuple[str, ...], audio: Audio | None) -> Kind:
    if audio is not None:
        return Kind.TRANSCRIPTION
    if inputs:
        return Kind.EMBEDDING
    return Kind.CHAT if prompt is None else Kind.COMPLETION


def _completion_tokens_max(
    wishes: Wishes, policy: Policy, inputs: tuple[str, ...], audio: Audio | None
) -> int:
    if inputs:
        if needless := sorted(wishes.keys() - EMBEDDING_WISHES):
            raise ConfigurationError(f"an embedding makes no tokens to wish for: {', '.join(needless)}")
        return 0
    given = wishes.get("completion_tokens_max")
    if given is None and audio is not None:
        # What was said is as long as it is; the max cost bounds it.
        spoken = WORDS_TOKENS_PER_SECOND * speech_seconds_max(audio.data)
        return max(policy.completion_tokens_max, spoken)
    return given or policy.completion_tokens_max


def build_ask(
    request: Request,
    *,
    exchange: ExchangeId,
    max_cost: int,
    seconds_left: float,
    channel: ChannelId | None,
    prefer: Iterable[PeerId],
    exclude: Iterable[PeerId],
    continues: ExchangeId | None = None,
    wait_seconds: float | None = None,
) -> Ask:
    """Spell a request as the question to one proxy. Without a channel only the price is asked.

    With `wait_seconds` it waits in line there, where no slot is free.
    """
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
        continues=continues,
        preference=request.preference,
        wait_ms=None if wait_seconds is None else max(1, int(min(wait_seconds, seconds_left) * 1000)),
    )


def is_plain_text(content: RequestContent) -> bool:
    """Say whether a prompt is made of nothing but its texts, and is whole."""
    has_more = bool(content.tools) or any(turn.calls or turn.images for turn in content.messages)
    return content.kind in (Kind.CHAT, Kind.COMPLETION) and not has_more and not content.answer_prefix


def _features(content: RequestContent) -> tuple[str, ...]:
    """Name what not every engine can do, so that one that cannot is not chosen."""
    constraint = content.constraint
    wanted = {
        "banned-strings": bool(content.banned),
        "ignore-eos": content.ignore_eos,
        "images": any(turn.images for turn in content.messages),
        "logit-bias": bool(content.logit_bias),
        "logprobs": content.logprobs is not None,
        "penalties": (content.frequency_penalty_milli, content.presence_penalty_milli) != (None, None),
        "seed": content.seed is not None,
        "stop": bool(content.stop),
        "temperature": content.temperature_milli != 0 or content.top_p_milli != 1000,
        "tools": bool(content.tools) or any(turn.calls for turn in content.messages),
    }
    names = {name for name, is_wanted in wanted.items() if is_wanted}
    return tuple(sorted(names if constraint is None else {*names, _CONSTRAINING[constraint.grammar]}))
