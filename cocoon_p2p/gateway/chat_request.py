"""The body of `POST /v1/chat/completions`, and what it comes to in the client's terms."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from cocoon_p2p.client import Message, Wishes
from cocoon_p2p.gateway.fields import LEFT_OUT, APositive, refuse_given
from cocoon_p2p.gateway.refusals import invalid, unsupported
from cocoon_p2p.gateway.sampling import Known, Sampling, sampling_wishes
from cocoon_p2p.protocols.ids import CHAT_MESSAGES_MAX, LOGPROBS_MAX, TOOLS_MAX


class ImageUrl(Known):
    url: str
    detail: Literal["auto"] | None = None


class TextPart(Known, tag_field="type", tag="text"):
    text: str


class ImagePart(Known, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class CalledFunction(Known):
    name: str
    arguments: str


class Called(Known):
    id: str
    function: CalledFunction
    type: Literal["function"] = "function"
    index: msgspec.Raw = LEFT_OUT
    "Left there by whoever put a streamed message together."


class Turn(Known):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart | ImagePart] | None = None
    name: str | None = None
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    annotations: msgspec.Raw = LEFT_OUT
    audio: msgspec.Raw = LEFT_OUT
    function_call: msgspec.Raw = LEFT_OUT


class Function(Known):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"null")
    "Of any type, null too: msgspec takes a union with it for null alone."

    strict: bool | None = None


class Tool(Known):
    type: Literal["function"]
    function: Function


class FunctionName(Known):
    name: str


class ToolChoice(Known):
    type: Literal["function"]
    function: FunctionName


class TextForm(Known, tag_field="type", tag="text"):
    pass


class ObjectForm(Known, tag_field="type", tag="json_object"):
    pass


class NamedSchema(Known):
    name: str
    schema: msgspec.Raw
    strict: bool | None = None
    "An answer fits its schema here in any case."

    description: str | None = None


class SchemaForm(Known, tag_field="type", tag="json_schema"):
    json_schema: NamedSchema


class ChatRequest(Sampling, kw_only=True):
    """OpenAI's fields as of its Python SDK 3."""

    messages: Annotated[list[Turn], msgspec.Meta(min_length=1, max_length=CHAT_MESSAGES_MAX)]
    max_completion_tokens: APositive | None = None
    tools: Annotated[list[Tool], msgspec.Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: Literal["auto", "none", "required"] | ToolChoice | None = None
    response_format: TextForm | ObjectForm | SchemaForm | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=LOGPROBS_MAX)] | None = None

    parallel_tool_calls: bool | None = None
    modalities: list[str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    verbosity: str | None = None
    metadata: msgspec.Raw = LEFT_OUT
    prediction: msgspec.Raw = LEFT_OUT
    prompt_cache_key: msgspec.Raw = LEFT_OUT
    prompt_cache_options: msgspec.Raw = LEFT_OUT
    prompt_cache_retention: msgspec.Raw = LEFT_OUT
    audio: msgspec.Raw = LEFT_OUT
    function_call: msgspec.Raw = LEFT_OUT
    functions: msgspec.Raw = LEFT_OUT
    moderation: msgspec.Raw = LEFT_OUT
    reasoning_effort: msgspec.Raw = LEFT_OUT
    web_search_options: msgspec.Raw = LEFT_OUT


_NOTHING = (None, "", *(msgspec.Raw(empty) for empty in (b"null", b"[]", b"{}", b'""')))
"What a message may hold that cannot be told to a model."

_CHOICES = ("auto", "none", "required")

_CANNOT = {
    "audio": "answers are text",
    "function_call": "use `tool_choice`",
    "functions": "use `tools`",
    "moderation": "nobody but the worker sees what is said",
    "reasoning_effort": "workers have no such setting",
    "web_search_options": "workers have no web",
}


def chat_messages(body: ChatRequest) -> list[Message]:
    """Give the chat as the client takes it.

    Raises:
        RequestRefused: A message has what cannot be told to a model.
    """
    return [_message(turn, f"messages[{place}]") for place, turn in enumerate(body.messages)]


def chat_wishes(body: ChatRequest) -> Wishes:
    """Read how the answer is wanted, but for its price.

    Raises:
        RequestRefused: A field cannot be honoured.
    """
    refuse_given(body, _CANNOT)
    _refuse_values(body)
    wishes = sampling_wishes(body)
    if body.max_completion_tokens is not None:
        if body.max_tokens is not None:
            raise invalid("give `max_tokens` or `max_completion_tokens`, not both", param="max_tokens")
        wishes["completion_tokens_max"] = body.max_completion_tokens
    if body.tools:
        wishes["tools"] = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(body.tools)]
    if body.tool_choice is not None:
        wishes["tool_choice"] = _tool_choice(body.tool_choice)
    match body.response_format:
        case ObjectForm():
            wishes["json_object"] = True
        case SchemaForm(json_schema):
            if json_schema.description:
                raise unsupported("response_format.json_schema.description", "say it in a message")
            wishes["schema"] = _text(json_schema.schema)
        case _:
            pass
    if body.logprobs:
        wishes["logprobs"] = body.top_logprobs or 0
    elif body.top_logprobs is not None:
        raise invalid("`top_logprobs` needs `logprobs`", param="top_logprobs")
    return wishes


