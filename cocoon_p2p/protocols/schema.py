"""How a dataclass becomes a CBOR map with small integer keys, and back.

A field is declared once, with its key and its bound beside its type:

    @message(3)
    @dataclass(frozen=True, slots=True)
    class Hello:
        exchange: Annotated[ExchangeId, Key(1), Size(16)]

Everything that has a length has a bound: `Size` is exact, `Max` is the most. Both count
bytes for byte and text strings and items for arrays. A field that may be None is left out
of the map when it is, and an array that defaults to () when it is empty. Keys below 64 are
all known or the message is malformed; keys from 64 on are ignored, which is the room to
grow.

The same bounds hold both ways: what a peer may not send us, we do not send either. From a
peer it is a `MalformedMessage`, from our own code a `LocalProtocolError`.

Spec: protocols/README.md (Encoding).
"""

import types
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cocoon_p2p.errors import LocalProtocolError, MalformedMessage
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

_Wrong = type[MalformedMessage] | type[LocalProtocolError]
"Whose fault a value outside its bounds is: a reader's error, or a writer's."


class _Field(NamedTuple):
    key: int
    name: str
    optional: bool
    absent: tuple[()] | None
    "What an optional field is where its key is not there."

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
    """Spell one message of the closed set.

    Raises:
        LocalProtocolError: It is no message, or a field is outside its bound.
    """
    tag = _tag_of.get(type(value))
    if tag is None:
        raise LocalProtocolError(f"not a message: {type(value).__name__}")
    return encode(_to_map(value, {0: tag}))


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
    """Spell the body of a signed paper (or any other shape without a tag).

    Raises:
        LocalProtocolError: A field is outside its bound.
    """
    return encode(_to_map(value, {}))


def decode_paper(cls: type[T], data: bytes) -> T:
    """Read a paper's body. Raises `MalformedMessage` as `decode_message` does."""
    return read_shape(cls, decode(data))


def read_shape(cls: type[T], value: Value) -> T:
    """Read a shape from what was decoded. Raises `MalformedMessage` as `decode_message` does."""
    return cast(T, _from_map(cls, value))


def _to_map(value: object, result: dict[int, Value]) -> dict[int, Value]:
    """Add the fields of `value` to `result`, in the order of their keys."""
    name = ""
    try:
        for key, name, optional, absent, _, write in _layout(type(value)):
            item = getattr(value, name)
            if item is None and not optional:
                raise LocalProtocolError("missing")
            if not optional or item != absent:
                result[key] = write(item)
    except LocalProtocolError as exc:
        raise LocalProtocolError(f"{type(value).__name__}.{name}: {exc}") from None
    return result


def _from_map(cls: type, value: Value) -> Any:
    if type(value) is not dict:
        raise MalformedMessage(f"{cls.__name__} is a map")
    arguments: list[Any] = []
    known, name = 0, ""
    try:
        for key, name, optional, absent, read, _ in _layout(cls):  # noqa: B007  # `name` is read where it fails
            item = value.get(key)
            if item is not None:
                known += 1
                arguments.append(read(item))
            elif optional:
                arguments.append(absent)
            else:
                raise MalformedMessage("missing")
    except MalformedMessage as exc:
        raise MalformedMessage(f"{cls.__name__}.{name}: {exc}") from None
    if known != len(value):
        _check_unknown(cls, value)
    return cls(*arguments)


def _check_unknown(cls: type, value: dict[int, Value]) -> None:
    known = {field.key for field in _layout(cls)}
    for key in value:
        if key < KEY_IGNORED_FROM and key not in known:
            raise MalformedMessage(f"{cls.__name__} has no key {key}")


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
        absent = () if field.default == () else None
        optional = type(None) in get_args(base)
        if optional:
            (base,) = (item for item in get_args(base) if item is not type(None))
            base, inner = _unwrap(base)
            marks += inner
            assert field.default is None, f"{cls.__name__}.{field.name}: an optional field defaults to None"
        else:
            assert field.default in (MISSING, ()), (
                f"{cls.__name__}.{field.name}: only optional fields default"
            )
        key = next(mark.number for mark in marks if isinstance(mark, Key))
        assert key > 0
        # Who does not know a later key leaves it out.
        assert optional or key < KEY_IGNORED_FROM, f"{cls.__name__}.{field.name}: later keys are optional"
        read, write = (_codec(base, marks, wrong) for wrong in (MalformedMessage, LocalProtocolError))
        if absent == ():
            optional, read = True, _not_empty(read)
        compiled.append(_Field(key, field.name, optional, absent, read, write))
    # Maps are written in this order, and instances built by it.
    keys = [field.key for field in compiled]
    assert keys == sorted(set(keys)), f"{cls.__name__}: keys ascend in the order of the fields"
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


