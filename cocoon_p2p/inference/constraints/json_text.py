"""JSON itself, as rules of GBNF, and strings and literals as it writes them. Pure.

What follows is always decided by the next character, so an engine that reads these rules never has two
ways to go on. Space is bounded: a model that writes nothing else would never end.
"""

import json
from typing import Final

from cocoon_p2p.inference.constraints.expressions import (
    Characters,
    Choice,
    ConstraintRefused,
    Expression,
    Reference,
    Repeat,
    Sequence,
    both,
    literal,
    others,
    ranges,
)

ANY_JSON: Final = (
    'ws ::= (" " | "\\n" [ \\t]{0,16})?',
    'character ::= [^"\\\\\\x00-\\x1F\\x7F] | "\\\\" (["\\\\/bfnrt] | "u" code)',
    "code ::= [0-9a-cA-Ce-fE-F] hex hex hex | [dD] [0-7] hex hex",
    "hex ::= [0-9a-fA-F]",
    'string ::= "\\"" character* "\\""',
    "positive ::= [1-9] [0-9]{0,15}",
    'whole ::= "0" | positive',
    'integer ::= "-"? whole',
    'number ::= integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
    'member ::= string ws ":" ws value',
    'object ::= "{" ws (member ws ("," ws member ws)*)? "}"',
    'array ::= "[" ws (value ws ("," ws value ws)*)? "]"',
    'value ::= object | array | string | number | "true" | "false" | "null"',
)
"Numbers have no more digits than a double holds; escapes give whole characters only."

_PLAIN: Final = others(ranges(((1, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F))))
_ESCAPES: Final = {0x22: '\\"', 0x5C: "\\\\", 8: "\\b", 12: "\\f", 10: "\\n", 13: "\\r", 9: "\\t"}


def in_string(expression: Expression) -> Expression:
    """Rewrite an expression on text as one on that text within a JSON string.

    Control characters that have no short escape are left out.
    """
    match expression:
        case Characters(by):
            escaped = [literal(text) for point, text in _ESCAPES.items() if both(by, ((point, point),))]
            plain = Characters(both(by, _PLAIN))
            return Choice((plain, *escaped)) if escaped else plain
        case Sequence(parts):
            return Sequence(tuple(map(in_string, parts)))
        case Choice(options):
            return Choice(tuple(map(in_string, options)))
        case Repeat(of, low, high):
            return Repeat(in_string(of), low, high)
        case Reference():
            return expression


def quoted(text: str) -> str:
    """Write a literal of GBNF."""
    plain = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(plain.get(character) or _point(character) for character in text) + '"'


def value_text(value: object) -> str:
    """Write a JSON value as an answer is to have it.

    Raises:
        ConstraintRefused: It holds half of a character, which no answer can, or a number that JSON has not.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "), allow_nan=False)
    except ValueError:
        raise ConstraintRefused("the schema has a number that JSON has not") from None
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConstraintRefused("the schema has half of a character (a lone surrogate)")
    return text


def _point(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08X}"
