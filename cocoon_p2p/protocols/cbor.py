"""Deterministic CBOR (RFC 8949, section 4.2.1), and nothing but it.

One value has one spelling, so a hash or a signature over the bytes is one over the value.
The values that the protocol uses are integers, byte and text strings, booleans, arrays and
maps with integer keys; floats, tags, null and indefinite lengths are not part of it.
"""

from collections.abc import Callable
from typing import NoReturn

import cbor2

from cocoon_p2p.errors import MalformedMessage

Value = bool | int | bytes | str | list["Value"] | dict[int, "Value"]

# The deepest message is a map of a list of maps of a map; twice that leaves room to grow.
_DEPTH_MAX = 8


def _reject_tag(*_: object) -> NoReturn:
    raise ValueError("tags are not part of the protocol")


# A receipt with all its chunks has some 800,000. What has more would keep its reader busy for seconds.
_ITEMS_MAX = 1_000_000

# Tags that the library would interpret by itself (dates, big numbers, regular expressions ...),
# some of which cost much more to decode than their few bytes suggest.
_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
_REJECT_TAGS: dict[int, Callable[..., NoReturn]] = dict.fromkeys(_TAGS, _reject_tag)


def encode(value: Value) -> bytes:
    """Spell a value. Maps must have been built with ascending keys, as `schema` does."""
    return cbor2.dumps(value)


def decode(data: bytes) -> Value:
    """Read the one value that `data` spells.

    Raises:
        MalformedMessage: Trailing or missing bytes, a duplicate or unordered key, a longer
            spelling than needed, an indefinite length, a tag, a type the protocol does not
            use, deeper nesting or more items than any message has.
    """
    try:
        value: Value = cbor2.loads(
            data,
            max_depth=_DEPTH_MAX,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_REJECT_TAGS,
            tag_hook=_reject_tag,
        )
    # The decoder reports hostile input through several built-in types besides its own.
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as exc:
        raise MalformedMessage(f"not CBOR of the protocol: {exc!s:.120}") from exc
    # Of all spellings of a value the deterministic one alone is the shortest: heads can only be
    # longer than needed, and bytes can only be left over. Twice as fast as spelling it again.
    if _size(value, [_ITEMS_MAX]) != len(data):
        raise MalformedMessage("not the deterministic spelling (longer than needed, or trailing bytes)")
    return value


def _size(value: Value | float | None, items_left: list[int]) -> int:
    """Count the bytes of the shortest spelling.

    Refuses what has no spelling in the protocol: other types, and maps whose keys do not ascend. And it
    counts the items in arrays and maps down.
    """
    # The decoder gives exact types, and asking for them is faster than `isinstance`.
    if type(value) is int:
        # A negative integer -1 - n is spelled by n.
        return _head_size(value if value >= 0 else ~value)
    if type(value) is bytes:
        return _head_size(len(value)) + len(value)
    if type(value) is bool:
        return 1
    if type(value) is dict:
        _count_down(items_left, len(value))
        total, last = _head_size(len(value)), -1
        for key, item in value.items():
            if type(key) is not int or key <= last:
                raise MalformedMessage("map keys are unsigned integers in ascending order")
            last = key
            total += _head_size(key) + _size(item, items_left)
        return total
    if type(value) is str:
        length = len(value) if value.isascii() else len(value.encode())
        return _head_size(length) + length
    if type(value) is list:
        _count_down(items_left, len(value))
        return _head_size(len(value)) + sum([_size(item, items_left) for item in value])
    raise MalformedMessage(f"not a type the protocol uses: {type(value).__name__}")


def _count_down(items_left: list[int], items: int) -> None:
    items_left[0] -= items
    if items_left[0] < 0:
        raise MalformedMessage(f"more items than any message has (max={_ITEMS_MAX})")


def _head_size(number: int) -> int:
    """Count the bytes of an item's head: its major type with a length or a value (section 3)."""
    if number < 24:
        return 1
    if number < 0x100:
        return 2
    if number < 0x10000:
        return 3
    return 5 if number < 0x100000000 else 9