def _codec(kind: Any, marks: tuple[Any, ...], wrong: _Wrong) -> _Codec:
    """Build the reader (`wrong` is MalformedMessage) or writer (LocalProtocolError) of a field."""
    exact = next((mark.length for mark in marks if isinstance(mark, Size)), None)
    most = next((mark.length for mark in marks if isinstance(mark, Max)), None)
    if get_origin(kind) in (Union, types.UnionType):
        raise TypeError(f"a field has one type: {kind}")
    if get_origin(kind) is tuple:
        assert most is not None, "an array without a bound"
        item = _codec(*_unwrap(get_args(kind)[0]), wrong)
        return _tuple_reader(item, most) if wrong is MalformedMessage else _tuple_writer(item, most)
    if kind is bool:
        return _bool(wrong)
    if kind is int:
        return _uint(UINT_MAX if most is None else most, wrong)
    if kind in (bytes, str):
        least, most = (exact, exact) if exact is not None else (0, most)
        assert most is not None, f"{kind.__name__} without a bound"
        return _bytes(least, most, wrong) if kind is bytes else _text(least, most, wrong)
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return _enum_reader(kind) if wrong is MalformedMessage else _enum_writer(kind)
    shape = cast(type, kind)
    assert is_dataclass(shape), f"no way to spell {kind}"
    return _shape_reader(shape) if wrong is MalformedMessage else _shape_writer(shape)


# ---------------------------------------------------------------- the same both ways


def _bool(wrong: _Wrong) -> _Codec:
    def check(value: Any) -> bool:
        if value is True or value is False:
            return value
        raise wrong("expected true or false")

    return check


def _uint(most: int, wrong: _Wrong) -> _Codec:
    def check(value: Any) -> int:
        if type(value) is int and 0 <= value <= most:
            return value
        raise wrong(f"expected an integer from 0 to {most}")

    return check


def _bytes(least: int, most: int, wrong: _Wrong) -> _Codec:
    def check(value: Any) -> bytes:
        if type(value) is bytes and least <= len(value) <= most:
            return value
        got = f" (got={len(value)})" if type(value) is bytes else ""
        raise wrong(f"expected {_bound(least, most)} bytes{got}")

    return check


def _text(least: int, most: int, wrong: _Wrong) -> _Codec:
    def check(value: Any) -> str:
        if type(value) is str:
            try:
                length = len(value) if value.isascii() else len(value.encode())
            except UnicodeEncodeError:
                raise wrong("expected whole characters, got half a surrogate pair") from None
            if least <= length <= most:
                return value
        raise wrong(f"expected text of {_bound(least, most)} bytes")

    return check


def _bound(least: int, most: int) -> str:
    return f"{most}" if least == most else f"at most {most}"


# ---------------------------------------------------------------- one way and the other


def _enum_reader(kind: type[IntEnum]) -> _Codec:
    members = {int(member): member for member in kind}

    def read(value: Any) -> IntEnum:
        member = members.get(value) if type(value) is int else None
        if member is None:
            raise MalformedMessage(f"expected a {kind.__name__}")
        return member

    return read


def _enum_writer(kind: type[IntEnum]) -> _Codec:
    def write(value: Any) -> int:
        if type(value) is kind:
            return int(value)
        raise LocalProtocolError(f"expected a {kind.__name__}")

    return write


def _tuple_reader(item: _Codec, most: int) -> _Codec:
    def read(value: list[Any]) -> tuple[Any, ...]:
        if type(value) is list and len(value) <= most:
            return tuple(map(item, value))
        raise MalformedMessage(f"expected at most {most} items")

    return read


def _not_empty(read: _Codec) -> _Codec:
    def check(value: Any) -> tuple[Any, ...]:
        if value == []:
            raise MalformedMessage("an empty array is left out")
        items: tuple[Any, ...] = read(value)
        return items

    return check


def _tuple_writer(item: _Codec, most: int) -> _Codec:
    def write(value: tuple[Any, ...]) -> list[Any]:
        if type(value) is tuple and len(value) <= most:
            return list(map(item, value))
        raise LocalProtocolError(f"expected a tuple of at most {most} items")

    return write


def _shape_reader(kind: type) -> _Codec:
    return lambda value: _from_map(kind, value)


def _shape_writer(kind: type) -> _Codec:
    def write(value: Any) -> dict[int, Value]:
        if type(value) is kind:
            return _to_map(value, {})
        raise LocalProtocolError(f"expected a {kind.__name__}")

    return write
