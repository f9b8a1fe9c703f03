"""That an answer calls a tool and says nothing else, as a grammar. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cocoon_p2p.inference.constraints.effort import Effort
from cocoon_p2p.inference.constraints.expressions import ConstraintRefused
from cocoon_p2p.inference.constraints.json_schema import schema_rules
from cocoon_p2p.inference.constraints.json_text import ANY_JSON, quoted
from cocoon_p2p.inference.tools.forms import CallForm
from cocoon_p2p.inference.wishes import Tool

CALLS_AT_ONCE: Final = 8
"Of an answer that must call: a model that cannot stop would call to its limit."

KEPT: Final = 32


@lru_cache(KEPT)
def calls_gbnf(form: CallForm, tools: tuple[Tool, ...]) -> str:
    """Write the grammar of calls in a model's own form, as many as it likes and one at least.

    Arguments keep to a tool's schema where that can be put into a grammar, and are any object elsewhere:
    who offers tools checks what he gets, as always. All tools together take what one constraint may.
    """
    options, lines, effort = list[str](), list[str](), Effort()
    for number, tool in enumerate(tools):
        arguments, its_rules = _arguments(tool, f"t{number}-", effort)
        options.append(_option(form, tool.name, arguments))
        lines += its_rules
    more = f"{{0,{CALLS_AT_ONCE - 1}}}"
    begin, end = quoted(form.begin), quoted(form.end)
    if form.is_list:
        root = f'{begin} "[" call next{more} "]"'
        lines.append('next ::= ", " call')
    elif form.may_begin_bare:
        root = "call"
    else:
        root = f"one next{more}"
        lines += [f"one ::= {begin} call {end}", 'next ::= "\\n" one' if form.end else "next ::= one"]
    return "\n".join([f"root ::= {root}", f"call ::= {' | '.join(options)}", *lines, *ANY_JSON])


def _option(form: CallForm, name: str, arguments: str) -> str:
    if form.arguments_marker:
        return f"{quoted(name + form.arguments_marker)} {arguments}"
    before = f'{{"name": "{name}", "{form.arguments_key}": '
    return f'{quoted(before)} {arguments} "}}"'


def _arguments(tool: Tool, prefix: str, effort: Effort) -> tuple[str, Sequence[str]]:
    try:
        lines = schema_rules(tool.parameters or "{}", prefix=prefix, effort=effort)
    except ConstraintRefused:
        return "object", ()
    name, _, body = lines[0].partition(" ::= ")
    return ("object", ()) if body == "value" else (name, lines)
