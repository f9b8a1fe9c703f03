"""Regular expressions, read: the part of their notation that has one meaning everywhere. Pure.

Taken: characters, `.`, classes, `\\d \\w \\s` and their opposites, `\\n \\t \\r \\f \\v`, `\\xNN \\uNNNN`,
groups, `|`, `* + ?`, counts, and `^` and `$` around the whole. Lazy counts match what greedy ones do.
Anything else (looking around, back references, flags, word borders) is refused by name.

Of a class, `\\d \\w \\s` are ASCII, as in ECMA-262, which JSON Schema goes by.
"""

from typing import Final, NoReturn

from cocoon_p2p.inference.constraints.expressions import (
    Characters,
    Choice,
    ConstraintRefused,
    Expression,
    Ranges,
    Repeat,
    Sequence,
    given_class,
    others,
    ranges,
    single,
)

DEPTH_MAX: Final = 50
COUNT_MAX: Final = 2_000

_DIGIT: Final = ((0x30, 0x39),)
_WORD: Final = ranges(((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)))
_SPACE: Final = ranges(((9, 13), (0x20, 0x20), (0xA0, 0xA0), (0x2028, 0x2029), (0xFEFF, 0xFEFF)))
_ANY: Final = others(ranges(((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))))
_CLASSES: Final = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS: Final = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11}
_HEX_DIGITS: Final = {"x": 2, "u": 4}


def read_regex(text: str) -> Expression:
    """Read an expression that the whole answer matches.

    Raises:
        ConstraintRefused: It is no regular expression, or uses what is not taken.
    """
    return _Reader(text).whole()


def read_pattern(text: str) -> Expression:
    """Read a JSON Schema's `pattern`, which may match anywhere in a string unless it is anchored.

    Raises:
        ConstraintRefused: As above.
    """
    reader, anything = _Reader(text), Repeat(Characters(others(())))
    starts, ends = text.startswith("^"), text.endswith("$") and not text.endswith("\\$")
    return Sequence((*(() if starts else (anything,)), reader.whole(), *(() if ends else (anything,))))


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text.removeprefix("^")
        if self._text.endswith("$") and not self._text.endswith("\\$"):
            self._text = self._text[:-1]
        self._at = 0

    def whole(self) -> Expression:
        expression = self._choice(0)
        if self._at < len(self._text):
            self._refuse("a closing bracket without its opening one")
        return expression

    def _choice(self, depth: int) -> Expression:
        if depth > DEPTH_MAX:
            self._refuse(f"groups nested deeper than {DEPTH_MAX}")
        options = [self._sequence(depth)]
        while self._take("|"):
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Expression:
        parts = list[Expression]()
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._counted(self._atom(depth)))
        return Sequence(tuple(parts))

    def _counted(self, of: Expression) -> Expression:
        counts: tuple[int, int | None] | None = None
        if self._take("*"):
            counts = (0, None)
        elif self._take("+"):
            counts = (1, None)
        elif self._take("?"):
            counts = (0, 1)
        elif self._take("{"):
            counts = self._count()
        if counts is None:
            return of
        self._take("?")
        if self._text[self._at : self._at + 1] in ("*", "+", "{") and self._at < len(self._text):
            self._refuse("a count of a count")
        return Repeat(of, *counts)

    def _count(self) -> tuple[int, int | None]:
        inner, brace, _ = self._text[self._at :].partition("}")
        low, comma, high = inner.partition(",")
        numbers = [low, high] if comma and high else [low]
        if not brace or not all(number.isascii() and number.isdigit() for number in numbers):
            self._refuse("a count that is none")
        if any(len(number) > 5 or int(number) > COUNT_MAX for number in numbers):
            self._refuse(f"a count above {COUNT_MAX}")
        self._at += len(inner) + 1
        if not comma:
            return int(low), int(low)
        if not high:
            return int(low), None
        if int(high) < int(low):
            self._refuse("a count that ends below its beginning")
        return int(low), int(high)

    def _atom(self, depth: int) -> Expression:
        character = self._next()
        match character:
            case "(":
                if self._take("?") and not self._take(":"):
                    self._refuse("a group that begins with (? and is not (?:")
                group = self._choice(depth + 1)
                if not self._take(")"):
                    self._refuse("a group that does not end")
                return group
            case "[":
                return Characters(self._class())
            case ".":
                return Characters(_ANY)
            case "\\":
                return Characters(self._escape(self._next()))
            case _:
                if character in "^$*+?{":
                    self._refuse(f"{character} where it has no meaning")
                return Characters(single(ord(character)))

    def _class(self) -> Ranges:
        is_negated = self._take("^")
        pairs = list[tuple[int, int]]()
        while not self._take("]"):
            members = self._class_member()
            follows = self._text[self._at : self._at + 2]
            if _is_single(members) and follows.startswith("-") and follows != "-]":
                self._at += 1
                last = self._class_member()
                if not _is_single(last) or last < members:
                    self._refuse("a range of characters that is none")
                members = ((members[0][0], last[0][0]),)
            pairs += members
        return given_class(pairs, is_negated=is_negated)

    def _class_member(self) -> Ranges:
        character = self._next()
        return self._escape(self._next()) if character == "\\" else single(ord(character))

    def _escape(self, character: str) -> Ranges:
        if (of_class := _CLASSES.get(character.lower())) is not None:
            return of_class if character.islower() else others(of_class)
        if (control := _CONTROLS.get(character)) is not None:
            return single(control)
        if (size := _HEX_DIGITS.get(character)) is not None:
            digits = self._text[self._at : self._at + size]
            if len(digits) != size or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                self._refuse(f"\\{character} without {size} digits")
            self._at += size
            return single(int(digits, 16))
        if character.isalnum():
            self._refuse(f"\\{character}")
        return single(ord(character))

    def _next(self) -> str:
        if self._at >= len(self._text):
            self._refuse("an end in its midst")
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, character: str) -> bool:
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _refuse(self, what: str) -> NoReturn:
        raise ConstraintRefused(f"the regular expression has {what} (at={self._at})")


def _is_single(members: Ranges) -> bool:
    return len(members) == 1 and members[0][0] == members[0][1]
