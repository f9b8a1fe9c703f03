"""What is asked of a server, in OpenAI's words: the wishes of a request, as far as all servers share them.

What they do not share (constraints, how steps are counted, whose prefixes are cached) is in `dialects`.
A prompt goes as the tokens that were counted, or as text where a server takes no tokens; what only the
server can render (tools, pictures) goes as a chat.

Spec: OpenAI API reference, Completions (legacy) and Chat Completions.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from cocoon_p2p.inference.engine import ChatMessage, GenerateRequest, RequestMalformed
from cocoon_p2p.inference.wishes import Tool, ToolUse

COMPLETIONS: Final = "/v1/completions"
CHAT: Final = "/v1/chat/completions"

SEEDS: Final = 2**32 - 1
"What every server takes; llama.cpp's highest number means none."

_PNG: Final = b"\x89PNG\r\n\x1a\n"

Body = dict[str, object]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that was counted."""

    tokens: int
    "What it comes to: what is paid for."

    sent: tuple[int, ...] | str | None
    "What is sent of it; None where the server renders the chat again, which only it can."


def needs_chat(request: GenerateRequest) -> bool:
    """Whether only the server's own chat can grant it: tool calls are parsed there, and pictures read."""
    return offers_tools(request) or any(message.images for message in request.messages)


def offers_tools(request: GenerateRequest) -> bool:
    """Whether the model is told of tools: those that it must not call it need not know."""
    return bool(request.tools) and request.tool_use is not ToolUse.NONE


def write_body(model: str, request: GenerateRequest, prompt: Prompt, *, tokens_max: int) -> tuple[str, Body]:
    """Say where a request goes, and what it says there, but for what is a dialect's own.

    Raises:
        RequestMalformed: A tool's parameters are no JSON object.
    """
    body: Body = {
        "model": model,
        "max_tokens": tokens_max,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": True,
    }
    if request.seed is not None:
        body["seed"] = request.seed % SEEDS
    if request.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in request.logit_bias}
    if request.frequency_penalty:
        body["frequency_penalty"] = request.frequency_penalty
    if request.presence_penalty:
        body["presence_penalty"] = request.presence_penalty
    if prompt.sent is not None:
        # One at least: to some, none at all is no wish to be told.
        likely = {} if request.logprobs is None else {"logprobs": max(1, request.logprobs)}
        return COMPLETIONS, {**body, "prompt": prompt.sent, **likely}
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": max(1, request.logprobs)}
    return CHAT, {**body, **chat_of(request)}


def chat_of(request: GenerateRequest) -> Body:
    """A request's chat, with its tools: what is rendered, and what is counted."""
    body: Body = {"messages": [_message(message) for message in request.messages]}
    if offers_tools(request):
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = request.tool_use.value
    return body


def object_of(text: str, what: str) -> msgspec.Raw:
    """Take JSON as it is, once it is one object: built up in memory it would be many times as large.

    Raises:
        RequestMalformed: It is none.
    """
    try:
        raw = msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise RequestMalformed(f"{what} is no JSON ({type(exc).__name__})") from exc
    if not bytes(raw).startswith(b"{"):
        raise RequestMalformed(f"{what} is no JSON object")
    return raw


def _tool(tool: Tool) -> Body:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": object_of(tool.parameters or "{}", "a tool's parameters"),
    }
    return {"type": "function", "function": function}


def _message(message: ChatMessage) -> Body:
    body: Body = {"role": message.role, "content": _content(message)}
    if message.calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    if message.call_id:
        body["tool_call_id"] = message.call_id
    return body


def _content(message: ChatMessage) -> str | Sequence[Body]:
    if not message.images:
        return message.content
    pictures: list[Body] = [
        {"type": "image_url", "image_url": {"url": _data_url(image)}} for image in message.images
    ]
    return [*pictures, {"type": "text", "text": message.content}] if message.content else pictures


def _data_url(image: bytes) -> str:
    kind = "png" if image.startswith(_PNG) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
