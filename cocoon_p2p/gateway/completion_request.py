"""The body of `POST /v1/completions`, and what it comes to in the client's terms."""

from typing import Annotated

import msgspec

from cocoon_p2p.client import Wishes
from cocoon_p2p.gateway.fields import LEFT_OUT, refuse_given
from cocoon_p2p.gateway.refusals import invalid, unsupported
from cocoon_p2p.gateway.sampling import Sampling, sampling_wishes
from cocoon_p2p.protocols.ids import LOGPROBS_MAX

TOKENS_MAX = 16
"What OpenAI takes here where nothing is said; a bare prompt seldom comes to an end by itself."


class CompletionRequest(Sampling, kw_only=True):
    """OpenAI's fields as of its Python SDK 3."""

    prompt: str | list[str | int | list[int]]
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=LOGPROBS_MAX)] | None = None
    best_of: int | None = None
    echo: bool | None = None
    suffix: msgspec.Raw = LEFT_OUT


def completion_prompt(body: CompletionRequest) -> str:
    """Give the prompt.

    Raises:
        RequestRefused: There are several, or it is not text.
    """
    match body.prompt:
        case str() as text:
            return text
        case [str() as text]:
            return text
        case [str(), *_]:
            raise unsupported("prompt", "an answer is to one prompt; ask for each by itself")
        case []:
            raise invalid("`prompt` is empty", param="prompt")
        case _:
            raise unsupported("prompt", "workers take text, not tokens")


def completion_wishes(body: CompletionRequest) -> Wishes:
    """Read how the answer is wanted, but for its price.

    Raises:
        RequestRefused: A field cannot be honoured.
    """
    refuse_given(body, {"suffix": "workers continue a text, they fill no gaps"})
    if body.best_of not in (None, 1):
        raise unsupported("best_of", "an answer is one")
    if body.echo:
        raise unsupported("echo", "the prompt is known to whoever sent it")
    wishes = sampling_wishes(body)
    wishes.setdefault("completion_tokens_max", TOKENS_MAX)
    if body.logprobs is not None:
        wishes["logprobs"] = body.logprobs
    return wishes
