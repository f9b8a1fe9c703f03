"""How a dataclass becomes a CBOR map with small integer keys, and back.

A field is declared once, with its key and its bound beside its type:

    @message(3)
    @dataclass(frozen=True, slots=True)
    class Hello:
        exchange: Annotated[ExchangeId, Key(1), Size(16)]

Everything that has a length has a bound: `Size` is exact, `Max` is the most. Both count
bytes for byte and text strings and items for arrays. A field that may be None is left out
of the map when it is. Keys below 64 are all known or the message is malformed; keys from
64 on are ignored, which is the room to grow.

Spec: protocols/README.md (Encoding).
"""

import types
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import IntEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.protocols.cbor import Value, decode, encode

T = TypeVar("T")

KEY_IGNORED_FROM = 64
UINT_MAX = 2**63 - 1
"Integers are unsigned and fit a signed 64-bit column."


@dataclass(frozen=True, slots=True)
class Key:
    """The field's key in the map."""

    number: int


@dataclass(frozen=True, slots=True)
class Size:
    """The exact length."""

    length: int


@dataclass(frozen=True, slots=True)
class Max:
    """The greatest length; for an integer the greatest value."""

    length: int


# A reader or writer of one field. `Any` because the shape is known only from the annotation.
_Codec = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Field:
    key: int
    name: str
    optional: bool
    read: _Codec
    write: _Codec


_layouts: dict[type, tuple[_Field, ...]] = {}
_tags: dict[int, type] = {}
_tag_of: dict[type, int] = {}


def message(tag: int) -> Callable[[type[T]], type[T]]:
    """Put a dataclass into the closed set of messages; `tag` stands under key 0."""

    def register(cls: type[T]) -> type[T]:
        assert tag not in _tags, f"tag {tag} is taken"
        _tags[tag] = cls
        _tag_of[cls] = tag
        return cls

    return register


def messages() -> dict[int, type]:
    """Give the closed set: tag to class."""
    return dict(_tags)


def encode_message(value: object) -> bytes:
    """Spell one message of the closed set."""
    return encode({0: _tag_of[type(value)], **_to_map(value)})


def decode_message(data: bytes) -> object:
    """Read one message of the closed set.

    Raises:
        MalformedMessage: The bytes are no message, or one outside its bounds.
    """
    value = decode(data)
    if type(value) is not dict:
        raise MalformedMessage("a message is a map")
    tag = value.pop(0, None)
    cls = _tags.get(tag) if type(tag) is int else None
    if cls is None:
        raise MalformedMessage(f"unknown message (tag={tag!r:.20})")
    return _from_map(cls, value)


def encode_paper(value: object) -> bytes:
    """Spell the body of a signed paper (or any other registered shape without a tag)."""
    return encode(_to_map(value))


def decode_paper(cls: type[T], data: bytes) -> T:
    """Read a paper's body. Raises `MalformedMessage` as `decode_message` does."""
    return cast(T, _from_map(cls, decode(data)))


def _to_map(value: object) -> dict[int, Value]:
    result: dict[int, Value] = {}
    for field in _layout(type(value)):
        item = getattr(value, field.name)
        if item is not None:
            result[field.key] = field.write(item)
    return result


def _from_map(cls: type, value: Value) -> Any:
    if type(value) is not dict:
        raise MalformedMessage(f"{cls.__name__} is a map")
    arguments: dict[str, Any] = {}
    for field in _layout(cls):
        item = value.pop(field.key, None)
        if item is not None:
            try:
                arguments[field.name] = field.read(item)
            except MalformedMessage as exc:
                raise MalformedMessage(f"{cls.__name__}.{field.name}: {exc}") from exc
        elif not field.optional:
            raise MalformedMessage(f"{cls.__name__}.{field.name} is missing")
    for key in value:
        if key < KEY_IGNORED_FROM:
            raise MalformedMessage(f"{cls.__name__} has no key {key}")
    return cls(**arguments)