def _refuse_values(body: ChatRequest) -> None:
    """Refuse fields for which one value is as good as none, and this is another."""
    if body.store:
        raise unsupported("store", "no answer is stored")
    if body.modalities not in (None, ["text"]):
        raise unsupported("modalities", "answers are text")
    if body.service_tier not in (None, "auto", "default"):
        raise unsupported("service_tier", "`max_price` says what an answer is worth")
    if body.verbosity not in (None, "medium"):
        raise unsupported("verbosity", "say it in a message")
    if body.parallel_tool_calls is False and body.tools:
        raise unsupported("parallel_tool_calls", "a model calls as many tools as it likes")


def _message(turn: Turn, where: str) -> Mapping[str, Any]:
    if turn.name and turn.role != "tool":
        raise unsupported(f"{where}.name", "models are told roles only; put names into the text")
    for name in ("audio", "function_call", "refusal", "annotations"):
        if getattr(turn, name) not in _NOTHING:
            raise unsupported(f"{where}.{name}", "models cannot be told")
    if turn.content is None and not turn.tool_calls:
        raise invalid(f"`{where}.content` is missing", param=f"{where}.content")
    # What OpenAI calls a developer's message every model knows as the system's.
    message: dict[str, Any] = {"role": "system" if turn.role == "developer" else turn.role}
    if isinstance(turn.content, list):
        message["content"] = [_part(part) for part in turn.content]
    else:
        message["content"] = turn.content
    if turn.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "function": {"name": call.function.name, "arguments": call.function.arguments}}
            for call in turn.tool_calls
        ]
    if turn.tool_call_id is not None:
        message["tool_call_id"] = turn.tool_call_id
    return message


def _part(part: TextPart | ImagePart) -> Mapping[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    return {"type": "image_url", "image_url": {"url": part.image_url.url}}


def _tool(tool: Tool, where: str) -> Mapping[str, Any]:
    function = tool.function
    if function.strict:
        raise unsupported(f"{where}.function.strict", "a model may write arguments that do not fit")
    told: dict[str, Any] = {"name": function.name, "description": function.description}
    if bytes(function.parameters) != b"null":
        told["parameters"] = _text(function.parameters)
    return {"type": "function", "function": told}


def _tool_choice(choice: str | ToolChoice) -> str:
    if isinstance(choice, str):
        return choice
    name = choice.function.name
    if name in _CHOICES:
        raise unsupported("tool_choice", f"a tool called {name} cannot be told from the choice of that name")
    return name


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode()
