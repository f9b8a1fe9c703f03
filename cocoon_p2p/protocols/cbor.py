"""Deterministic CBOR (RFC 8949, section 4.2.1), and nothing but it.

One value has one spelling, so a hash or a signature over the bytes is one over the value.
The values that the protocol uses are integers, byte and text strings, booleans, arrays and
maps with integer keys; floats, tags, null and indefinite lengths are not part of it.
"""

from typing import NoReturn

import cbor2

from cocoon_p2p.errors import MalformedMessage

Value = bool | int | bytes | str | list["Value"] | dict[int, "Value"]

# The deepest message is a map of a list of maps of a map; twice that leaves room to grow.
_DEPTH_MAX = 8


def _reject_tag(*_: object) -> NoReturn:
    raise ValueError("tags are not part of the protocol")


# Tags that the library would interpret by itself (dates, big numbers, regular expressions ...),
# some of which cost much more to decode than their few bytes suggest.
_KNOWN_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 43, 100, 256, 258, 260, 261, 1004, 43000, 55799)
_REJECT_KNOWN_TAGS = dict.fromkeys(_KNOWN_TAGS, _reject_tag)


def encode(value: Value) -> bytes:
    """Spell a value. Maps must have been built with ascending keys, as `schema` does."""
    return cbor2.dumps(value)


def decode(data: bytes) -> Value:
    """Read the one value that `data` spells.

    Raises:
        MalformedMessage: Trailing or missing bytes, a duplicate or unordered key, a longer
            spelling than needed, an indefinite length, a tag, a type the protocol does not
            use, or deeper nesting than any message has.
    """
    try:
        value: Value = cbor2.loads(
            data,
            max_depth=_DEPTH_MAX,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_REJECT_KNOWN_TAGS,
            tag_hook=_reject_tag,
        )
    # The decoder reports hostile input through several built-in types besides its own.
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as exc:
        raise MalformedMessage(f"not CBOR of the protocol: {exc}") from exc
    _check(value)
    if cbor2.dumps(value) != data:
        raise MalformedMessage("not the deterministic spelling (longer than needed, or trailing bytes)")
    return value


def _check(value: Value) -> None:
    """Refuse types outside the protocol, and map keys that do not ascend."""
    kind = type(value)
    if kind is dict:
        last = -1
        for key, item in value.items():  # type: ignore[union-attr]  # `kind` is exact, isinstance is slower
            if type(key) is not int or key <= last:
                raise MalformedMessage("map keys are unsigned integers in ascending order")
            last = key
            _check(item)
    elif kind is list:
        for item in value:  # type: ignore[union-attr]  # as above
            _check(item)
    elif kind is not int and kind is not bytes and kind is not str and kind is not bool:
        raise MalformedMessage(f"not a type the protocol uses: {kind.__name__}")
