"""What regular expressions and grammars are made of, once they are read. Pure.

Every text from outside becomes these few shapes or is refused, and what an engine gets is written
from them: nothing of a stranger's notation reaches an engine's own parser.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cocoon_p2p.inference.engine import RequestMalformed

CHARACTER_MAX: Final = 0x10FFFF

CLASS_RANGES_MAX: Final = 128
"A script's letters come to some tens."

_HALVES: Final = (0xD800, 0xDFFF)

Ranges = tuple[tuple[int, int], ...]
"Code points, from and to, both included: in order, and never touching."


class ConstraintRefused(RequestMalformed):
    """The constraint is no such language, or is beyond what is taken of it; the text names which."""


@dataclass(frozen=True, slots=True)
class Characters:
    """One character of these."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple["Expression", ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    of: "Expression"
    low: int = 0
    high: int | None = None
    "None: without end."


@dataclass(frozen=True, slots=True)
class Reference:
    """A rule of a grammar, by its name."""

    name: str


Expression = Characters | Sequence | Choice | Repeat | Reference


def literal(text: str) -> Sequence:
    """Exactly this text."""
    return Sequence(tuple(Characters(single(ord(character))) for character in text))


def single(point: int) -> Ranges:
    """One character, by its code point; none where that is no character."""
    return ranges(((point, point),))


def ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Put ranges in order and join those that touch.

    The zero character is in none, because engines end texts by it; nor are halves of characters.
    """
    joined = list[tuple[int, int]]()
    for low, high in sorted((max(low, 1), high) for low, high in pairs):
        if high < 1 or (low >= _HALVES[0] and high <= _HALVES[1]):
            continue
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return tuple(joined)


def others(given: Ranges) -> Ranges:
    """All characters but these."""
    rest, next_free = list[tuple[int, int]](), 1
    for low, high in given:
        if low > next_free:
            rest.append((next_free, low - 1))
        next_free = high + 1
    if next_free <= CHARACTER_MAX:
        rest.append((next_free, CHARACTER_MAX))
    return tuple(rest)


def both(first: Ranges, second: Ranges) -> Ranges:
    """The characters that are in both."""
    found, mine, theirs = list[tuple[int, int]](), 0, 0
    while mine < len(first) and theirs < len(second):
        low = max(first[mine][0], second[theirs][0])
        high = min(first[mine][1], second[theirs][1])
        if low <= high:
            found.append((low, high))
        if first[mine][1] < second[theirs][1]:
            mine += 1
        else:
            theirs += 1
    return tuple(found)


def given_class(pairs: Iterable[tuple[int, int]], *, is_negated: bool) -> Ranges:
    """Read a class of characters as it was written.

    Raises:
        ConstraintRefused: It has more parts than anybody means.
    """
    given = ranges(pairs)
    if len(given) > CLASS_RANGES_MAX:
        raise ConstraintRefused(f"a class of characters has too many ranges (max={CLASS_RANGES_MAX})")
    return others(given) if is_negated else given


def written(given: Ranges) -> str:
    """Write a class of characters in GBNF."""
    return (
        "[" + "".join(_point(low) + (f"-{_point(high)}" if high > low else "") for low, high in given) + "]"
    )


def _point(point: int) -> str:
    character = chr(point)
    return character if character.isascii() and character.isalnum() else f"\\U{point:08X}"
