"""That an answer calls a tool and says nothing else, as a grammar for `form`. Pure.

    start: begin call end                    call: a tool's name, and arguments of its schema

Spec: llguidance's Lark notation; how models write calls stands in `inference.tools.forms`.
"""

import json
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from cocoon_p2p.inference.tools import CallForm
from cocoon_p2p.inference.wishes import Tool

CALLS_AT_ONCE: Final = 8
"Of an answer that must call: a model that cannot stop would call to its limit."

JSON_SPELLING: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"On one line: where any white space is allowed, a model may write nothing else to the end."

ANY_OBJECT: Final = '{"type": "object"}'


def calls_lark(
    form: CallForm,
    tools: tuple[Tool, ...],
    control_token: Callable[[str], int | None],
    is_kept: Callable[[str], bool],
) -> str:
    """Write the grammar of calls in a model's own way, one at least.

    Args:
        form: That way.
        tools: What may be called.
        control_token: Gives the number of a text that is a control token of the model.
        is_kept: Whether arguments can be kept to a schema. Where they cannot, they are any object: who offers
            tools checks what he gets, as always.
    """

    def spelled(text: str) -> str:
        if not text:
            return ""
        number = control_token(text)
        return json.dumps(text) if number is None else f"<[{number}]>"

    more = f"{{0,{CALLS_AT_ONCE - 1}}}"
    begin, end = spelled(form.begin), spelled(form.end)
    if form.is_list:
        lines = [f'start: {begin} "[" call (", " call){more} "]"']
    elif form.may_begin_bare:
        lines = ["start: call"]
    else:
        between = '"\\n" ' if form.end else ""
        lines = [f"start: one ({between}one){more}", f"one: {begin} call {end}"]
    lines.append("call: " + " | ".join(f"call_{number}" for number in range(len(tools))))
    for number, tool in enumerate(tools):
        arguments = f"arguments_{number}"
        if form.arguments_marker:
            call = f"{json.dumps(tool.name)} {spelled(form.arguments_marker)} {arguments}"
        else:
            before = f'{{"name": {json.dumps(tool.name)}, {json.dumps(form.arguments_key)}: '
            call = f'{json.dumps(before)} {arguments} "}}"'
        lines += [f"call_{number}: {call}", f"{arguments}: %json {_schema(tool, is_kept)}"]
    return "\n".join(lines)


class _Parameters(msgspec.Struct, frozen=True):
    type: Literal["object"]


def _schema(tool: Tool, is_kept: Callable[[str], bool]) -> str:
    """A tool's schema in our spelling, which the engine reads from the schema itself."""
    try:
        msgspec.json.decode(tool.parameters, type=_Parameters)
        fields = msgspec.json.decode(tool.parameters, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        fields = msgspec.json.decode(ANY_OBJECT, type=dict[str, msgspec.Raw])
    spelling = {"x-guidance": msgspec.Raw(msgspec.json.encode(JSON_SPELLING))}
    text = msgspec.json.encode(fields | spelling).decode()
    return text if is_kept(tool.parameters) else json.dumps({"type": "object", "x-guidance": JSON_SPELLING})
