"""What every engine refuses, before anything is computed and while nobody has paid. Pure."""

import math
from collections.abc import Sized
from typing import Final

from cocoon_p2p.inference.engine import (
    FeatureMissing,
    GenerateRequest,
    ModelCard,
    ModelUnknown,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.protocols.ids import Kind

TOKEN_SIZE_MAX: Final = 512
"Bytes of one token, where a model does not say. The longest known are some hundred spaces."

STOP_STRINGS_MAX: Final = 16
STOP_SIZE_MAX_CHARACTERS: Final = 256
"Far above what applications use (OpenAI takes four); every step looks for all of them."


def refuse_senseless(request: GenerateRequest, card: ModelCard) -> None:
    """Refuse what could not be computed by this model, whatever its prompt comes to.

    Raises:
        ModelUnknown: Another model is asked for.
        FeatureMissing: A wish that the model's engine cannot grant, by name.
        RequestMalformed: Nothing that this kind of model could use, no token asked for, a number out of
            its range.
    """
    if request.model != card.name:
        raise ModelUnknown(f"unknown model (asked={request.model!r} here={card.name!r})")
    if missing := request.features - card.features:
        raise FeatureMissing(f"this engine has no {', '.join(sorted(missing))}")
    _refuse_another_kind(request, card)
    if request.completion_tokens_max < 1 and card.kind is not Kind.EMBEDDING:
        raise RequestMalformed(
            f"no completion token is asked for (completion_tokens_max={request.completion_tokens_max})"
        )
    if not (0 <= request.temperature < math.inf and 0 < request.top_p <= 1):
        raise RequestMalformed(
            f"sampling out of range (temperature={request.temperature} top_p={request.top_p})"
        )
    if len(request.stop) > STOP_STRINGS_MAX or any(
        len(stop) > STOP_SIZE_MAX_CHARACTERS for stop in request.stop
    ):
        raise RequestMalformed(
            f"too many or too long stop strings (count={len(request.stop)} at most {STOP_STRINGS_MAX}, "
            f"of {STOP_SIZE_MAX_CHARACTERS} characters)"
        )


def _refuse_another_kind(request: GenerateRequest, card: ModelCard) -> None:
    match card.kind:
        case Kind.EMBEDDING:
            if not request.inputs:
                raise RequestMalformed("a request to embed has texts to embed, one at least")
        case Kind.TRANSCRIPTION:
            if request.audio is None:
                raise RequestMalformed("a request to write down has speech to write down")
        case _:
            if bool(request.messages) == (request.prompt is not None):
                raise RequestMalformed("a request has either messages or a prompt")


def refuse_endless(
    request: GenerateRequest, card: ModelCard, *, token_size_max: int = TOKEN_SIZE_MAX
) -> None:
    """Refuse a prompt whose own text cannot fit: splitting a megabyte takes half a second.

    Raises:
        PromptTooLong: Were every token as long as one can be, there would still be too many.
    """
    characters = sum(len(message.content) for message in request.messages)
    characters += len(request.prompt or "") + len(request.answer_prefix)
    if characters > card.context_tokens * token_size_max:
        raise _too_long(f"{characters} characters", card)


def refuse_unfit(prompt: Sized, card: ModelCard) -> None:
    """Refuse a prompt of no tokens, or of so many that none is left for an answer.

    Raises:
        RequestMalformed: It is empty.
        PromptTooLong: It fills the context.
    """
    if not prompt:
        raise RequestMalformed("the prompt is empty")
    if len(prompt) >= card.context_tokens:
        raise _too_long(f"{len(prompt)} tokens", card)


def _too_long(size: str, card: ModelCard) -> PromptTooLong:
    return PromptTooLong(
        f"the prompt leaves no room for an answer (prompt={size} context={card.context_tokens} tokens)",
        hint="shorten the conversation, or ask for a model with a longer context",
    )
