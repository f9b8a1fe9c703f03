"""Whether a request makes sense, beyond its spelling: what no honest client seals, and no engine should see.

A client asks this before it sends a request, a worker before its engine sees one. Errors name the
field, never what stands in it.

Spec: protocols/sealing.md (Beyond text).
"""

import re

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.protocols.contents import RequestContent
from cocoon_p2p.protocols.ids import (
    CALLS_SIZE_MAX_BYTES,
    CHAT_CALLS_MAX,
    IMAGE_PIXELS_MAX,
    IMAGES_MAX,
    TOOLS_SIZE_MAX_BYTES,
    Kind,
)
from cocoon_p2p.protocols.image_size import pixels_of
from cocoon_p2p.protocols.json_text import check_depth, read_json_object
from cocoon_p2p.protocols.wishes import Constraint, Grammar, Tool, ToolCall

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]+")


def check_request(content: RequestContent) -> None:
    """Judge what a request asks for.

    Raises:
        MalformedMessage: Its kind lacks what it is about or has what another kind is about, a wish
            cannot be meant so, or a picture would unfold to more than anybody should hold.
    """
    _check_kind(content)
    if content.constraint is not None:
        _check_constraint(content.constraint)
    _check_tools(content)
    _check_images(content)
    _check_calls([call for turn in content.messages for call in turn.calls])


def _check_kind(content: RequestContent) -> None:
    kind = content.kind
    given = (
        bool(content.messages),
        content.prompt is not None,
        bool(content.inputs),
        content.audio is not None,
    )
    asked: tuple[bool, ...]
    match kind:
        case Kind.CHAT:
            asked = (True, False, False, False)
        case Kind.COMPLETION:
            asked = (False, True, False, False)
        case Kind.EMBEDDING:
            asked = (False, False, True, False)
        case Kind.TRANSCRIPTION:
            # A prompt of names and words may come with the sound.
            asked = (False, content.prompt is not None, False, True)
    if given != asked:
        raise MalformedMessage(
            "a chat has messages, a completion a prompt, an embedding inputs, a transcription audio"
        )
    if (content.completion_tokens_max == 0) is not (kind is Kind.EMBEDDING):
        raise MalformedMessage("an embedding asks for no completion tokens, and all else for one at least")
    if content.audio is not None and not content.audio.data:
        raise MalformedMessage("audio: it is empty")
    if kind is not Kind.CHAT and content.tools:
        raise MalformedMessage("tools are for chats")


def _check_constraint(constraint: Constraint) -> None:
    match constraint.grammar:
        case Grammar.JSON_OBJECT:
            if constraint.text:
                raise MalformedMessage("constraint: any JSON object, and a text beside")
        case Grammar.JSON_SCHEMA:
            read_json_object("schema", constraint.text)
        case Grammar.REGEX | Grammar.GBNF:
            if not constraint.text:
                raise MalformedMessage("constraint: its text is empty")


def _check_tools(content: RequestContent) -> None:
    tools = content.tools
    if content.tool_use is not None and not tools:
        raise MalformedMessage("tool use without tools")
    if len({tool.name for tool in tools}) != len(tools):
        raise MalformedMessage("two tools have one name")
    size = sum(map(_size, tools))
    if size > TOOLS_SIZE_MAX_BYTES:
        raise MalformedMessage(f"tools: too long together (size={size} max={TOOLS_SIZE_MAX_BYTES} bytes)")
    for tool in tools:
        _check_tool_name("tool", tool.name)
        read_json_object("parameters of a tool", tool.parameters)


def _check_calls(calls: list[ToolCall]) -> None:
    if len(calls) > CHAT_CALLS_MAX:
        raise MalformedMessage(f"tool calls: too many (got={len(calls)} max={CHAT_CALLS_MAX})")
    size = sum(len(call.arguments.encode()) for call in calls)
    if size > CALLS_SIZE_MAX_BYTES:
        raise MalformedMessage(
            f"tool calls: too long together (size={size} max={CALLS_SIZE_MAX_BYTES} bytes)"
        )
    for call in calls:
        _check_tool_name("tool call", call.name)
        # Models write what is no JSON, and then must be told so.
        check_depth("arguments of a tool call", call.arguments)


def _check_tool_name(what: str, name: str) -> None:
    if not _TOOL_NAME.fullmatch(name):
        raise MalformedMessage(f"{what}: a name has letters, digits, `_` and `-`")


def _size(tool: Tool) -> int:
    return len(tool.name.encode()) + len(tool.description.encode()) + len(tool.parameters.encode())


def _check_images(content: RequestContent) -> None:
    images = [image for turn in content.messages for image in turn.images]
    if len(images) > IMAGES_MAX:
        raise MalformedMessage(f"images: too many (got={len(images)} max={IMAGES_MAX})")
    for image in images:
        if (pixels := pixels_of(image)) > IMAGE_PIXELS_MAX:
            raise MalformedMessage(f"image: too large (got={pixels} max={IMAGE_PIXELS_MAX} pixels)")
