"""How an answer is drawn, and told: the fields that chats and bare prompts have in common."""

from typing import Annotated

import msgspec

from cocoon_p2p.client import Wishes
from cocoon_p2p.gateway.fields import APositive, Fields, common_wishes
from cocoon_p2p.gateway.refusals import invalid, unsupported
from cocoon_p2p.protocols.ids import STOP_MAX

TEMPERATURE = 1.0
"""What OpenAI takes where nothing is said, and programs written for it count on. The client of this
library takes 0."""

ATemperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
AFraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
APenalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]


class Known(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A part of a body; what else stands in it is an error."""


class StreamOptions(Known):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Sampling(Fields, kw_only=True):
    """What chats and bare prompts have in common."""

    max_tokens: APositive | None = None
    temperature: ATemperature | None = None
    top_p: AFraction | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=STOP_MAX)] | None = None
    seed: int | None = None
    frequency_penalty: APenalty | None = None
    presence_penalty: APenalty | None = None
    logit_bias: dict[int, float] | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


def sampling_wishes(body: Sampling) -> Wishes:
    """Read what chats and bare prompts have in common.

    Raises:
        RequestRefused: A field cannot be honoured.
    """
    wishes = common_wishes(body)
    if body.n not in (None, 1):
        raise unsupported("n", "an answer is one; ask again for another")
    if body.stream_options is not None and not body.stream:
        raise invalid("`stream_options` needs `stream`", param="stream_options")
    if body.stream_options is not None and body.stream_options.include_obfuscation:
        raise unsupported("stream_options.include_obfuscation", "the connection to a gateway is your own")
    wishes["temperature"] = TEMPERATURE if body.temperature is None else body.temperature
    if body.top_p is not None:
        wishes["top_p"] = body.top_p
    if body.stop is not None:
        wishes["stop"] = [body.stop] if isinstance(body.stop, str) else body.stop
    if body.seed is not None:
        wishes["seed"] = body.seed
    if body.frequency_penalty is not None:
        wishes["frequency_penalty"] = body.frequency_penalty
    if body.presence_penalty is not None:
        wishes["presence_penalty"] = body.presence_penalty
    if body.logit_bias:
        wishes["logit_bias"] = body.logit_bias
    if body.max_tokens is not None:
        wishes["completion_tokens_max"] = body.max_tokens
    return wishes


def wants_usage(body: Sampling) -> bool:
    """Whether a stream ends with a chunk that says what was counted."""
    return body.stream_options is not None and bool(body.stream_options.include_usage)
