"""What every engine refuses, before anything is computed and while nobody has paid. Pure."""

import math
import re
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
from cocoon_p2p.inference.wishes import ToolUse
from cocoon_p2p.protocols.ids import LOGIT_BIAS_MAX, LOGPROBS_MAX, TOOLS_MAX, Kind

TOKEN_SIZE_MAX: Final = 512
"Bytes of one token, where a model does not say. The longest known are some hundred spaces."

STOP_STRINGS_MAX: Final = 16
STOP_SIZE_MAX_CHARACTERS: Final = 256
"Far above what applications use (OpenAI takes four); every step looks for all of them."

_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


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
    _refuse_wishes(request)
    _refuse_tools(request)


def _refuse_wishes(request: GenerateRequest) -> None:
    if request.constraint is not None and request.ignore_eos:
        raise RequestMalformed("an answer cannot both have a form and go on beyond its end")
    if request.logprobs is not None and not 0 <= request.logprobs <= LOGPROBS_MAX:
        raise RequestMalformed(f"logprobs out of range (asked={request.logprobs} at most {LOGPROBS_MAX})")
    penalties = (request.frequency_penalty, request.presence_penalty)
    if not all(-2 <= penalty <= 2 for penalty in penalties):
        raise RequestMalformed(f"penalties out of range (frequency={penalties[0]} presence={penalties[1]})")
    if len(request.logit_bias) > LOGIT_BIAS_MAX or not all(
        token >= 0 and -100 <= bias <= 100 for token, bias in request.logit_bias
    ):
        raise RequestMalformed(
            f"logit bias out of range (count={len(request.logit_bias)} at most {LOGIT_BIAS_MAX}, "
            "each from -100 to 100)"
        )


def _refuse_tools(request: GenerateRequest) -> None:
    names = [tool.name for tool in request.tools]
    if len(names) > TOOLS_MAX or len(set(names)) < len(names):
        raise RequestMalformed(f"too many tools, or two of one name (count={len(names)} at most {TOOLS_MAX})")
    if not all(_TOOL_NAME.fullmatch(name) for name in names):
        raise RequestMalformed("a tool's name has letters, digits, _ and -, 64 at most")
    if names and request.prompt is not None:
        raise RequestMalformed("tools are for chats: a bare prompt has no place for them")
    if request.tool_use is ToolUse.REQUIRED and (not names or request.constraint is not None):
        raise RequestMalformed("a tool must be called, and none is offered, or another form is asked for")


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
    characters += sum(len(call.arguments) for message in request.messages for call in message.calls)
    characters += sum(len(tool.description) + len(tool.parameters) for tool in request.tools)
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
