"""Judge JSON from outside before anything recurses over it: size is the wire's, depth and form are this.

A reader that recurses runs out of stack some hundreds deep, and whatever compiles a schema
recurses too. So brackets are counted first, in passes over the text that cost little each.
"""

import json
import re
from typing import Any, cast

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.protocols.ids import JSON_DEPTH_MAX

_NO_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[^\[\]{}"]++', re.DOTALL)
"Strings, also one that does not end, and whatever is neither a bracket nor a string."


def check_depth(name: str, text: str) -> None:
    """Refuse a text that whoever reads it as JSON would go too deep into. It need not be JSON.

    Args:
        name: What it is, for the error, which never quotes the text.
        text: From outside.

    Raises:
        MalformedMessage: It nests deeper than twice `JSON_DEPTH_MAX`, or may: it has more brackets than that
            outside of its innermost ones.
    """
    # What was cut short leaves brackets that nobody closes: they cannot nest deeper than they are many.
    if len(_beyond_depth(text)) > JSON_DEPTH_MAX:
        raise _too_deep(name)


def read_json_object(name: str, text: str) -> dict[str, Any]:
    """Read a JSON object that a peer or an application wrote.

    Raises:
        MalformedMessage: It is none, nests deeper than `JSON_DEPTH_MAX`, or holds what is not Unicode or
            not finite.
    """
    check_depth(name, text)
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
        # Escapes can spell half a surrogate pair, and 1e999 is infinite: nobody can write these down again.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        # Its own message may quote the text.
        raise MalformedMessage(f"{name}: no JSON") from None
    if _beyond_depth(text):
        raise _too_deep(name)
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name}: no JSON object")
    return cast("dict[str, Any]", value)


def _beyond_depth(text: str) -> str:
    """Give the brackets that are left when the innermost were taken away, as often as may be."""
    brackets = _NO_BRACKETS.sub("", text)
    for _ in range(JSON_DEPTH_MAX):
        brackets = brackets.replace("[]", "").replace("{}", "")
    return brackets


def _too_deep(name: str) -> MalformedMessage:
    return MalformedMessage(f"{name}: nests too deep, or its brackets do not match (max={JSON_DEPTH_MAX})")


def _refuse_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")
