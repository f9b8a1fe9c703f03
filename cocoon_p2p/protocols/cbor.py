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

_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6
"Major types (section 3.1)."

_WIDE, _WIDEST = 24, 27
"What stands in a head for a number in the next one byte, and in the next eight."

# Tags that the library would interpret by itself (dates, big numbers, regular expressions ...),
# some of which cost much more to decode than their few bytes suggest.
_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
_REJECT_TAGS: dict[int, Callable[..., NoReturn]] = dict.fromkeys(_TAGS, _reject_tag)


def encode(value: Value) -> bytes:
    """Spell a value. Maps must have been built with ascending keys, as `schema` does."""
    return cbor2.dumps(value)


def decode(data: bytes, *, items_max: int = _ITEMS_MAX) -> Value:
    """Read the one value that `data` spells.

    Args:
        data: From a peer.
        items_max: How many items its arrays and maps may have, all told.

    Raises:
        MalformedMessage: Trailing or missing bytes, a duplicate or unordered key, a longer
            spelling than needed, an indefinite length, a tag, a type the protocol does not
            use, deeper nesting or more items than any message has.
    """
    _check_items(data, items_max)
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
    if _size(value) != len(data):
        raise MalformedMessage("not the deterministic spelling (longer than needed, or trailing bytes)")
    return value


def _check_items(data: bytes, items_max: int) -> None:
    """Count items by their heads alone: an empty array takes one byte, and seventy once it was read."""
    if len(data) <= items_max:
        return
    at, awaited, items_left = 0, 1, items_max
    while awaited and at < len(data):
        major, low = data[at] >> 5, data[at] & 0x1F
        if major == _TAG or low > _WIDEST:
            raise MalformedMessage("not CBOR of the protocol: a tag, or an indefinite length")
        at, awaited = at + 1, awaited - 1
        number = low
        if low >= _WIDE:
            width = 1 << (low - _WIDE)
            number, at = int.from_bytes(data[at : at + width]), at + width
        if major in (_BYTES, _TEXT):
            at += number
        elif major in (_ARRAY, _MAP):
            items_left -= number
            awaited += number if major == _ARRAY else 2 * number
        if items_left < 0:
            raise MalformedMessage(f"more items than such a message has (max={items_max})")


def _size(value: Value | float | None) -> int:
    """Count the bytes of the shortest spelling.

    Refuses what has no spelling in the protocol: other types, and maps whose keys do not ascend.
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
        total, last = _head_size(len(value)), -1
        for key, item in value.items():
            if type(key) is not int or key <= last:
                raise MalformedMessage("map keys are unsigned integers in ascending order")
            last = key
            total += _head_size(key) + _size(item)
        return total
    if type(value) is str:
        length = len(value) if value.isascii() else len(value.encode())
        return _head_size(length) + length
    if type(value) is list:
        return _head_size(len(value)) + sum([_size(item) for item in value])
    raise MalformedMessage(f"not a type the protocol uses: {type(value).__name__}")


def _head_size(number: int) -> int:
    """Count the bytes of an item's head: its major type with a length or a value (section 3)."""
    if number < 24:
        return 1
    if number < 0x100:
        return 2
    if number < 0x10000:
        return 3
    return 5 if number < 0x100000000 else 9
