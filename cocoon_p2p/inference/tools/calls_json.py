"""JSON that a model writes: where it ends, while it comes, and which calls it is, once it is there. Pure."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from cocoon_p2p.inference.tools.forms import CallForm
from cocoon_p2p.inference.wishes import ToolCall

_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class JsonScan:
    """How far some JSON has come: only its brackets and strings are looked at."""

    at: int
    "Characters looked at."

    depth: int = 0
    in_string: bool = False
    is_escaped: bool = False
    is_over: bool = False
    "The outermost bracket was closed by the last character looked at."

    def go_on(self, text: str) -> "JsonScan":
        """Look at what `text` has beyond `at`, up to the end of the JSON."""
        depth, in_string, is_escaped = self.depth, self.in_string, self.is_escaped
        for at in range(self.at, len(text)):
            character = text[at]
            if in_string:
                in_string = is_escaped or character != '"'
                is_escaped = character == "\\" and not is_escaped
            elif character == '"':
                in_string = True
            elif character in "{[":
                depth += 1
            elif character in "}]":
                depth -= 1
                if depth <= 0:
                    return JsonScan(at + 1, is_over=True)
        return JsonScan(len(text), depth, in_string, is_escaped)


def calls_in(
    text: str, form: CallForm, names: frozenset[str], new_id: Callable[[], str]
) -> tuple[ToolCall, ...]:
    """Read complete JSON as one call or a list of them: none if any is malformed or of an unknown tool."""
    try:
        parts = list(_items(text)) if text.startswith("[") else [text]
        return tuple(_call(part, form, names, new_id) for part in parts)
    except (ValueError, RecursionError):
        return ()


def is_object(text: str) -> bool:
    """Whether text is a JSON object and nothing else."""
    try:
        return isinstance(_DECODER.decode(text), dict)
    except (ValueError, RecursionError):
        return False


def _call(text: str, form: CallForm, names: frozenset[str], new_id: Callable[[], str]) -> ToolCall:
    members = dict(_members(text))
    name: object = _DECODER.decode(members.get("name", "null"))
    arguments = members.get(form.arguments_key, "")
    if not isinstance(name, str) or name not in names or not arguments.startswith("{"):
        raise ValueError
    return ToolCall(new_id(), name, arguments)


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Each key of a JSON object with its value as it stands in the text: numbers keep their digits."""
    at = _past(text, 0, "{")
    while True:
        key, at = _DECODER.raw_decode(text, _after_space(text, at))
        if not isinstance(key, str):
            raise ValueError
        start = _after_space(text, _past(text, at, ":"))
        _, at = _DECODER.raw_decode(text, start)
        yield key, text[start:at]
        if _next(text, at) == "}":
            return
        at = _past(text, at, ",")


def _items(text: str) -> Iterator[str]:
    """Each value of a JSON list, as it stands in the text."""
    at = _past(text, 0, "[")
    while True:
        start = _after_space(text, at)
        _, at = _DECODER.raw_decode(text, start)
        yield text[start:at]
        if _next(text, at) == "]":
            return
        at = _past(text, at, ",")


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _next(text: str, at: int) -> str:
    at = _after_space(text, at)
    return text[at : at + 1]


def _past(text: str, at: int, character: str) -> int:
    at = _after_space(text, at)
    if text[at : at + 1] != character:
        raise ValueError
    return at + 1


def _no_json(name: str) -> NoReturn:
    raise ValueError(name)


# Python's own parser takes NaN and Infinity.
_DECODER = json.JSONDecoder(parse_constant=_no_json)