def _layout(cls: type) -> tuple[_Field, ...]:
    layout = _layouts.get(cls)
    if layout is None:
        layout = _layouts[cls] = _compile(cls)
    return layout


def _compile(cls: type) -> tuple[_Field, ...]:
    hints = get_type_hints(cls, include_extras=True)
    compiled: list[_Field] = []
    for field in fields(cls):
        base, marks = _unwrap(hints[field.name])
        optional = type(None) in get_args(base)
        if optional:
            (base,) = (item for item in get_args(base) if item is not type(None))
            base, inner = _unwrap(base)
            marks += inner
            assert field.default is None, f"{cls.__name__}.{field.name}: an optional field defaults to None"
        else:
            assert field.default is MISSING, f"{cls.__name__}.{field.name}: only optional fields default"
        key = next(mark.number for mark in marks if isinstance(mark, Key))
        assert 0 < key < KEY_IGNORED_FROM
        read, write = _codec(base, marks)
        compiled.append(_Field(key, field.name, optional, read, write))
    compiled.sort(key=lambda field: field.key)
    assert len({field.key for field in compiled}) == len(compiled), f"{cls.__name__}: a key twice"
    return tuple(compiled)


def _unwrap(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Take the type and its marks out of `Annotated` and `NewType`, however nested."""
    marks: tuple[Any, ...] = ()
    while True:
        if hasattr(hint, "__metadata__"):
            marks += hint.__metadata__
            hint = hint.__origin__
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        else:
            return hint, marks


def _codec(kind: Any, marks: tuple[Any, ...]) -> tuple[_Codec, _Codec]:
    exact = next((mark.length for mark in marks if isinstance(mark, Size)), None)
    most = next((mark.length for mark in marks if isinstance(mark, Max)), None)
    if get_origin(kind) in (Union, types.UnionType):
        raise TypeError(f"a field has one type: {kind}")
    if get_origin(kind) is tuple:
        return _tuple_codec(get_args(kind)[0], most)
    if kind is bool:
        return _of_type(bool), _same
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return _enum_reader(kind), int
    if kind is int:
        return _uint_reader(UINT_MAX if most is None else most), _same
    if kind in (bytes, str):
        assert exact is not None or most is not None, f"{kind.__name__} without a bound"
        return _string_reader(kind, exact, most), _same
    assert is_dataclass(kind), f"no way to spell {kind}"
    return lambda value: _from_map(cast(type, kind), value), _to_map


def _same(value: Any) -> Any:
    return value


def _of_type(kind: type) -> _Codec:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise MalformedMessage(f"expected {kind.__name__}, got {type(value).__name__}")
        return value

    return read


def _uint_reader(most: int) -> _Codec:
    def read(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= most:
            raise MalformedMessage(f"expected an integer from 0 to {most}")
        return value

    return read


def _enum_reader(kind: type[IntEnum]) -> _Codec:
    members = {int(member): member for member in kind}

    def read(value: Any) -> IntEnum:
        if type(value) is not int or value not in members:
            raise MalformedMessage(f"expected a {kind.__name__}")
        return members[value]

    return read


def _string_reader(kind: type, exact: int | None, most: int | None) -> _Codec:
    def read(value: Any) -> Any:
        _of_type(kind)(value)
        length = len(value.encode() if kind is str else value)
        if (exact is not None and length != exact) or (most is not None and length > most):
            bound = f"{exact}" if exact is not None else f"at most {most}"
            raise MalformedMessage(f"expected {bound} bytes (got={length})")
        return value

    return read


def _tuple_codec(item: Any, most: int | None) -> tuple[_Codec, _Codec]:
    assert most is not None, "an array without a bound"
    read_item, write_item = _codec(*_unwrap(item))

    def read(value: Any) -> Any:
        if type(value) is not list or len(value) > most:
            raise MalformedMessage(f"expected at most {most} items")
        return tuple(read_item(one) for one in value)

    return read, lambda value: [write_item(one) for one in value]
