"""Conversations and tools as chat templates expect them: as Hugging Face's `apply_chat_template`. Pure."""

import json
from collections.abc import Sequence
from typing import Any, cast

from cocoon_p2p.inference.engine import ChatMessage, RequestMalformed
from cocoon_p2p.inference.wishes import Tool


def written(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Write messages. An answer of a tool gets the name of the tool that was called.

    Raises:
        RequestMalformed: The arguments of an earlier call are no JSON object.
    """
    names = {call.id: call.name for message in messages for call in message.calls}
    return [_message(message, names) for message in messages]


def written_tools(tools: Sequence[Tool]) -> list[dict[str, Any]] | None:
    """Write what is offered; None where nothing is, as templates ask for it.

    Raises:
        RequestMalformed: The parameters of a tool are no JSON Schema.
    """
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": _object(tool.parameters or "{}", f"the parameters of tool {tool.name!r}"),
            },
        }
        for tool in tools
    ] or None


def _message(message: ChatMessage, names: dict[str, str]) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        plain["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": _object(call.arguments, f"the arguments of call {call.id!r}"),
                },
            }
            for call in message.calls
        ]
    if message.call_id:
        plain["tool_call_id"] = message.call_id
        if message.call_id in names:
            plain["name"] = names[message.call_id]
    return plain


def _object(text: str, what: str) -> dict[str, Any]:
    """Read a JSON object. Templates that get a string instead would write it as one."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RequestMalformed(f"{what} are no JSON object")
    return cast("dict[str, Any]", value)
