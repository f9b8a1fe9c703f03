"""A chat as applications have it: OpenAI's messages, or the protocol's turns. What the network does with it
is spelled in `protocols.contents`."""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from cocoon_p2p.client.ranges import check_text
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.protocols.contents import ChatTurn
from cocoon_p2p.protocols.ids import (
    ARGUMENTS_MAX_BYTES,
    CALL_ID_MAX_BYTES,
    CALLS_MAX,
    CHAT_MESSAGES_MAX,
    IMAGE_MAX_BYTES,
    IMAGES_MAX,
    REQUEST_TEXT_MAX_BYTES,
    TOOL_NAME_MAX_BYTES,
)
from cocoon_p2p.protocols.wishes import ToolCall

Message = ChatTurn | Mapping[str, Any]
"""One message of a chat. A mapping is OpenAI's: `role` and `content` (a text, or a list of parts of type
`text` and `image_url`, the latter with a `data:` URI); of the assistant also `tool_calls`, of a tool
`tool_call_id`."""


def read_messages(messages: Sequence[Message]) -> tuple[ChatTurn, ...]:
    """Take the messages of a chat as an application has them.

    Raises:
        ConfigurationError: There is none, one lacks what it must have, or one is out of bounds.
    """
    if not 1 <= len(messages) <= CHAT_MESSAGES_MAX:
        raise ConfigurationError(f"a chat has 1 to {CHAT_MESSAGES_MAX} messages (got={len(messages)})")
    return tuple(_read_message(message) for message in messages)


def _read_message(message: Message) -> ChatTurn:
    turn = message if isinstance(message, ChatTurn) else _read_mapping(message)
    check_text("role", turn.role, 32)
    check_text("content", turn.content, REQUEST_TEXT_MAX_BYTES)
    check_text("tool call id", turn.call_id or "", CALL_ID_MAX_BYTES)
    if len(turn.calls) > CALLS_MAX or len(turn.images) > IMAGES_MAX:
        raise ConfigurationError(f"a message has {CALLS_MAX} tool calls and {IMAGES_MAX} images at most")
    for image in turn.images:
        if len(image) > IMAGE_MAX_BYTES:
            raise ConfigurationError(f"image is too long (size={len(image)} max={IMAGE_MAX_BYTES} bytes)")
    return turn


def _read_mapping(message: Mapping[str, Any]) -> ChatTurn:
    if not {"role", "content"} <= message.keys() and not {"role", "tool_calls"} <= message.keys():
        raise ConfigurationError("a message has a `role` and a `content`")
    text, images = _read_content(message.get("content"))
    called: Any = message.get("tool_calls") or ()
    listed: Sequence[Any] = called
    if not isinstance(called, Sequence):
        raise ConfigurationError("the `tool_calls` of a message are a list")
    calls = tuple(map(_read_call, listed))
    return ChatTurn(message["role"], text, calls, message.get("tool_call_id"), images)


def _read_content(content: Any) -> tuple[str, tuple[bytes, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    parts: Sequence[Any] = content
    if not isinstance(content, Sequence):
        raise ConfigurationError("the `content` of a message is a text, or a list of parts")
    texts: list[str] = []
    images: list[bytes] = []
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                images.append(_read_image(url))
            case _:
                raise ConfigurationError(
                    "a part of a message is of type `text` or `image_url`",
                    hint='{"type": "text", "text": ...}, or {"type": "image_url", "image_url": {"url": ...}}',
                )
    return "\n".join(texts), tuple(images)


def _read_image(url: str) -> bytes:
    head, _, data = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64")):
        # Nobody but the worker should see what is asked about, so nobody fetches it either.
        raise ConfigurationError(
            "an image is given as a `data:` URI in base64", hint="put the file itself in"
        )
    try:
        return b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError("an image is not base64") from None


def _read_call(call: Any) -> ToolCall:
    match call:
        case ToolCall():
            read = call
        case {"id": str(name_of_it), "function": {"name": str(name), "arguments": str(arguments)}}:
            read = ToolCall(name_of_it, name, arguments)
        case _:
            raise ConfigurationError(
                "a tool call has an `id` and a `function` with `name` and `arguments`, all of them text"
            )
    check_text("tool call id", read.id, CALL_ID_MAX_BYTES)
    check_text("tool name", read.name, TOOL_NAME_MAX_BYTES)
    check_text("arguments of a tool call", read.arguments, ARGUMENTS_MAX_BYTES)
    return read
