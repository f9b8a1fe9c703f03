"""Grammars in llama.cpp's notation, read. Pure.

Taken: rules, literals, classes, `.`, groups, `|`, `* + ?`, counts, comments. Not taken: tokens by number or
name (`<...>`), and what other notations the library would tell by their first line.

Source: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

import re
from typing import Final, NoReturn

from cocoon_p2p.inference.constraints.expressions import (
    Characters,
    Choice,
    ConstraintRefused,
    Expression,
    Ranges,
    Reference,
    Repeat,
    Sequence,
    given_class,
    literal,
    others,
    single,
)

RULES_MAX: Final = 256
DEPTH_MAX: Final = 32
COUNT_MAX: Final = 2_000

_NAME: Final = re.compile(r"[a-zA-Z0-9-]+")
_SPACE: Final = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES: Final = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_COUNT: Final = re.compile(r"\{[ \t]*([0-9]{1,5})[ \t]*(,?)[ \t]*([0-9]{0,5})[ \t]*\}")
_CONTROLS: Final = {"n": 10, "r": 13, "t": 9}
_HEX_DIGITS: Final = {"x": 2, "u": 4, "U": 8}


def read_gbnf(text: str) -> dict[str, Expression]:
    """Read a grammar: its rules by their names, `root` among them.

    Raises:
        ConstraintRefused: It is no grammar, is out of bounds, or refers to a rule that it does not have.
    """
    return _Reader(text).grammar()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._referred = set[str]()

    def grammar(self) -> dict[str, Expression]:
        found = dict[str, Expression]()
        self._skip(lines=True)
        while self._at < len(self._text):
            name = self._name()
            self._skip()
            if name in found or not self._take("::="):
                self._refuse(f"a rule {name!r} that is there twice, or is none")
            self._skip(lines=True)
            found[name] = self._choice(0)
            if self._at < len(self._text) and self._text[self._at] not in "\r\n":
                self._refuse("a rule that does not end with its line")
            self._skip(lines=True)
            if len(found) > RULES_MAX:
                self._refuse(f"more than {RULES_MAX} rules")
        if missing := sorted(({*self._referred, "root"}) - found.keys()):
            self._refuse(f"no rule {missing[0]!r}")
        return found

    def _choice(self, depth: int) -> Expression:
        if depth > DEPTH_MAX:
            self._refuse(f"groups nested deeper than {DEPTH_MAX}")
        options = [self._sequence(depth)]
        while self._take("|"):
            self._skip(lines=True)
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Expression:
        parts = list[Expression]()
        while self._at < len(self._text) and self._text[self._at] not in "|)\r\n":
            parts.append(self._counted(self._item(depth)))
            self._skip(lines=depth > 0)
        return Sequence(tuple(parts))

    def _item(self, depth: int) -> Expression:
        if self._take('"'):
            return self._literal()
        if self._take("["):
            return Characters(self._class())
        if self._take("."):
            return Characters(others(()))
        if self._take("("):
            self._skip(lines=True)
            group = self._choice(depth + 1)
            if not self._take(")"):
                self._refuse("a group that does not end")
            return group
        name = self._name()
        self._referred.add(name)
        return Reference(name)

    def _counted(self, of: Expression) -> Expression:
        # Space may stand before a count. Several counts in a row apply one after the other.
        while True:
            here = self._at
            self._skip()
            if (counts := self._count()) is None:
                self._at = here
                return of
            of = Repeat(of, *counts)

    def _count(self) -> tuple[int, int | None] | None:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return counts
        if not self._text.startswith("{", self._at):
            return None
        match = _COUNT.match(self._text, self._at)
        if match is None:
            self._refuse("a count that is none")
        self._at = match.end()
        low = int(match[1])
        high = int(match[3]) if match[3] else None if match[2] else low
        if max(low, high or 0) > COUNT_MAX or (high is not None and high < low):
            self._refuse(f"a count out of range (max={COUNT_MAX})")
        return low, high

    def _literal(self) -> Expression:
        points = list[Ranges]()
        while not self._take('"'):
            points.append(self._character())
        return Sequence(tuple(map(Characters, points))) if points else literal("")

    def _class(self) -> Ranges:
        is_negated, pairs = self._take("^"), list[tuple[int, int]]()
        while not self._take("]"):
            members = self._character()
            follows = self._text[self._at : self._at + 2]
            if members and follows.startswith("-") and follows != "-]":
                self._at += 1
                last = self._character()
                if not last or last < members:
                    self._refuse("a range of characters that is none")
                members = ((members[0][0], last[0][0]),)
            pairs += members
        return given_class(pairs, is_negated=is_negated)

    def _character(self) -> Ranges:
        character = self._next()
        if character in "\r\n":
            self._refuse("a literal or class that does not end with its line")
        if character != "\\":
            return single(ord(character))
        escaped = self._next()
        if (size := _HEX_DIGITS.get(escaped)) is not None:
            digits = self._text[self._at : self._at + size]
            if not re.fullmatch(f"[0-9a-fA-F]{{{size}}}", digits) or int(digits, 16) > 0x10FFFF:
                self._refuse(f"\\{escaped} without {size} digits of a character")
            self._at += size
            return single(int(digits, 16))
        if escaped in _CONTROLS:
            return single(_CONTROLS[escaped])
        if escaped not in '\\"[]-^':
            self._refuse(f"\\{escaped}")
        return single(ord(escaped))

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            self._refuse("what is not taken here")
        self._at = match.end()
        return match[0]

    def _next(self) -> str:
        if self._at >= len(self._text):
            self._refuse("an end in its midst")
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _skip(self, *, lines: bool = False) -> None:
        match = (_SPACE_AND_LINES if lines else _SPACE).match(self._text, self._at)
        assert match is not None, "both match nothing, too"
        self._at = match.end()

    def _refuse(self, what: str) -> NoReturn:
        line = self._text.count("\n", 0, self._at) + 1
        raise ConstraintRefused(f"the grammar has {what} (line={line})")
